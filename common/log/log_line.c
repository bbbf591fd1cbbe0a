/*
 * Formatting of log lines. What comes from outside (ids, error texts) is escaped: a line stays one line, and JSON
 * stays JSON whatever bytes an id has.
 */
#include "common/log/log_line.h"

#include <inttypes.h>
#include <time.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_tags[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};

static void put_str(struct buf *out, const char *s)
{
	buf_put(out, s, strlen(s));
}

/* Length of the valid UTF-8 sequence at s, 0 when there is none; s is NUL-terminated. */
static size_t utf8_len(const uint8_t *s)
{
	size_t len = s[0] < 0x80		   ? 1
		     : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		     : (s[0] & 0xf0) == 0xe0	   ? 3
		     : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						   : 0;
	for (size_t i = 1; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (len == 3 && ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0)))
		return 0;
	if (len == 4 && ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90)))
		return 0;
	return len;
}

static void put_escaped(struct buf *out, const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	while (*s) {
		size_t len = utf8_len(s);
		if (*s == '"' || *s == '\\')
			buf_printf(out, "\\%c", *s);
		else if (*s == '\n')
			put_str(out, "\\n");
		else if (*s < 0x20 || *s == 0x7f)
			buf_printf(out, "\\u%04x", *s);
		else if (len == 0)
			put_str(out, "\\ufffd");
		else
			buf_put(out, s, len);
		s += len ? len : 1;
	}
}

static void put_quoted(struct buf *out, const char *text)
{
	put_str(out, "\"");
	put_escaped(out, text);
	put_str(out, "\"");
}

/* key=value needs quotes only where a reader would lose the thread. */
static void put_value(struct buf *out, bool text_format, const char *text)
{
	if (text_format && *text && !strpbrk(text, " \t\r\n\"\\=") && (uint8_t)*text >= 0x20)
		put_escaped(out, text);
	else
		put_quoted(out, text);
}

static void put_key(struct buf *out, bool text_format, const char *key)
{
	if (text_format)
		buf_printf(out, " %s=", key);
	else
		buf_printf(out, ",\"%s\":", key);
}

void log_line_begin(struct buf *out, bool text_format, int64_t wall_ns, enum log_level level, const char *text)
{
	time_t seconds = (time_t)(wall_ns / NS_PER_S);
	struct tm tm;
	char date[32];
	gmtime_r(&seconds, &tm);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	long long micros = wall_ns % NS_PER_S / NS_PER_US;
	if (text_format) {
		buf_printf(out, "%s.%03lldZ %s %s", date, micros / 1000, level_tags[level], text);
		return;
	}
	buf_printf(out, "{\"time\":\"%s.%06lldZ\",\"level\":\"%s\",\"msg\":", date, micros, level_names[level]);
	put_quoted(out, text);
}

void log_line_field(struct buf *out, bool text_format, const struct log_field *f)
{
	switch (f->kind) {
	case LOG_FIELD_END:
		return;
	case LOG_FIELD_STR:
		if (!f->str)
			return;
		put_key(out, text_format, f->key);
		put_value(out, text_format, f->str);
		return;
	case LOG_FIELD_INT:
		put_key(out, text_format, f->key);
		buf_printf(out, "%" PRId64, f->num);
		return;
	case LOG_FIELD_BOOL:
		put_key(out, text_format, f->key);
		put_str(out, f->num ? "true" : "false");
		return;
	case LOG_FIELD_DURATION:
		put_key(out, text_format, f->key);
		buf_printf(out, "%.6f", (double)f->num / (double)NS_PER_S);
		return;
	case LOG_FIELD_ERR:
		put_key(out, text_format, f->key);
		put_value(out, text_format, f->str ? f->str : "");
		put_key(out, text_format, "code");
		put_value(out, text_format, err_code_name((enum err_code)f->num));
		return;
	}
}

void log_line_end(struct buf *out, bool text_format)
{
	put_str(out, text_format ? "\n" : "}\n");
}
