/*
 * The frontend: the edge that clients talk to. It can serve workers' polls as well; workers that come in great numbers
 * have the worker gateway.
 */
#ifndef SERVICES_FRONTEND_FRONTEND_H
#define SERVICES_FRONTEND_FRONTEND_H

#include "common/daemon/daemon.h"

extern const struct daemon_spec frontend_daemon;

#endif
