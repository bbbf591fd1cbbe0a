/*
 * perdurectl: finds the subcommand, reads its options, connects, runs it.
 *
 * The database is the --dsn, else PERDURE_DATABASE_DSN, else database.dsn of the configuration file.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/config/config.h"
#include "tools/perdurectl/ctl.h"

#define ARENA_LIMIT ((size_t)256 * 1024 * 1024)

extern char **environ;

struct globals {
	const char *dsn, *config;
	bool json, help;
};

/* ------------------------------------------------------------------ help */

/* Is it one of "shard"'s commands? group "": of everybody's. */
static bool in_group(const struct ctl_command *k, const char *group)
{
	size_t len = strlen(group);
	return !len || (strncmp(k->path, group, len) == 0 && k->path[len] == ' ');
}

static bool is_group(const char *word)
{
	for (size_t i = 0; i < ctl_command_count; i++)
		if (*word && in_group(ctl_commands[i], word))
			return true;
	return false;
}

static void print_commands(FILE *out, const char *group)
{
	for (size_t i = 0; i < ctl_command_count; i++)
		if (in_group(ctl_commands[i], group))
			fprintf(out, "  %-18s %s\n", ctl_commands[i]->path, ctl_commands[i]->summary);
}

static void print_group(const char *group)
{
	printf("usage: perdurectl [--dsn DSN] [--config FILE] [--json] %s COMMAND [OPTION...]\n\n", group);
	print_commands(stdout, group);
	printf("\nperdurectl %s COMMAND --help has the options and examples of each.\n", group);
}

static void print_usage(FILE *out)
{
	fputs("perdurectl looks after a Perdure cluster, through its database and the daemons' HTTP ports.\n\n"
	      "usage: perdurectl [--dsn DSN] [--config FILE] [--json] COMMAND [OPTION...]\n\n",
	      out);
	print_commands(out, "");
	fputs("\n"
	      "  --dsn DSN          libpq connection string or URI; else PERDURE_DATABASE_DSN, else the file's\n"
	      "  --config FILE      the daemons' configuration (database.dsn); else PERDURE_CONFIG\n"
	      "  --json             print one JSON value\n"
	      "  --help             this, or with a command: its options and examples\n\n"
	      "status: 0 done; 1 failed, or nobody said yes; 2 wrong usage, nothing was done; 3 not as asked for\n"
	      "(COMMAND --help says when)\n\n"
	      "examples:\n"
	      "  perdurectl --dsn 'host=/run/postgresql dbname=perdure' schema migrate --shards 512\n"
	      "  perdurectl --config /etc/perdure/perdure.yaml cluster\n",
	      out);
}

static void print_indented(const char *text)
{
	for (const char *line = text; *line;) {
		int len = (int)strcspn(line, "\n");
		printf("  %.*s\n", len, line);
		line += len + (line[len] == '\n');
	}
}

static void print_help(const struct ctl_command *k)
{
	printf("%s\n\nusage: perdurectl [--dsn DSN] [--config FILE] [--json] %s%s%s", k->summary, k->path,
	       k->arguments ? " " : "", k->arguments ? k->arguments : "");
	for (const struct ctl_option *o = k->options; o->name; o++)
		printf(" %s--%s%s%s%s", o->required ? "" : "[", o->name, o->argument ? " " : "",
		       o->argument ? o->argument : "", o->required ? "" : "]");
	puts("\n");
	if (k->details)
		printf("%s\n\n", k->details);
	for (const struct ctl_option *o = k->options; o->name; o++)
		printf("  --%s%s%s\n      %s\n", o->name, o->argument ? " " : "", o->argument ? o->argument : "",
		       o->help);
	printf("%sexamples:\n", k->options[0].name ? "\n" : "");
	print_indented(k->examples);
}

/* ------------------------------------------------------------------ the command line */

/* of: the command or group whose --help tells; "": none. */
static enum ctl_exit usage(const char *of, const char *what, const char *which)
{
	bool ends = what[strlen(what) - 1] == '-';
	fprintf(stderr, "perdurectl: %s%s%s; see perdurectl %s%s--help\n", what, *which && !ends ? ": " : "", which, of,
		*of ? " " : "");
	return CTL_EXIT_USAGE;
}

/* "--name value" or "--name=value". 0: args[i] isn't that; else how many arguments it took; -1: the value is missing.
 */
static int take_option(char **args, int count, int i, const char *name, bool has_value, const char **ret)
{
	const char *arg = args[i];
	size_t len = strlen(name);
	if (strncmp(arg, "--", 2) != 0 || strncmp(arg + 2, name, len) != 0)
		return 0;
	const char *rest = arg + 2 + len;
	if (*rest == 0 && !has_value) {
		*ret = "";
		return 1;
	}
	if (*rest == '=' && has_value) {
		*ret = rest + 1;
		return 1;
	}
	if (*rest != 0)
		return 0;
	if (i + 1 >= count)
		return -1;
	*ret = args[i + 1];
	return 2;
}

/* The options that every command has; may stand anywhere. */
static int take_global(struct globals *g, char **args, int count, int i)
{
	const char *set = NULL;
	int n = take_option(args, count, i, "dsn", true, &g->dsn);
	if (n == 0)
		n = take_option(args, count, i, "config", true, &g->config);
	if (n == 0 && (n = take_option(args, count, i, "json", false, &set)) > 0)
		g->json = true;
	if (n == 0 && (n = take_option(args, count, i, "help", false, &set)) > 0)
		g->help = true;
	if (n == 0 && strcmp(args[i], "-h") == 0) {
		g->help = true;
		n = 1;
	}
	return n;
}

/* The command whose words the arguments begin with; the longest path wins. */
static const struct ctl_command *find_command(char **words, int count, int *ret_words)
{
	const struct ctl_command *found = NULL;
	*ret_words = 0;
	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *path = ctl_commands[i]->path;
		int n = 0;
		for (; *path && n < count; n++) {
			size_t len = strcspn(path, " ");
			if (strlen(words[n]) != len || strncmp(words[n], path, len) != 0)
				break;
			path += len + (path[len] == ' ');
		}
		if (*path == 0 && n > *ret_words) {
			found = ctl_commands[i];
			*ret_words = n;
		}
	}
	return found;
}

static int take_command_option(const struct ctl_command *k, char **args, int count, int i, const char **values)
{
	for (size_t o = 0; k->options[o].name; o++) {
		int n = take_option(args, count, i, k->options[o].name, k->options[o].argument, &values[o]);
		if (n)
			return n;
	}
	return 0;
}

/* ------------------------------------------------------------------ running */

static struct err load_settings(const struct globals *g, struct config *config, struct arena *a)
{
	const char *file = g->config ? g->config : getenv("PERDURE_CONFIG");
	if (!str_empty(file))
		try(config_read_file(config, file, a));
	try(config_read_environment(config, environ, a));
	if (g->dsn)
		try(config_set(config, "database.dsn", g->dsn, SETTING_FROM_FLAG, "--dsn", a));
	return err_ok;
}

static enum ctl_exit run(const struct ctl_command *k, const struct globals *g, const char *const *args,
			 const char *const *values)
{
	struct config *config = config_new();
	struct ctl c = {.arena = arena_new(ARENA_LIMIT), .settings = config_get(config), .json = g->json, .args = args};
	struct err e = load_settings(g, config, c.arena);
	if (!err_is(e) && !k->offline)
		e = ctl_connect(&c);
	bool ready = !err_is(e);
	if (ready)
		e = k->run(&c, values);
	if (err_is(e)) {
		size_t len = strcspn(e.message, "\n");
		fprintf(stderr, "perdurectl: %.*s\n", (int)len, e.message);
		/* Before that it was the configuration's file, not the command line. */
		c.exit = ready && e.code == ERR_INVALID_ARGUMENT ? CTL_EXIT_USAGE : CTL_EXIT_FAILED;
	}
	PQfinish(c.db);
	arena_free(c.arena);
	config_free(config);
	return c.exit;
}

/* The words name no command: does help, or a word of what is wrong. */
static int obey_no_command(const struct globals *g, char **words, int count)
{
	const char *group = count && is_group(words[0]) ? words[0] : "";
	if (g->help && (count == 0 || (*group && count == 1))) {
		if (*group)
			print_group(group);
		else
			print_usage(stdout);
		return CTL_EXIT_OK;
	}
	if (*group && count == 1)
		return usage(group, "a command is missing after", group);
	return usage(group, count ? "no such command" : "a command is missing", !count ? "" : words[*group ? 1 : 0]);
}

static const char *missing_option(const struct ctl_command *k, const char *const *values)
{
	for (size_t o = 0; k->options[o].name; o++)
		if (k->options[o].required && !values[o])
			return k->options[o].name;
	return NULL;
}

/* words: room for what no global option takes. */
static int obey(int argc, char **argv, char **words)
{
	struct globals g = {0};
	int count = 0;
	for (int i = 1; i < argc;) {
		int n = take_global(&g, argv, argc, i);
		if (n < 0)
			return usage("", "a value is missing", argv[i]);
		if (n == 0)
			words[count++] = argv[i++];
		i += n;
	}
	int used;
	const struct ctl_command *k = find_command(words, count, &used);
	if (!k)
		return obey_no_command(&g, words, count);
	if (g.help) {
		print_help(k);
		return CTL_EXIT_OK;
	}
	const char *values[CTL_OPTIONS_MAX] = {0}, *args[CTL_ARGS_MAX + 1] = {0};
	int arg_count = 0;
	for (int i = used; i < count;) {
		int n = take_command_option(k, words, count, i, values);
		if (n == 0 && words[i][0] != '-' && arg_count < k->args_max) {
			args[arg_count++] = words[i++];
			continue;
		}
		if (n <= 0)
			return usage(k->path,
				     n			  ? "a value is missing"
				     : words[i][0] == '-' ? "no such option"
							  : "one argument too many",
				     words[i]);
		i += n;
	}
	if (arg_count < k->args_min)
		return usage(k->path, "an argument is missing", k->arguments ? k->arguments : k->path);
	if (missing_option(k, values))
		return usage(k->path, "an option is missing: --", missing_option(k, values));
	return run(k, &g, args, values);
}

int main(int argc, char **argv)
{
	char **words = calloc((size_t)argc, sizeof *words);
	int exit_code = obey(argc, argv, words);
	free(words);
	return exit_code;
}
