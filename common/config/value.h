/*
 * Texts to values and back: durations, sizes, numbers, lists.
 */
#ifndef COMMON_CONFIG_VALUE_H
#define COMMON_CONFIG_VALUE_H

#include "common/config/config.h"

/*
 * Parses `text` as setting s demands and writes it into its field of *values; strings are copied into a. The error's
 * message begins with "expected"; the caller says where.
 */
must_check struct err value_set(const struct setting *s, const char *text, struct settings *values, struct arena *a);
/* Lists come as items from YAML, as "a,b" from elsewhere. */
void value_set_list(const struct setting *s, const char *const *items, size_t count, struct settings *values,
		    struct arena *a);
/* Every setting at its default; strings live in a. */
void settings_init(struct settings *values, struct arena *a);
/* The value as it is written in YAML, quotes included. */
const char *value_yaml(const struct setting *s, const struct settings *values, struct arena *a);
/* The same for whoever looks: without the secrets that it may hold (secret.c). */
const char *value_shown(const struct setting *s, const struct settings *values, struct arena *a);
/* The text of the setting of that name, with *** in place of passwords and of the values of headers. */
const char *value_masked(const char *name, const char *text, struct arena *a);
/* A number in the setting's own unit: "64MiB", "3s", "7233". */
const char *value_format_number(const struct setting *s, int64_t number, struct arena *a);

#endif
