/*
 * Waiting until what was asked for has happened, and showing how far it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tools/perdurectl/ctl.h"

#define DEFAULT_S    120.0
#define PAUSE_MIN_NS (5 * NS_PER_MS)
#define PAUSE_MAX_NS (200 * NS_PER_MS)
#define TELL_NS	     NS_PER_S

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

static struct err seconds_of(struct ctl *c, const char *text, double *ret)
{
	char *end;
	*ret = DEFAULT_S;
	if (!text)
		return err_ok;
	*ret = strtod(text, &end);
	if (end == text || *end || !(*ret > 0))
		return err_make(c->arena, ERR_INVALID_ARGUMENT, "--timeout %s: not a number of seconds", text);
	return err_ok;
}

struct err ctl_check_timeout(struct ctl *c, const char *timeout)
{
	double seconds;
	return seconds_of(c, timeout, &seconds);
}

/* On a terminal the line changes; in a log there is one a second at most, and only news. */
static void tell(const char *how, bool last, const char **told, int64_t *told_ns)
{
	bool terminal = isatty(STDERR_FILENO);
	if (str_eq(how, *told) || (!terminal && !last && now_ns() - *told_ns < TELL_NS && *told))
		return;
	fprintf(stderr, terminal ? "\r\033[K%s" : "%s\n", how);
	*told = how;
	*told_ns = now_ns();
}

struct err ctl_wait(struct ctl *c, const char *timeout, ctl_look_fn *look, void *ctx, double *ret_seconds)
{
	double seconds;
	try(seconds_of(c, timeout, &seconds));
	int64_t began = now_ns(), until = began + (int64_t)(seconds * 1e9), told_ns = 0, pause_ns = PAUSE_MIN_NS;
	const char *told = NULL, *how = "";
	bool done = false;
	struct err e = err_ok;
	while (!err_is(e)) {
		e = look(c, ctx, &done, &how);
		*ret_seconds = (double)(now_ns() - began) / 1e9;
		if (err_is(e) || done || now_ns() >= until)
			break;
		tell(how, false, &told, &told_ns);
		nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
		pause_ns = pause_ns * 3 / 2 < PAUSE_MAX_NS ? pause_ns * 3 / 2 : PAUSE_MAX_NS;
	}
	if (!err_is(e) && done)
		tell(how, true, &told, &told_ns);
	if (told && isatty(STDERR_FILENO))
		fputc('\n', stderr);
	if (!err_is(e) && !done)
		e = err_make(c->arena, ERR_DEADLINE_EXCEEDED, "after %.0f s: %s; what was asked for stands", seconds,
			     how);
	return e;
}
