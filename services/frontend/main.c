/*
 * The frontend daemon.
 */
#include "services/frontend/frontend.h"

int main(int argc, char **argv)
{
	const struct daemon_spec *const specs[] = {&frontend_daemon};
	return daemon_main(argc, argv, "perdure-frontend", specs, array_len(specs));
}
