/*
 * Collecting the settings from file, environment and flags.
 */
#include "common/config/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <yaml.h>

#include "common/config/config_impl.h"
#include "common/config/value.h"
#include "common/mem/mem.h"

#define FILE_BYTES_MAX	     (1024 * 1024)
#define ENVIRONMENT_PREFIX   "PERDURE_"
#define SUGGEST_DISTANCE_MAX 3

struct config *config_new(void)
{
	struct config *c = new0(struct config);
	c->arena = arena_new(0);
	settings_init(&c->values, c->arena);
	return c;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	config_cluster_done(c);
	arena_free(c->arena);
	free(c);
}

const struct settings *config_get(const struct config *c)
{
	return &c->values;
}

size_t config_row_of(const struct setting *s)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	size_t row = (size_t)(s - table);
	assert(row < count && count <= SETTINGS_MAX);
	return row;
}

enum setting_source config_source(const struct config *c, const struct setting *s)
{
	return c->source[config_row_of(s)];
}

/* ------------------------------------------------------------------ unknown names */

/* Levenshtein's distance, for texts as long as setting names are. */
static size_t distance(const char *a, const char *b)
{
	size_t row[96];
	size_t blen = strlen(b);
	if (blen >= array_len(row))
		return SIZE_MAX;
	for (size_t j = 0; j <= blen; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];
		row[0] = i + 1;
		for (size_t j = 0; j < blen; j++) {
			size_t change = diagonal + (a[i] != b[j]);
			size_t gap = 1 + (row[j] < row[j + 1] ? row[j] : row[j + 1]);
			diagonal = row[j + 1];
			row[j + 1] = change < gap ? change : gap;
		}
	}
	return row[blen];
}

static const char *nearest(const char *name)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	const char *best = NULL;
	size_t best_distance = SUGGEST_DISTANCE_MAX + 1;
	for (size_t i = 0; i < count; i++) {
		size_t d = distance(name, table[i].name);
		if (d < best_distance) {
			best_distance = d;
			best = table[i].name;
		}
	}
	return best;
}

struct err config_unknown(const char *where, const char *name, struct arena *errors)
{
	const char *near = nearest(name);
	if (near)
		return err_make(errors, ERR_INVALID_ARGUMENT,
				"%s: there is no setting %s (did you mean %s?); --print-config lists them", where, name,
				near);
	return err_make(errors, ERR_INVALID_ARGUMENT, "%s: there is no setting %s; --print-config lists them", where,
			name);
}

struct err config_set(struct config *c, const char *name, const char *value, enum setting_source source,
		      const char *where, struct arena *errors)
{
	const struct setting *s = config_find(name);
	if (!s)
		return config_unknown(where, name, errors);
	struct err e = value_set(s, value, &c->values, c->arena);
	if (err_is(e))
		return err_make(errors, e.code, "%s: %s: %s", where, name, e.message);
	c->source[config_row_of(s)] = (uint8_t)source;
	return err_ok;
}

/* ------------------------------------------------------------------ the file */

struct reader {
	struct config *c;
	const char *path;
	yaml_document_t *doc;
	struct arena *errors;
	bool seen[SETTINGS_MAX];
};

static const char *place(struct reader *r, const yaml_node_t *node)
{
	return arena_printf(r->errors, "%s:%zu", r->path, node->start_mark.line + 1);
}

static const char *scalar(const yaml_node_t *node)
{
	return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static struct err read_list(struct reader *r, const struct setting *s, const yaml_node_t *node)
{
	size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	const char **items = arena_array(r->errors, const char *, count);
	for (size_t i = 0; i < count; i++) {
		items[i] = scalar(yaml_document_get_node(r->doc, node->data.sequence.items.start[i]));
		if (!items[i])
			return err_make(r->errors, ERR_INVALID_ARGUMENT, "%s: %s: expected a list of plain values",
					place(r, node), s->name);
	}
	value_set_list(s, items, count, &r->c->values, r->c->arena);
	r->c->source[config_row_of(s)] = SETTING_FROM_FILE;
	return err_ok;
}

static struct err read_setting(struct reader *r, const char *section, const yaml_node_t *key, const yaml_node_t *value)
{
	if (!scalar(key))
		return err_make(r->errors, ERR_INVALID_ARGUMENT, "%s: expected the name of a setting of section %s",
				place(r, key), section);
	const char *name = arena_printf(r->errors, "%s.%s", section, scalar(key));
	const struct setting *s = config_find(name);
	if (!s)
		return config_unknown(place(r, key), name, r->errors);
	if (r->seen[config_row_of(s)])
		return err_make(r->errors, ERR_INVALID_ARGUMENT, "%s: %s is set twice", place(r, key), name);
	r->seen[config_row_of(s)] = true;
	if (s->type == SETTING_TYPE_LIST && value->type == YAML_SEQUENCE_NODE)
		return read_list(r, s, value);
	if (!scalar(value))
		return err_make(r->errors, ERR_INVALID_ARGUMENT, "%s: %s: expected a single value", place(r, value),
				name);
	return config_set(r->c, name, scalar(value), SETTING_FROM_FILE, place(r, value), r->errors);
}

static bool section_known(const char *name)
{
	size_t count;
	const struct setting_section *sections = config_sections(&count);
	for (size_t i = 0; i < count; i++)
		if (name && strcmp(sections[i].section, name) == 0)
			return true;
	return false;
}

static struct err read_section(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
	if (!section_known(scalar(key)))
		return err_make(r->errors, ERR_INVALID_ARGUMENT,
				"%s: there is no section %s; --print-config lists them", place(r, key),
				scalar(key) ? scalar(key) : "of that kind");
	if (scalar(value) && !*scalar(value))
		return err_ok; /* "history:" with everything commented out */
	if (value->type != YAML_MAPPING_NODE)
		return err_make(r->errors, ERR_INVALID_ARGUMENT, "%s: %s: expected settings below it, indented",
				place(r, value), scalar(key));
	for (yaml_node_pair_t *p = value->data.mapping.pairs.start; p < value->data.mapping.pairs.top; p++)
		try(read_setting(r, scalar(key), yaml_document_get_node(r->doc, p->key),
				 yaml_document_get_node(r->doc, p->value)));
	return err_ok;
}

static struct err read_document(struct reader *r)
{
	const yaml_node_t *root = yaml_document_get_root_node(r->doc);
	if (!root)
		return err_ok;
	if (root->type != YAML_MAPPING_NODE)
		return err_make(r->errors, ERR_INVALID_ARGUMENT, "%s: expected sections with settings below them",
				place(r, root));
	for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++)
		try(read_section(r, yaml_document_get_node(r->doc, p->key), yaml_document_get_node(r->doc, p->value)));
	return err_ok;
}

struct err config_read_text(struct config *c, const char *path, struct bytes text, struct arena *errors)
{
	yaml_parser_t parser;
	yaml_document_t doc;
	if (!yaml_parser_initialize(&parser))
		return err_static(ERR_INTERNAL, "the YAML parser cannot be made");
	yaml_parser_set_input_string(&parser, text.data, text.len);
	if (!yaml_parser_load(&parser, &doc)) {
		struct err e = err_make(errors, ERR_INVALID_ARGUMENT, "%s:%zu: this is not YAML: %s", path,
					parser.problem_mark.line + 1, parser.problem ? parser.problem : "unreadable");
		yaml_parser_delete(&parser);
		return e;
	}
	struct reader r = {.c = c, .path = path, .doc = &doc, .errors = errors};
	struct err e = read_document(&r);
	yaml_document_delete(&doc);
	yaml_parser_delete(&parser);
	return e;
}

struct err config_read_file(struct config *c, const char *path, struct arena *errors)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return err_make(errors, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
	uint8_t *text = mem_alloc(FILE_BYTES_MAX + 1);
	size_t len = fread(text, 1, FILE_BYTES_MAX + 1, f);
	struct err e = ferror(f)	      ? err_make(errors, ERR_UNAVAILABLE, "%s: %s", path, strerror(errno))
		       : len > FILE_BYTES_MAX ? err_make(errors, ERR_INVALID_ARGUMENT, "%s: larger than 1MiB", path)
					      : config_read_text(c, path, bytes_of(text, len), errors);
	fclose(f);
	free(text);
	return e;
}

/* ------------------------------------------------------------------ environment and flags */

/* variable: "HISTORY_CACHE_BYTES". */
static const struct setting *find_by_variable(const char *variable)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	for (size_t i = 0; i < count; i++) {
		const char *name = table[i].name;
		size_t same = 0;
		while (name[same] && variable[same] == (name[same] == '.' ? '_' : toupper((uint8_t)name[same])))
			same++;
		if (!name[same] && !variable[same])
			return &table[i];
	}
	return NULL;
}

/* Ours, but no settings; or what Kubernetes sets in every container for a service whose name begins with perdure. */
static bool variable_ignored(const char *variable, const char *value)
{
	if (strcmp(variable, "PERDURE_CONFIG") == 0 || strcmp(variable, "PERDURE_BUILD_DIR") == 0 ||
	    strncmp(variable, "PERDURE_TEST_", strlen("PERDURE_TEST_")) == 0)
		return true;
	return strstr(variable, "_SERVICE_") || strstr(variable, "_TCP") || strncmp(value, "tcp://", 6) == 0;
}

struct err config_read_environment(struct config *c, char *const *environ_, struct arena *errors)
{
	const size_t prefix = strlen(ENVIRONMENT_PREFIX);
	for (char *const *entry = environ_; entry && *entry; entry++) {
		const char *equals = strchr(*entry, '=');
		if (!equals || strncmp(*entry, ENVIRONMENT_PREFIX, prefix) != 0)
			continue;
		const char *variable = arena_printf(errors, "%.*s", (int)(equals - *entry), *entry);
		const struct setting *s = find_by_variable(variable + prefix);
		if (s)
			try(config_set(c, s->name, equals + 1, SETTING_FROM_ENVIRONMENT, variable, errors));
		else if (!variable_ignored(variable, equals + 1))
			return err_make(errors, ERR_INVALID_ARGUMENT,
					"%s: no setting has this environment variable; --print-config lists them",
					variable);
	}
	return err_ok;
}

static bool flag_is(const char *arg, const char *flag)
{
	return strcmp(arg, flag) == 0;
}

/* The flags that are no settings. */
static struct err read_args(int argc, char **argv, struct config_args *args, struct arena *errors)
{
	for (int i = 1; i < argc; i++) {
		const char *arg = argv[i];
		if (flag_is(arg, "--help") || flag_is(arg, "-h"))
			args->help = true;
		else if (flag_is(arg, "--version"))
			args->version = true;
		else if (flag_is(arg, "--print-config"))
			args->print_config = true;
		else if (strncmp(arg, "--config=", 9) == 0)
			args->file = arg + 9;
		else if (flag_is(arg, "--config") && i + 1 < argc)
			args->file = argv[++i];
		else if (strncmp(arg, "--", 2) != 0 || !strchr(arg, '='))
			return err_make(errors, ERR_INVALID_ARGUMENT,
					"%s: expected --config FILE, --section.key=value, --print-config, --version "
					"or --help",
					arg);
	}
	return err_ok;
}

static struct err read_flags(struct config *c, int argc, char **argv, struct arena *errors)
{
	for (int i = 1; i < argc; i++) {
		if (flag_is(argv[i], "--config"))
			i++;
		const char *equals = strchr(argv[i], '=');
		if (!equals || strncmp(argv[i], "--", 2) != 0 || strncmp(argv[i], "--config=", 9) == 0)
			continue;
		const char *name = arena_printf(errors, "%.*s", (int)(equals - argv[i] - 2), argv[i] + 2);
		const char *where = arena_printf(errors, "flag --%s", name);
		try(config_set(c, name, equals + 1, SETTING_FROM_FLAG, where, errors));
	}
	return err_ok;
}

static struct err together(const char *one, const char *one_name, const char *other, const char *other_name,
			   struct arena *errors)
{
	if (str_empty(one) == str_empty(other))
		return err_ok;
	return err_make(errors, ERR_INVALID_ARGUMENT, "%s and %s go together: set both or neither", one_name,
			other_name);
}

struct err config_check_values(const struct settings *v, struct arena *errors)
{
	if (v->membership_renew_interval * 3 > v->membership_lease)
		return err_static(ERR_INVALID_ARGUMENT,
				  "membership.renew_interval: expected at most a third of membership.lease");
	try(together(v->grpc_tls_cert_file, "grpc.tls_cert_file", v->grpc_tls_key_file, "grpc.tls_key_file", errors));
	try(together(v->rpc_tls_cert_file, "rpc.tls_cert_file", v->rpc_tls_key_file, "rpc.tls_key_file", errors));
	if (v->grpc_tls_client_required && str_empty(v->grpc_tls_client_ca_file))
		return err_static(ERR_INVALID_ARGUMENT, "grpc.tls_client_required: needs grpc.tls_client_ca_file");
	if (v->workflow_task_timeout > v->workflow_task_timeout_max)
		return err_static(ERR_INVALID_ARGUMENT,
				  "workflow.task_timeout: expected at most workflow.task_timeout_max");
	return err_ok;
}

struct err config_check(const struct config *c, struct arena *errors)
{
	return config_check_values(&c->values, errors);
}

static const char *variable_value(char *const *environ_, const char *name)
{
	size_t len = strlen(name);
	for (char *const *entry = environ_; entry && *entry; entry++)
		if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
			return *entry + len + 1;
	return NULL;
}

struct err config_load(struct config *c, int argc, char **argv, char *const *environ_, struct config_args *ret_args,
		       struct arena *errors)
{
	*ret_args = (struct config_args){.file = variable_value(environ_, ENVIRONMENT_PREFIX "CONFIG")};
	try(read_args(argc, argv, ret_args, errors));
	if (ret_args->help || ret_args->version)
		return err_ok;
	if (!str_empty(ret_args->file))
		try(config_read_file(c, ret_args->file, errors));
	try(config_read_environment(c, environ_, errors));
	try(read_flags(c, argc, argv, errors));
	return config_check(c, errors);
}

/* ------------------------------------------------------------------ --print-config */

static void print_setting(const struct config *c, const struct setting *s, struct arena *a, FILE *out)
{
	static const char *const sources[] = {NULL, "the file", "the environment", "a flag", "the cluster"};
	fprintf(out, "\n  # %s\n", s->sentence);
	fprintf(out, "  # default %s", value_yaml(s, settings_defaults(), a));
	if (s->choices)
		fprintf(out, "; one of %s", s->choices);
	if (s->type == SETTING_TYPE_INT || s->type == SETTING_TYPE_BYTES || s->type == SETTING_TYPE_DURATION)
		fprintf(out, "; %s to %s", value_format_number(s, s->min, a), value_format_number(s, s->max, a));
	if (s->unit)
		fprintf(out, " %s", s->unit);
	if (s->live)
		fprintf(out, "; may be changed live");
	if (sources[config_source(c, s)])
		fprintf(out, "; set by %s", sources[config_source(c, s)]);
	fprintf(out, "\n  %s: %s\n", s->key, value_shown(s, &c->values, a));
}

void config_print(const struct config *c, FILE *out)
{
	size_t section_count, count;
	const struct setting_section *sections = config_sections(&section_count);
	const struct setting *table = config_settings(&count);
	struct arena *a = arena_new(0);
	fprintf(out,
		"# Perdure's settings. Each can also be given as a flag (--history.cache_bytes=512MiB) or in the\n"
		"# environment (PERDURE_HISTORY_CACHE_BYTES=512MiB); a flag wins over the environment, that over the "
		"file.\n");
	for (size_t i = 0; i < section_count; i++) {
		fprintf(out, "\n# %s Used by: %s.\n%s:\n", sections[i].sentence, sections[i].used_by,
			sections[i].section);
		for (size_t j = 0; j < count; j++)
			if (strcmp(table[j].section, sections[i].section) == 0)
				print_setting(c, &table[j], a, out);
	}
	arena_free(a);
}
