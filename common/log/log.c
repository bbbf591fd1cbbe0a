/*
 * Lines: formatted into a buffer, written with one write(2).
 *
 * One `struct log_sink` (descriptor, level, repeats) is shared by a log and its children; the mutex guards the table
 * of repeats only. Lines up to PIPE_BUF arrive whole in a pipe, others in files and terminals too.
 */
#include "common/log/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/log/log_line.h"
#include "common/mem/mem.h"

#define REPEATS_MAX_DEFAULT 10
#define REPEAT_SLOTS	    64

/* How often a text came in the second that began at `since_ns`. */
struct repeat {
	const char *text; /* a literal: lives as long as the program */
	uint64_t hash;
	enum log_level level;
	int64_t since_ns;
	int64_t count;
};

struct log_sink {
	int fd;
	atomic_int level;
	bool text_format;
	int repeats_max;
	int64_t (*wall_ns)(void *ctx);
	void *ctx;
	pthread_mutex_t lock;
	struct repeat repeats[REPEAT_SLOTS];
};

struct log {
	struct log_sink *sink;
	bool owns_sink;
	struct buf fields; /* formatted already: ,"role":"history" */
};

static int64_t system_wall_ns(void *ctx)
{
	(void)ctx;
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

struct log *log_new(const struct log_config *config)
{
	struct log_sink *sink = new0(struct log_sink);
	sink->fd = config->fd;
	atomic_init(&sink->level, (int)config->level);
	sink->text_format =
		config->format == LOG_FORMAT_TEXT || (config->format == LOG_FORMAT_AUTO && isatty(config->fd));
	sink->repeats_max = config->repeats_max > 0 ? config->repeats_max : REPEATS_MAX_DEFAULT;
	sink->wall_ns = config->wall_ns ? config->wall_ns : system_wall_ns;
	sink->ctx = config->ctx;
	pthread_mutex_init(&sink->lock, NULL);
	struct log *l = new0(struct log);
	l->sink = sink;
	l->owns_sink = true;
	return l;
}

static void put_fields(struct buf *out, bool text_format, const struct log_field *fields, size_t count)
{
	for (size_t i = 0; i < count && fields[i].kind != LOG_FIELD_END; i++)
		log_line_field(out, text_format, &fields[i]);
}

struct log *log_child(struct log *parent, const struct log_field *fields, size_t count)
{
	if (!parent)
		return NULL;
	struct log *l = new0(struct log);
	l->sink = parent->sink;
	buf_put_bytes(&l->fields, buf_view(&parent->fields));
	put_fields(&l->fields, l->sink->text_format, fields, count);
	return l;
}

static void write_all(int fd, struct bytes line)
{
	while (line.len > 0) {
		ssize_t n = write(fd, line.data, line.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nowhere left to say so */
		line = bytes_of(line.data + n, line.len - (size_t)n);
	}
}

static void write_line(const struct log *l, enum log_level level, const char *text, int64_t now_ns,
		       const struct log_field *fields, size_t count)
{
	struct buf line = {0};
	log_line_begin(&line, l->sink->text_format, now_ns, level, text);
	buf_put_bytes(&line, buf_view(&l->fields));
	put_fields(&line, l->sink->text_format, fields, count);
	log_line_end(&line, l->sink->text_format);
	write_all(l->sink->fd, buf_view(&line));
	buf_done(&line);
}

static uint64_t hash_text(const char *text)
{
	uint64_t h = 14695981039346656037u;
	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 1099511628211u;
	return h;
}

/* Empties a slot and tells what it held back. Call with the lock held; write the line after it is released. */
static struct repeat close_repeat(const struct log_sink *sink, struct repeat *r)
{
	struct repeat closed = *r;
	*r = (struct repeat){0};
	closed.count = closed.text ? max_i64(0, closed.count - sink->repeats_max) : 0;
	return closed;
}

static void write_repeat(const struct log *l, struct repeat closed, int64_t now_ns)
{
	if (closed.count == 0)
		return;
	const struct log_field fields[] = {log_int("repeated", closed.count)};
	write_line(l, closed.level, closed.text, now_ns, fields, array_len(fields));
}

/* Counts the line; true when it is one too many of its second. A slot's former text is closed into *ret_closed. */
static bool held_back(struct log_sink *sink, enum log_level level, const char *text, int64_t now_ns,
		      struct repeat *ret_closed)
{
	uint64_t hash = hash_text(text);
	struct repeat *r = &sink->repeats[hash % REPEAT_SLOTS];
	*ret_closed = (struct repeat){0};
	pthread_mutex_lock(&sink->lock);
	if (!r->text || r->hash != hash || now_ns - r->since_ns >= NS_PER_S || now_ns < r->since_ns) {
		*ret_closed = close_repeat(sink, r);
		*r = (struct repeat){.text = text, .hash = hash, .level = level, .since_ns = now_ns};
	}
	bool too_many = ++r->count > sink->repeats_max;
	pthread_mutex_unlock(&sink->lock);
	return too_many;
}

static void write_closed(struct log *l, bool all)
{
	struct log_sink *sink = l->sink;
	int64_t now_ns = sink->wall_ns(sink->ctx);
	for (size_t i = 0; i < REPEAT_SLOTS; i++) {
		struct repeat *r = &sink->repeats[i];
		struct repeat closed = {0};
		pthread_mutex_lock(&sink->lock);
		if (all || now_ns - r->since_ns >= NS_PER_S)
			closed = close_repeat(sink, r);
		pthread_mutex_unlock(&sink->lock);
		write_repeat(l, closed, now_ns);
	}
}

void log_tick(struct log *l)
{
	if (l)
		write_closed(l, false);
}

void log_free(struct log *l)
{
	if (!l)
		return;
	if (l->owns_sink) {
		write_closed(l, true);
		pthread_mutex_destroy(&l->sink->lock);
		free(l->sink);
	}
	buf_done(&l->fields);
	free(l);
}

void log_set_level(struct log *l, enum log_level level)
{
	if (l)
		atomic_store(&l->sink->level, (int)level);
}

bool log_enabled(const struct log *l, enum log_level level)
{
	return l && (int)level >= atomic_load_explicit(&l->sink->level, memory_order_relaxed);
}

void log_write(struct log *l, enum log_level level, const char *text, const struct log_field *fields, size_t count)
{
	if (!log_enabled(l, level))
		return;
	int64_t now_ns = l->sink->wall_ns(l->sink->ctx);
	struct repeat closed;
	bool too_many = held_back(l->sink, level, text, now_ns, &closed);
	write_repeat(l, closed, now_ns);
	if (!too_many)
		write_line(l, level, text, now_ns, fields, count);
}
