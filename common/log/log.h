/*
 * Structured log lines: JSON, or key=value when a person watches.
 *
 *     log_info(l, "shard claimed", log_int("shard", 3), log_str("workflow_id", id));
 *
 * A `struct log` may be used from any thread; a line is written whole. NULL is a log that drops everything. The same
 * text more than a few times a second is counted instead of written (repeats_max); the count follows as a line.
 * Fields' strings are read during the call only.
 */
#ifndef COMMON_LOG_LOG_H
#define COMMON_LOG_LOG_H

#include "common/base/bytes.h"
#include "common/err/err.h"

struct log;

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

enum log_format {
	LOG_FORMAT_AUTO, /* text on a terminal, JSON elsewhere */
	LOG_FORMAT_JSON,
	LOG_FORMAT_TEXT,
};

enum log_field_kind {
	LOG_FIELD_END,
	LOG_FIELD_STR,
	LOG_FIELD_INT,
	LOG_FIELD_BOOL,
	LOG_FIELD_ERR,
	LOG_FIELD_DURATION,
};

struct log_field {
	enum log_field_kind kind;
	const char *key;
	const char *str;
	int64_t num;
};

/* Ends a list of fields early; never needed. */
#define LOG_END ((struct log_field){.kind = LOG_FIELD_END})

/* NULL is left out of the line. */
static inline struct log_field log_str(const char *key, const char *value)
{
	return (struct log_field){.kind = LOG_FIELD_STR, .key = key, .str = value};
}

static inline struct log_field log_int(const char *key, int64_t value)
{
	return (struct log_field){.kind = LOG_FIELD_INT, .key = key, .num = value};
}

static inline struct log_field log_bool(const char *key, bool value)
{
	return (struct log_field){.kind = LOG_FIELD_BOOL, .key = key, .num = value};
}

/* Nanoseconds, written in seconds: "took": 0.012. */
static inline struct log_field log_duration(const char *key, int64_t ns)
{
	return (struct log_field){.kind = LOG_FIELD_DURATION, .key = key, .num = ns};
}

/* "error": the text, "code": the code's name. */
static inline struct log_field log_err(struct err e)
{
	return (struct log_field){.kind = LOG_FIELD_ERR, .key = "error", .str = e.message, .num = e.code};
}

struct log_config {
	int fd; /* not closed by the log */
	enum log_level level;
	enum log_format format;
	int repeats_max; /* lines of one text a second; 0: 10 */
	/* Nanoseconds since the epoch; NULL: the system's clock. */
	int64_t (*wall_ns)(void *ctx);
	void *ctx;
};

struct log *log_new(const struct log_config *config);
/* A log whose lines carry more fields (their strings are copied). Freed before its parent. */
struct log *log_child(struct log *parent, const struct log_field *fields, size_t count);
/* Accepts NULL. Writes what is still counted. */
void log_free(struct log *l);
void log_set_level(struct log *l, enum log_level level);
bool log_enabled(const struct log *l, enum log_level level);
/* Writes the counts of texts whose second is over; call it now and then. */
void log_tick(struct log *l);

void log_write(struct log *l, enum log_level level, const char *text, const struct log_field *fields, size_t count);

#define log_with(parent, ...)                                                                                          \
	log_child((parent), (const struct log_field[]){__VA_ARGS__},                                                   \
		  array_len(((const struct log_field[]){__VA_ARGS__})))

/* The fields are made only when the line will be. */
#define log_at(l, level, text, ...)                                                                                    \
	do {                                                                                                           \
		if (log_enabled((l), (level))) {                                                                       \
			const struct log_field log_fields_[] = {__VA_ARGS__ __VA_OPT__(, ) LOG_END};                   \
			log_write((l), (level), (text), log_fields_, array_len(log_fields_));                          \
		}                                                                                                      \
	} while (0)

#define log_debug(l, ...) log_at((l), LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(l, ...)  log_at((l), LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(l, ...)  log_at((l), LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(l, ...) log_at((l), LOG_LEVEL_ERROR, __VA_ARGS__)

#endif
