/*
 * The subcommands, in the order of --help.
 */
#include "tools/perdurectl/ctl.h"

const struct ctl_command *const ctl_commands[] = {
	&ctl_schema_version,   &ctl_schema_wait,      &ctl_schema_plan, &ctl_schema_migrate, &ctl_cluster,
	&ctl_node_list,	       &ctl_node_show,	      &ctl_node_drain,	&ctl_node_undrain,   &ctl_shard_list,
	&ctl_shard_show,       &ctl_shard_move,	      &ctl_shard_unpin, &ctl_workflow_show,  &ctl_workflow_why,
	&ctl_workflow_history, &ctl_workflow_journal, &ctl_queue_list,	&ctl_queue_show,     &ctl_namespace_list,
	&ctl_namespace_show,   &ctl_config_show,      &ctl_config_set,	&ctl_config_unset,   &ctl_config_history,
	&ctl_cert_make,	       &ctl_cert_show,	      &ctl_cert_rotate, &ctl_audit,	     &ctl_completion,
};
const size_t ctl_command_count = array_len(ctl_commands);
