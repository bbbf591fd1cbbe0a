/*
 * The subcommands, in the order of --help.
 */
#include "tools/perdurectl/ctl.h"

const struct ctl_command *const ctl_commands[] = {
	&ctl_schema_version, &ctl_schema_plan, &ctl_schema_migrate, &ctl_namespace_list, &ctl_cluster,
};
const size_t ctl_command_count = array_len(ctl_commands);
