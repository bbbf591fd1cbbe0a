/*
 * The matching daemon.
 */
#include "services/matching/matching.h"

int main(int argc, char **argv)
{
	const struct daemon_spec *specs[] = {&matching_daemon};
	return daemon_main(argc, argv, "perdure-matching", specs, 1);
}
