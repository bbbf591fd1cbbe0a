/*
 * perdurectl completion bash: made from the table of commands, so that it can't fall behind.
 */
#include <stdio.h>

#include "tools/perdurectl/ctl.h"

static struct err run(struct ctl *c, const char *const *values)
{
	(void)values;
	if (!str_eq(c->args[0], "bash"))
		return err_static(ERR_INVALID_ARGUMENT, "completion is there for bash");
	puts("# bash completion for perdurectl: source <(perdurectl completion bash)\n"
	     "_perdurectl()\n{\n"
	     "\tlocal words=() word options='--dsn --config --json --help' i\n"
	     "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	     "\t\tcase ${COMP_WORDS[i]} in\n"
	     "\t\t--dsn | --config) ((i++)) ;;\n"
	     "\t\t-*) ;;\n"
	     "\t\t*) words+=(\"${COMP_WORDS[i]}\") ;;\n"
	     "\t\tesac\n\tdone\n"
	     "\tlocal all=(");
	for (size_t i = 0; i < ctl_command_count; i++)
		printf("\t\t'%s'\n", ctl_commands[i]->path);
	puts("\t)\n\tcase \"${words[*]}\" in");
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct ctl_command *k = ctl_commands[i];
		if (!k->options[0].name)
			continue;
		printf("\t'%s'*) options+='", k->path);
		for (const struct ctl_option *o = k->options; o->name; o++)
			printf(" --%s", o->name);
		puts("' ;;");
	}
	puts("\tesac\n"
	     "\tlocal next=() prefix=\"${words[*]}\"\n"
	     "\tfor word in \"${all[@]}\"; do\n"
	     "\t\tif [ -z \"$prefix\" ]; then next+=(\"${word%% *}\")\n"
	     "\t\telif [[ $word == \"$prefix \"* ]]; then word=${word#\"$prefix \"} && next+=(\"${word%% *}\"); fi\n"
	     "\tdone\n"
	     "\tmapfile -t COMPREPLY < <(compgen -W \"${next[*]} $options\" -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
	     "}\ncomplete -o default -F _perdurectl perdurectl");
	return err_ok;
}

const struct ctl_command ctl_completion = {
	.path = "completion",
	.arguments = "bash",
	.args_min = 1,
	.args_max = 1,
	.offline = true,
	.summary = "A script that completes commands and options in the shell",
	.examples = "source <(perdurectl completion bash)",
	.run = run,
};
