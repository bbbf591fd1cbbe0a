/*
 * Where the settings come from: defaults, one YAML file, PERDURE_… environment variables, flags; later ones win. While
 * a process runs, values for the whole cluster come on top of them (config_set_cluster()), for settings that are live.
 *
 * An unknown key or a bad value is an error that says where (file and line, variable, flag) and what was expected.
 */
#ifndef COMMON_CONFIG_CONFIG_H
#define COMMON_CONFIG_CONFIG_H

#include <stdio.h>

#include "common/config/settings.h"
#include "common/err/err.h"

enum setting_type {
	SETTING_TYPE_STRING,
	SETTING_TYPE_CHOICE,
	SETTING_TYPE_LIST,
	SETTING_TYPE_BOOL,
	SETTING_TYPE_INT,
	SETTING_TYPE_BYTES,
	SETTING_TYPE_DURATION,
};

/* A row of settings.def. */
struct setting {
	const char *section, *key;
	const char *name; /* "history.cache_bytes" */
	enum setting_type type;
	const char *text;	  /* default of strings, choices and lists */
	int64_t number, min, max; /* default and bounds of the others; bytes, nanoseconds */
	const char *unit;	  /* SETTING_TYPE_INT */
	const char *choices;	  /* "a|b" */
	bool live;		  /* may change while the process runs */
	const char *sentence;
	size_t offset; /* in struct settings */
};

struct setting_section {
	const char *section;
	const char *used_by;
	const char *sentence;
};

enum setting_source {
	SETTING_FROM_DEFAULT,
	SETTING_FROM_FILE,
	SETTING_FROM_ENVIRONMENT,
	SETTING_FROM_FLAG,
	SETTING_FROM_CLUSTER,
};

const struct setting *config_settings(size_t *ret_count);
const struct setting_section *config_sections(size_t *ret_count);
/* NULL when there is none. */
const struct setting *config_find(const char *name);

struct config;

struct config *config_new(void);
/* Accepts NULL. */
void config_free(struct config *c);
const struct settings *config_get(const struct config *c);
enum setting_source config_source(const struct config *c, const struct setting *s);

/* Messages live in `errors`. */
must_check struct err config_set(struct config *c, const char *name, const char *value, enum setting_source source,
				 const char *where, struct arena *errors);
must_check struct err config_read_file(struct config *c, const char *path, struct arena *errors);
/* The same from memory; `path` is for messages. */
must_check struct err config_read_text(struct config *c, const char *path, struct bytes text, struct arena *errors);
/*
 * environ: NULL-terminated "NAME=value". Names that start with PERDURE_ must be settings, but for PERDURE_CONFIG,
 * PERDURE_BUILD_DIR, PERDURE_TEST_… and what Kubernetes sets for a service named perdure-….
 */
must_check struct err config_read_environment(struct config *c, char *const *environ_, struct arena *errors);
/* What no single setting can say: bounds between settings, files that go together. */
must_check struct err config_check(const struct config *c, struct arena *errors);

/* ------------------------------------------------------------------ for the whole cluster, while it runs */

struct config_cluster_value {
	const char *name, *value;
	const char *by; /* who set it */
	int64_t at_ns;	/* when; wall clock */
};

/* A value that another version of the program may know what to do with, or that contradicts others: it is left out. */
typedef void config_ignored_fn(void *ctx, const struct config_cluster_value *v, struct err why);

/*
 * All values that are set for the cluster, in place of those of the last call. What is not live, unknown, out of
 * bounds or against config_check() is given to `ignored`, once for as long as the rows stay the same. True when a
 * value in force changed: config_get() shows it, at the same address. On the thread that owns the readers.
 */
bool config_set_cluster(struct config *c, const struct config_cluster_value *rows, size_t count,
			config_ignored_fn *ignored, void *ctx);
/* Whether this process could take that value, with what else is in force. value NULL: its own again. */
must_check struct err config_try_cluster(const struct config *c, const char *name, const char *value,
					 struct arena *errors);
/* NULL unless the setting's source is SETTING_FROM_CLUSTER. */
const struct config_cluster_value *config_from_cluster(const struct config *c, const struct setting *s);
/* The settings as the process's own sources have them. */
const struct settings *config_own(const struct config *c);
enum setting_source config_own_source(const struct config *c, const struct setting *s);

/* ------------------------------------------------------------------ a whole program's */

/* What a command line asks for beside settings. */
struct config_args {
	const char *file; /* --config, or PERDURE_CONFIG */
	bool print_config, help, version;
};

/*
 * All of it for a program: flags are looked through for --config first, then file, environment and flags are applied
 * and checked. With help or version set, nothing is read.
 */
must_check struct err config_load(struct config *c, int argc, char **argv, char *const *environ_,
				  struct config_args *ret_args, struct arena *errors);

/* All settings as a YAML file with their documentation; values as they are in c, but for secrets (***). */
void config_print(const struct config *c, FILE *out);

/* Reading and writing values, for whoever shows them. */
must_check struct err config_parse_duration(const char *text, int64_t *ret_ns, struct arena *errors);
must_check struct err config_parse_bytes(const char *text, int64_t *ret_bytes, struct arena *errors);
/* "1m30s", "64MiB": the shortest exact form. */
const char *config_format_duration(struct arena *a, int64_t ns);
const char *config_format_bytes(struct arena *a, int64_t bytes);

#endif
