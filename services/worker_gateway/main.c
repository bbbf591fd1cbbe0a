/*
 * The worker gateway daemon.
 */
#include "services/worker_gateway/worker_gateway.h"

int main(int argc, char **argv)
{
	const struct daemon_spec *const specs[] = {&worker_gateway_daemon};
	return daemon_main(argc, argv, "perdure-worker-gateway", specs, array_len(specs));
}
