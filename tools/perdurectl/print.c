/*
 * How results look.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "common/config/config.h"
#include "tools/perdurectl/ctl.h"

void ctl_print_json(struct ctl *c, json_t *value)
{
	if (c->json) {
		json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
		putchar('\n');
	}
	json_decref(value);
}

/* Characters, not bytes: UTF-8's continuation bytes take no room. */
static size_t width_of(const char *s)
{
	size_t n = 0;
	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

#define GAP	    2  /* spaces between columns */
#define NARROW	    12 /* no column is cut below that: what is left of it would tell nothing */
#define COLUMNS_MAX 16

/* The terminal's; 0: there is none, whoever reads it wants whole values. */
static size_t terminal_width(void)
{
	struct winsize size;
	if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0)
		return 0;
	return size.ws_col;
}

/* Takes from the widest column until the table fits, or nothing can be taken any more. */
static void fit(size_t *widths, size_t columns, size_t room)
{
	size_t sum = GAP * (columns - 1);
	for (size_t k = 0; k < columns; k++)
		sum += widths[k];
	for (; room && sum > room; sum--) {
		size_t widest = 0;
		for (size_t k = 1; k < columns; k++)
			if (widths[k] > widths[widest])
				widest = k;
		if (widths[widest] <= NARROW)
			return;
		widths[widest]--;
	}
}

/* The begin and the end of what is too long: names often differ in the end only. Answers the characters printed. */
static size_t print_cell(const char *cell, size_t width)
{
	size_t have = width_of(cell), head = (width - 1) / 2, from = have - (width - 1 - head), at = 0;
	if (have <= width) {
		fputs(cell, stdout);
		return have;
	}
	for (const char *s = cell; *s; s++) {
		size_t this = (*s & 0xc0) != 0x80 ? at++ : at - 1;
		if (this < head || this >= from)
			putchar(*s);
		else if (this == head && (*s & 0xc0) != 0x80)
			fputs("…", stdout);
	}
	return width;
}

void ctl_print_table(const char *const *cells, size_t rows, size_t columns)
{
	size_t widths[COLUMNS_MAX] = {0};
	assert(columns <= COLUMNS_MAX);
	for (size_t i = 0; i < rows * columns; i++) {
		size_t w = width_of(cells[i]);
		widths[i % columns] = w > widths[i % columns] ? w : widths[i % columns];
	}
	fit(widths, columns, terminal_width());
	for (size_t i = 0; i < rows; i++) {
		for (size_t k = 0; k < columns; k++) {
			size_t printed = print_cell(cells[i * columns + k], widths[k]);
			if (k + 1 < columns)
				printf("%*s", (int)(widths[k] - printed + GAP), "");
		}
		putchar('\n');
	}
}

const char *ctl_duration(struct ctl *c, int64_t ns)
{
	return config_format_duration(c->arena, ns);
}

const char *ctl_time(struct ctl *c, int64_t ns)
{
	time_t s = (time_t)(ns / NS_PER_S);
	struct tm tm;
	char text[32];
	gmtime_r(&s, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return arena_strdup(c->arena, text);
}
