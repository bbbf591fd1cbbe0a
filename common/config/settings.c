/*
 * settings.def as tables, and a struct with every default.
 */
#include "common/config/settings.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/config/config.h"
#include "common/config/value.h"

/* What settings.def writes its numbers with. */
#define KIB(n)	   ((int64_t)(n) << 10)
#define MIB(n)	   ((int64_t)(n) << 20)
#define GIB(n)	   ((int64_t)(n) << 30)
#define TIB(n)	   ((int64_t)(n) << 40)
#define MILLIS(n)  ((n)*NS_PER_MS)
#define SECONDS(n) ((n)*NS_PER_S)
#define HOURS(n)   (SECONDS(3600) * (n))
#define DAYS(n)	   (HOURS(24) * (n))

#define ROW(section_, key_, ...)                                                                                       \
	{.section = #section_,                                                                                         \
	 .key = #key_,                                                                                                 \
	 .name = #section_ "." #key_,                                                                                  \
	 .offset = offsetof(struct settings, section_##_##key_),                                                       \
	 __VA_ARGS__},

static const struct setting table[] = {
#define SETTING_SECTION(section, used_by, sentence_)
#define SETTING_STRING(section, key, def, sentence_)                                                                   \
	ROW(section, key, .type = SETTING_TYPE_STRING, .text = (def), .sentence = (sentence_))
#define SETTING_CHOICE(section, key, def, choices_, sentence_)                                                         \
	ROW(section, key, .type = SETTING_TYPE_CHOICE, .text = (def), .choices = (choices_), .sentence = (sentence_))
#define SETTING_LIST(section, key, def, sentence_)                                                                     \
	ROW(section, key, .type = SETTING_TYPE_LIST, .text = (def), .sentence = (sentence_))
#define SETTING_BOOL(section, key, def, sentence_)                                                                     \
	ROW(section, key, .type = SETTING_TYPE_BOOL, .number = (def), .sentence = (sentence_))
#define SETTING_INT(section, key, def, min_, max_, unit_, sentence_)                                                   \
	ROW(section, key, .type = SETTING_TYPE_INT, .number = (def), .min = (min_), .max = (max_), .unit = (unit_),    \
	    .sentence = (sentence_))
#define SETTING_BYTES(section, key, def, min_, max_, sentence_)                                                        \
	ROW(section, key, .type = SETTING_TYPE_BYTES, .number = (def), .min = (min_), .max = (max_),                   \
	    .sentence = (sentence_))
#define SETTING_DURATION(section, key, def, min_, max_, sentence_)                                                     \
	ROW(section, key, .type = SETTING_TYPE_DURATION, .number = (def), .min = (min_), .max = (max_),                \
	    .sentence = (sentence_))
#define SETTING_LIVE_CHOICE(section, key, def, choices_, sentence_)                                                    \
	ROW(section, key, .type = SETTING_TYPE_CHOICE, .text = (def), .choices = (choices_), .live = true,             \
	    .sentence = (sentence_))
#define SETTING_LIVE_BOOL(section, key, def, sentence_)                                                                \
	ROW(section, key, .type = SETTING_TYPE_BOOL, .number = (def), .live = true, .sentence = (sentence_))
#define SETTING_LIVE_INT(section, key, def, min_, max_, unit_, sentence_)                                              \
	ROW(section, key, .type = SETTING_TYPE_INT, .number = (def), .min = (min_), .max = (max_), .unit = (unit_),    \
	    .live = true, .sentence = (sentence_))
#define SETTING_LIVE_BYTES(section, key, def, min_, max_, sentence_)                                                   \
	ROW(section, key, .type = SETTING_TYPE_BYTES, .number = (def), .min = (min_), .max = (max_), .live = true,     \
	    .sentence = (sentence_))
#define SETTING_LIVE_DURATION(section, key, def, min_, max_, sentence_)                                                \
	ROW(section, key, .type = SETTING_TYPE_DURATION, .number = (def), .min = (min_), .max = (max_), .live = true,  \
	    .sentence = (sentence_))
#include "common/config/settings.def"
#undef SETTING_SECTION
#undef SETTING_STRING
#undef SETTING_CHOICE
#undef SETTING_LIST
#undef SETTING_BOOL
#undef SETTING_INT
#undef SETTING_BYTES
#undef SETTING_DURATION
};

static const struct setting_section sections[] = {
#define SETTING_SECTION(section_, used_by_, sentence_)                                                                 \
	{.section = #section_, .used_by = (used_by_), .sentence = (sentence_)},
#define SETTING_STRING(section, key, def, sentence)
#define SETTING_CHOICE(section, key, def, choices, sentence)
#define SETTING_LIST(section, key, def, sentence)
#define SETTING_BOOL(section, key, def, sentence)
#define SETTING_INT(section, key, def, min, max, unit, sentence)
#define SETTING_BYTES(section, key, def, min, max, sentence)
#define SETTING_DURATION(section, key, def, min, max, sentence)
#include "common/config/settings.def"
};

const struct setting *config_settings(size_t *ret_count)
{
	*ret_count = array_len(table);
	return table;
}

const struct setting_section *config_sections(size_t *ret_count)
{
	*ret_count = array_len(sections);
	return sections;
}

const struct setting *config_find(const char *name)
{
	for (size_t i = 0; i < array_len(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

void settings_init(struct settings *values, struct arena *a)
{
	*values = (struct settings){0};
	for (size_t i = 0; i < array_len(table); i++) {
		const struct setting *s = &table[i];
		if (s->type == SETTING_TYPE_BOOL) {
			*(bool *)((char *)values + s->offset) = s->number;
		} else if (s->text) {
			struct err e = value_set(s, s->text, values, a);
			assert(!err_is(e) && "a default in settings.def is not one of its choices");
		} else {
			assert(s->number >= s->min && s->number <= s->max);
			*(int64_t *)((char *)values + s->offset) = s->number;
		}
	}
}

static struct settings defaults;
static struct arena *defaults_arena;

static void free_defaults(void)
{
	arena_free(defaults_arena);
}

static void make_defaults(void)
{
	defaults_arena = arena_new(0);
	settings_init(&defaults, defaults_arena);
	atexit(free_defaults);
}

const struct settings *settings_defaults(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_defaults);
	return &defaults;
}
