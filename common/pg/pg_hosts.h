/*
 * The servers of a DSN that names several. For common/pg only.
 */
#ifndef COMMON_PG_PG_HOSTS_H
#define COMMON_PG_PG_HOSTS_H

#include <stdbool.h>
#include <stddef.h>

/* libpq's own attempt at a list has one timeout for all of it, so a first server that is silent would hide the others
 * for ever. We try one at a time. */
struct pg_hosts {
	char **hosts, **addresses, **ports; /* each NULL, or `count` strings */
	size_t count;			    /* 0: one server, or a list that libpq is to judge */
	size_t at;			    /* the one whose turn it is */
	size_t failed;			    /* how many in a row could not be used */
};

/* Of a DSN that can be parsed. What it leaves out comes from PGHOST, PGHOSTADDR, PGPORT. */
void pg_hosts_init(struct pg_hosts *h, const char *dsn);
void pg_hosts_done(struct pg_hosts *h);
/* This one can't be used: it is the next one's turn. True: all of them have failed, it is time for a pause. */
bool pg_hosts_next(struct pg_hosts *h);

#endif
