/*
 * The settings as a typed struct, made from settings.def: `settings->history_cache_bytes`.
 */
#ifndef COMMON_CONFIG_SETTINGS_H
#define COMMON_CONFIG_SETTINGS_H

#include "common/base/base.h"

struct setting_list {
	const char *const *items;
	size_t count;
};

/* Read-only to everybody but common/config; strings live as long as the struct's config. */
struct settings {
#define SETTING_SECTION(section, used_by, sentence)
#define SETTING_STRING(section, key, def, sentence)		const char *section##_##key;
#define SETTING_CHOICE(section, key, def, choices, sentence)	const char *section##_##key;
#define SETTING_LIST(section, key, def, sentence)		struct setting_list section##_##key;
#define SETTING_BOOL(section, key, def, sentence)		bool section##_##key;
#define SETTING_INT(section, key, def, min, max, unit, text)	int64_t section##_##key;
#define SETTING_BYTES(section, key, def, min, max, sentence)	int64_t section##_##key;
#define SETTING_DURATION(section, key, def, min, max, sentence) int64_t section##_##key;
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

/* Every setting at its default, for tests and the simulation. */
const struct settings *settings_defaults(void);

#endif
