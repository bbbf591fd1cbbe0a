/*
 * The whole server in one process, for development and small installs: the four daemons on one loop, over inproc://.
 */
#include "services/frontend/frontend.h"
#include "services/history/history.h"
#include "services/matching/matching.h"
#include "services/worker_gateway/worker_gateway.h"

int main(int argc, char **argv)
{
	/* Started in this order and drained in the reverse one: nobody drains under a caller. */
	const struct daemon_spec *const specs[] = {
		&history_daemon,
		&matching_daemon,
		&worker_gateway_daemon,
		&frontend_daemon,
	};
	return daemon_main(argc, argv, "perdure", specs, array_len(specs));
}
