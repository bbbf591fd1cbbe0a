/*
 * perdurectl cert show: what is in a directory, or what each daemon has loaded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "common/config/config.h"
#include "common/tls/tls_cert.h"
#include "tools/perdurectl/config.h"
#include "tools/perdurectl/pki.h"

enum { OPTION_CLUSTER, OPTION_WITHIN };
enum { COLUMNS = 7 };

struct shown {
	struct ctl *c;
	const char **cells; /* rows of COLUMNS */
	size_t rows, cap;
	int64_t now_s, within_s; /* within_s < 0: not asked */
	bool expires;
};

/* ------------------------------------------------------------------ rows */

static const char **row_new(struct shown *s)
{
	if (s->rows == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 32;
		const char **grown = arena_array(s->c->arena, const char *, cap *COLUMNS);
		if (s->rows)
			memcpy(grown, s->cells, s->rows * COLUMNS * sizeof *grown);
		s->cells = grown;
		s->cap = cap;
	}
	return s->cells + s->rows++ * COLUMNS;
}

static const char *days_left(struct shown *s, int64_t not_after)
{
	int64_t left = not_after - s->now_s;
	if (left <= 0)
		return "EXPIRED";
	return left < 2 * 86400 ? arena_printf(s->c->arena, "%lldh", (long long)(left / 3600))
				: arena_printf(s->c->arena, "%lldd", (long long)(left / 86400));
}

/* An object as tls_cert_json() makes it; takes note of whether it expires too soon. */
static void add_row(struct shown *s, const char *where, const char *what, const json_t *cert)
{
	int64_t not_after = json_integer_value(json_object_get(cert, "not_after"));
	const char **row = row_new(s);
	row[0] = where;
	row[1] = what;
	row[2] = config_text(cert, "subject");
	row[3] = *config_text(cert, "names") ? config_text(cert, "names") : "-";
	row[4] = config_text(cert, "issuer");
	row[5] = days_left(s, not_after);
	row[6] = arena_printf(s->c->arena, "%.16s", config_text(cert, "fingerprint"));
	s->expires = s->expires || (s->within_s >= 0 && not_after - s->now_s <= s->within_s);
}

static void heading(struct shown *s, const char *where)
{
	static const char *const rest[] = {"WHAT", "SUBJECT", "NAMES", "ISSUER", "EXPIRES IN", "FINGERPRINT"};
	const char **row = row_new(s);
	row[0] = where;
	memcpy(row + 1, rest, sizeof rest);
}

/* ------------------------------------------------------------------ a directory */

static struct err add_file(struct shown *s, const char *file, const char *path, json_t *to)
{
	struct tls_cert *certs;
	size_t count;
	try(tls_certs_read(path, s->c->arena, &certs, &count));
	for (size_t i = 0; i < count; i++) {
		json_t *v = tls_cert_json(&certs[i]);
		json_object_set_new(v, "file", json_string(path));
		add_row(s, file, certs[i].authority ? "authority" : "certificate", v);
		json_array_append_new(to, v);
	}
	return err_ok;
}

static struct err show_path(struct shown *s, const char *path, json_t *to)
{
	static const char *const files[] = {PKI_CERT, PKI_CA_CERT, PKI_NEXT_CA_CERT};
	struct stat st;
	heading(s, "FILE");
	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return add_file(s, path, path, to);
	bool any = false;
	for (size_t i = 0; i < array_len(files); i++) {
		if (!pki_exists(s->c, path, files[i]))
			continue;
		try(add_file(s, files[i], pki_path(s->c, path, files[i]), to));
		any = true;
	}
	return any ? err_ok
		   : err_make(s->c->arena, ERR_NOT_FOUND, "%s has neither %s nor %s", path, PKI_CERT, PKI_CA_CERT);
}

/* ------------------------------------------------------------------ the cluster */

static void add_node(struct shown *s, const char *node_id, json_t *list)
{
	size_t i, k;
	json_t *w, *cert;
	json_array_foreach(list, i, w)
	{
		const char *use = config_text(w, "use"), *problem = config_text(w, "problem");
		json_array_foreach(json_object_get(w, "certificates"), k, cert)
			add_row(s, node_id, arena_printf(s->c->arena, "%s%s", use, k ? " chain" : ""), cert);
		json_array_foreach(json_object_get(w, "authorities"), k, cert)
			add_row(s, node_id, arena_printf(s->c->arena, "%s authority", use), cert);
		if (*problem)
			fprintf(stderr, "perdurectl: %s goes on with its old %s certificates: %s\n", node_id, use,
				problem);
	}
	if (json_array_size(list) > 0)
		return;
	const char **row = row_new(s);
	for (size_t col = 0; col < COLUMNS; col++)
		row[col] = "-";
	row[0] = node_id;
	row[1] = "no TLS";
}

static struct err show_cluster(struct shown *s, json_t *to)
{
	struct ctl_node *nodes;
	size_t count;
	try(ctl_connect(s->c));
	try(db_require_schema(s->c));
	try(ctl_nodes(s->c, NULL, &nodes, &count));
	heading(s, "NODE");
	for (size_t i = 0; i < count; i++) {
		json_t *v;
		if (nodes[i].dead)
			continue;
		struct err e = ctl_http_json(s->c, nodes[i].http_address, "/admin/certificates", &v);
		if (err_is(e)) {
			fprintf(stderr, "perdurectl: %s: %s\n", nodes[i].node_id, e.message);
			s->c->exit = CTL_EXIT_DIFFERS;
			continue;
		}
		json_t *list = json_object_get(v, "certificates");
		add_node(s, nodes[i].node_id, list);
		json_array_append_new(to, json_pack("{s:s, s:O}", "node_id", nodes[i].node_id, "certificates", list));
		json_decref(v); /* its texts are in `to` */
	}
	return err_ok;
}

static struct err run(struct ctl *c, const char *const *values)
{
	struct shown s = {.c = c, .now_s = time(NULL), .within_s = -1};
	int64_t within_ns;
	if (!c->args[0] == !values[OPTION_CLUSTER])
		return err_static(ERR_INVALID_ARGUMENT, "say either a directory (or file) or --cluster");
	if (values[OPTION_WITHIN]) {
		try(config_parse_duration(values[OPTION_WITHIN], &within_ns, c->arena));
		s.within_s = within_ns / NS_PER_S;
	}
	json_t *list = json_array();
	struct err e = c->args[0] ? show_path(&s, c->args[0], list) : show_cluster(&s, list);
	if (!err_is(e) && !c->json)
		ctl_print_table(s.cells, s.rows, COLUMNS);
	if (s.expires)
		c->exit = CTL_EXIT_DIFFERS;
	if (err_is(e))
		json_decref(list);
	else
		ctl_print_json(c, list);
	return e;
}

const struct ctl_command ctl_cert_show = {
	.path = "cert show",
	.arguments = "[DIR]",
	.args_max = 1,
	.offline = true,
	.summary = "Certificates in a directory, or those that each daemon has loaded",
	.details = "Status 3: with --expires-within, when one of them expires by then (or has); with --cluster, when a "
		   "daemon\ndoesn't answer.",
	.examples = "perdurectl cert show /etc/perdure/rpc\n"
		    "perdurectl cert show --cluster --expires-within 30d || echo 'renew them'",
	.options = {[OPTION_CLUSTER] = {"cluster", NULL, "what the running daemons use"},
		    [OPTION_WITHIN] = {"expires-within", "DURATION", "status 3 when one expires by then: 30d, 12h"}},
	.run = run,
};
