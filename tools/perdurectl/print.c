/*
 * How results look.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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

void ctl_print_table(const char *const *cells, size_t rows, size_t columns)
{
	for (size_t i = 0; i < rows; i++) {
		for (size_t k = 0; k < columns; k++) {
			const char *cell = cells[i * columns + k];
			fputs(cell, stdout);
			if (k + 1 == columns)
				break;
			size_t width = 0;
			for (size_t r = 0; r < rows; r++) {
				size_t w = width_of(cells[r * columns + k]);
				width = w > width ? w : width;
			}
			printf("%*s", (int)(width - width_of(cell) + 2), "");
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
