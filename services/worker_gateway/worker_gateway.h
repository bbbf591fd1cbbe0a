/*
 * The worker gateway: the edge that workers talk to. It scales by connections and open polls, and can serve every other
 * method as well.
 */
#ifndef SERVICES_WORKER_GATEWAY_WORKER_GATEWAY_H
#define SERVICES_WORKER_GATEWAY_WORKER_GATEWAY_H

#include "common/daemon/daemon.h"

extern const struct daemon_spec worker_gateway_daemon;

#endif
