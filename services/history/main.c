/*
 * The history daemon.
 */
#include "services/history/history.h"

int main(int argc, char **argv)
{
	const struct daemon_spec *specs[] = {&history_daemon};
	return daemon_main(argc, argv, "perdure-history", specs, 1);
}
