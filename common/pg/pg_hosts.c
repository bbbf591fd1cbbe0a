/*
 * The servers of a DSN that names several.
 */
#include "common/pg/pg_hosts.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "common/base/base.h"
#include "common/mem/mem.h"

static const char *find(const PQconninfoOption *options, const char *keyword)
{
	for (const PQconninfoOption *o = options; o && o->keyword; o++)
		if (str_eq(o->keyword, keyword) && !str_empty(o->val))
			return o->val;
	return NULL;
}

static size_t count_of(const char *list)
{
	size_t n = 1;
	for (const char *c = list; *c; c++)
		n += *c == ',';
	return n;
}

/* `count` strings, the last one of the list again and again when it is shorter. NULL: one of them is empty. */
static char **split(const char *list, size_t count)
{
	char **items = mem_zalloc(count * sizeof *items);
	bool whole = true;
	for (size_t i = 0; i < count; i++) {
		size_t len = strcspn(list, ",");
		items[i] = mem_zalloc(len + 1);
		memcpy(items[i], list, len);
		whole = whole && len > 0;
		if (list[len])
			list += len + 1;
	}
	if (whole)
		return items;
	for (size_t i = 0; i < count; i++)
		free(items[i]);
	free(items);
	return NULL;
}

static void take(struct pg_hosts *h, const char *hosts, const char *addresses, const char *ports)
{
	const char *list = addresses ? addresses : hosts;
	size_t count = list ? count_of(list) : 1;
	if (count == 1 || (addresses && hosts && count_of(hosts) != count) ||
	    (ports && count_of(ports) != 1 && count_of(ports) != count))
		return;
	h->count = count;
	h->hosts = hosts ? split(hosts, count) : NULL;
	h->addresses = addresses ? split(addresses, count) : NULL;
	h->ports = ports ? split(ports, count) : NULL;
	if ((hosts && !h->hosts) || (addresses && !h->addresses) || (ports && !h->ports))
		pg_hosts_done(h);
}

void pg_hosts_init(struct pg_hosts *h, const char *dsn)
{
	*h = (struct pg_hosts){0};
	PQconninfoOption *given = PQconninfoParse(dsn, NULL), *defaults = PQconndefaults();
	const char *values[3], *const keywords[] = {"host", "hostaddr", "port"};
	for (size_t i = 0; i < array_len(keywords); i++) {
		values[i] = find(given, keywords[i]);
		if (!values[i])
			values[i] = find(defaults, keywords[i]);
	}
	take(h, values[0], values[1], values[2]);
	PQconninfoFree(given);
	PQconninfoFree(defaults);
}

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; list && i < count; i++)
		free(list[i]);
	free(list);
}

void pg_hosts_done(struct pg_hosts *h)
{
	free_list(h->hosts, h->count);
	free_list(h->addresses, h->count);
	free_list(h->ports, h->count);
	*h = (struct pg_hosts){0};
}

bool pg_hosts_next(struct pg_hosts *h)
{
	if (h->count == 0)
		return true;
	h->at = (h->at + 1) % h->count;
	return ++h->failed % h->count == 0;
}
