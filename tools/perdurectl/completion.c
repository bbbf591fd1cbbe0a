/*
 * perdurectl completion bash: made from the table of commands and that of the settings, so that it can't fall behind.
 *
 * What only the cluster knows (nodes, namespaces) is asked of it, with the --dsn and --config of the line so far; when
 * it doesn't answer nothing is offered.
 */
#include <stdio.h>

#include "common/config/config.h"
#include "tools/perdurectl/ctl.h"

/* What an argument is, by what --help calls it; each is a case of _perdurectl_values. */
static const struct {
	const char *called, *values;
} kinds[] = {
	{"NODE", "nodes"},
	{"NAMESPACE", "namespaces"},
	{"DIR", "directories"},
	{"NAME", "settings"},
};

static const char *values_of(const char *called)
{
	for (size_t i = 0; called && i < array_len(kinds); i++)
		if (strstr(called, kinds[i].called))
			return kinds[i].values;
	return NULL;
}

/* Values are for the first argument, of which some commands take several. */
static const char *argument_values(const struct ctl_command *k)
{
	const char *values = values_of(k->arguments);
	if (values && str_eq(values, "settings") && strncmp(k->path, "config ", 7) != 0)
		return NULL;
	bool changes = str_eq(k->path, "config set") || str_eq(k->path, "config unset");
	return changes ? "live_settings" : values;
}

static void print_settings(const char *variable, bool live_only)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	printf("_perdurectl_%s='", variable);
	for (size_t i = 0; i < count; i++)
		if (table[i].live || !live_only)
			printf("%s ", table[i].name);
	puts("'");
}

/* Options whose value is the next word, of all commands. */
static void print_valued(void)
{
	fputs("_perdurectl_valued=' --dsn --config", stdout);
	for (size_t i = 0; i < ctl_command_count; i++)
		for (const struct ctl_option *o = ctl_commands[i]->options; o->name; o++)
			if (o->argument)
				printf(" --%s", o->name);
	puts(" '");
}

static void print_commands(void)
{
	puts("_perdurectl_commands=(");
	for (size_t i = 0; i < ctl_command_count; i++)
		printf("\t'%s'\n", ctl_commands[i]->path);
	puts(")\n_perdurectl_of()\n{\n\tcase $1 in");
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct ctl_command *k = ctl_commands[i];
		printf("\t'%s') options='", k->path);
		for (const struct ctl_option *o = k->options; o->name; o++)
			printf("%s--%s", o == k->options ? "" : " ", o->name);
		printf("' values='%s' args_max=%d ;;\n", argument_values(k) ? argument_values(k) : "", k->args_max);
	}
	puts("\tesac\n}");
}

static void print_option_values(void)
{
	puts("_perdurectl_option()\n{\n\tcase $1 in\n\t--config) values=files ;;");
	for (size_t i = 0; i < array_len(kinds); i++) {
		bool any = false;
		for (size_t k = 0; k < ctl_command_count; k++)
			for (const struct ctl_option *o = ctl_commands[k]->options; o->name; o++)
				if (o->argument && str_eq(o->argument, kinds[i].called) &&
				    !str_eq(kinds[i].values, "settings"))
					printf("%s--%s", any ? " | " : "\t", o->name), any = true;
		if (any)
			printf(") values=%s ;;\n", kinds[i].values);
	}
	puts("\tesac\n}");
}

static const char script[] =
	"_perdurectl_values()\n{\n"
	"\tlocal ask=(\"${COMP_WORDS[0]}\" \"${globals[@]}\")\n"
	"\tcase $1 in\n"
	"\tsettings) echo \"$_perdurectl_settings\" ;;\n"
	"\tlive_settings) echo \"$_perdurectl_live_settings\" ;;\n"
	"\tnodes) \"${ask[@]}\" node list 2>/dev/null | awk 'NR > 1 { print $1 }' ;;\n"
	"\tnamespaces) \"${ask[@]}\" namespace list 2>/dev/null | awk 'NR > 1 { print $1 }' ;;\n"
	"\tesac\n}\n"
	"_perdurectl()\n{\n"
	"\tlocal words=() globals=() options= values= args_max=0 command= i word next=()\n"
	"\tlocal current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
	"\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	"\t\tword=${COMP_WORDS[i]}\n"
	"\t\tif [[ $word == --dsn || $word == --config ]]; then globals+=(\"$word\" \"${COMP_WORDS[i + 1]}\"); fi\n"
	"\t\tif [[ $_perdurectl_valued == *\" $word \"* ]]; then ((i++))\n"
	"\t\telif [[ $word != -* ]]; then words+=(\"$word\"); fi\n"
	"\tdone\n"
	"\tlocal line=\"${words[*]}\"\n"
	"\tfor word in \"${_perdurectl_commands[@]}\"; do\n"
	"\t\tif [[ \"$line \" == \"$word \"* && ${#word} -gt ${#command} ]]; then command=$word; fi\n"
	"\t\tif [[ -z $line ]]; then next+=(\"${word%% *}\")\n"
	"\t\telif [[ $word == \"$line \"* ]]; then word=${word#\"$line \"} && next+=(\"${word%% *}\"); fi\n"
	"\tdone\n"
	"\tif [[ $_perdurectl_valued == *\" $before \"* ]]; then\n"
	"\t\t_perdurectl_option \"$before\"\n"
	"\t\tnext=($(_perdurectl_values \"$values\"))\n"
	"\telse\n"
	"\t\t[[ -z $command ]] || _perdurectl_of \"$command\"\n"
	"\t\tlocal given=$((${#words[@]} - $(wc -w <<<\"$command\")))\n"
	"\t\tif [[ -n $command && $current != -* && ($given == 0 || ($args_max -gt 3 && $given -lt $args_max)) ]]; "
	"then\n"
	"\t\t\tnext+=($(_perdurectl_values \"$values\"))\n"
	"\t\tfi\n"
	"\t\tif [[ -n $command || $current == -* ]]; then next+=($options --dsn --config --json --help); fi\n"
	"\tfi\n"
	"\tmapfile -t COMPREPLY < <(compgen -W \"${next[*]}\" -- \"$current\")\n"
	"\tif [[ $values == directories ]]; then mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "
	"\"$current\"); fi\n"
	"\tif [[ $values == files ]]; then mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); fi\n"
	"}\n"
	"complete -F _perdurectl perdurectl";

static struct err run(struct ctl *c, const char *const *values)
{
	(void)values;
	if (!str_eq(c->args[0], "bash"))
		return err_static(ERR_INVALID_ARGUMENT, "completion is there for bash");
	puts("# bash completion for perdurectl: source <(perdurectl completion bash)");
	print_settings("settings", false);
	print_settings("live_settings", true);
	print_valued();
	print_commands();
	print_option_values();
	puts(script);
	return err_ok;
}

const struct ctl_command ctl_completion = {
	.path = "completion",
	.arguments = "bash",
	.args_min = 1,
	.args_max = 1,
	.offline = true,
	.summary = "A script that completes commands, options, settings, nodes and namespaces in the shell",
	.examples = "source <(perdurectl completion bash)\n"
		    "perdurectl completion bash > /usr/share/bash-completion/completions/perdurectl",
	.run = run,
};
