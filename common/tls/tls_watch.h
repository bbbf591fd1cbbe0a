/*
 * Certificates that are files: who uses them is told when the files change, and what is in use is shown.
 *
 * The files are looked at every few seconds (by device, inode, time and size, through symbolic links, as Kubernetes
 * swaps them) and when asked to. A change is taken once it has stood still for a look, because certificate and key are
 * two files. New files that cannot be used are logged, and what was loaded stays in use. Belongs to one loop.
 */
#ifndef COMMON_TLS_TLS_WATCH_H
#define COMMON_TLS_TLS_WATCH_H

#include <jansson.h>

#include "common/env/env.h"
#include "common/err/err.h"
#include "common/log/log.h"
#include "common/metrics/metrics.h"

struct tls_watch;

struct tls_watched {
	const char *use; /* "grpc", "rpc" */
	const char *cert_file, *key_file;
	const char *ca_file; /* NULL: none */
	/* Loads them anew for what begins from now on; on an error everything stays as it is. */
	struct err (*reload)(void *ctx, struct arena *errors);
	void *ctx;
};

/* Neither env nor log nor metrics is owned; the two latter may be NULL. */
struct tls_watch *tls_watch_new(struct env *env, struct log *log, struct metrics *metrics);
/* Accepts NULL. */
void tls_watch_free(struct tls_watch *w);
/* The files have just been loaded. Strings are copied. w NULL: nothing happens. */
void tls_watch_add(struct tls_watch *w, const struct tls_watched *watched);
/* Takes back every tls_watch_add() with this ctx. */
void tls_watch_remove(struct tls_watch *w, void *ctx);
/* Loads all files now, whether or not they seem to have changed. */
void tls_watch_look(struct tls_watch *w);
/* A list: use, files, certificates, authorities, loaded_at (seconds since the epoch), problem ("": none). */
json_t *tls_watch_json(const struct tls_watch *w);

#endif
