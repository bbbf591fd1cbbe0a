/*
 * perdurectl cert rotate: a new certificate by the same authority, or another authority in three steps.
 *
 * Where a change of authority stands is read from the files, so that any step can be interrupted and said again:
 *
 *   1. trust both      ca.crt lacks the new authority           → it is made (next-ca.*), ca.crt gets both
 *   2. change over     tls.crt is by the old one                → a new tls.crt and tls.key by the new one
 *   3. drop the old    ca.crt still has the old one             → ca.crt has the new one alone, next-ca.* takes its
 * place
 *
 * Between two steps the files have to reach every daemon: --cluster asks them, and stops when one is behind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tools/perdurectl/config.h"
#include "tools/perdurectl/pki.h"

#define CA_DAYS 3650

enum { OPTION_CA, OPTION_NEW_CA, OPTION_CLUSTER, OPTION_DAYS, OPTION_YES };

struct rotation {
	struct ctl *c;
	const char *dir, *ca_dir, *yes;
	bool ask_cluster;
	int64_t days;		 /* 0: as many as the old one had */
	struct pki_bundle trust; /* dir's ca.crt */
	struct pki_bundle leaf;	 /* dir's tls.crt; the first is ours */
	struct pki_pair current, next;
};

static void rotation_done(struct rotation *r)
{
	pki_bundle_free(&r->trust);
	pki_bundle_free(&r->leaf);
	pki_pair_free(&r->current);
	pki_pair_free(&r->next);
}

static struct err load(struct rotation *r)
{
	struct ctl *c = r->c;
	try(pki_load_bundle(c, r->dir, PKI_CERT, &r->leaf));
	try(pki_load_bundle(c, r->dir, PKI_CA_CERT, &r->trust));
	if (!pki_exists(c, r->ca_dir, PKI_CA_KEY))
		return err_make(c->arena, ERR_NOT_FOUND, "%s has no %s: say where the authority is with --ca DIR",
				r->ca_dir, PKI_CA_KEY);
	try(pki_load_pair(c, r->ca_dir, PKI_CA_CERT, PKI_CA_KEY, &r->current));
	if (pki_exists(c, r->ca_dir, PKI_NEXT_CA_KEY) && pki_exists(c, r->ca_dir, PKI_NEXT_CA_CERT))
		return pki_load_pair(c, r->ca_dir, PKI_NEXT_CA_CERT, PKI_NEXT_CA_KEY, &r->next);
	return err_ok;
}

static const struct pki_pair *newest(const struct rotation *r)
{
	return r->next.cert ? &r->next : &r->current;
}

static bool trusts(const struct rotation *r, X509 *authority)
{
	for (size_t i = 0; i < r->trust.count; i++)
		if (X509_cmp(r->trust.certs[i], authority) == 0)
			return true;
	return false;
}

static int64_t lifetime_days(X509 *x)
{
	int days = 0, seconds = 0;
	ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(x), X509_get0_notAfter(x));
	return days > 0 ? days : 1;
}

/* ------------------------------------------------------------------ what the daemons have */

static bool list_has(json_t *authorities, const char *key, const char *value)
{
	size_t i;
	json_t *a;
	json_array_foreach(authorities, i, a)
	{
		if (str_eq(config_text(a, key), value))
			return true;
	}
	return false;
}

/* It trusts one of ours, and not yet the newest. */
static bool lacks_trust(struct rotation *r, json_t *w)
{
	json_t *has = json_object_get(w, "authorities");
	bool ours = false;
	for (size_t i = 0; i < r->trust.count; i++)
		ours = ours || list_has(has, "fingerprint", pki_fingerprint(r->c, r->trust.certs[i]));
	return ours && !list_has(has, "fingerprint", pki_fingerprint(r->c, newest(r)->cert));
}

/* Its certificate is by one of those that would be dropped. */
static bool by_old(struct rotation *r, json_t *w)
{
	const char *by = config_text(json_array_get(json_object_get(w, "certificates"), 0), "issuer_key_id");
	for (size_t i = 0; i < r->trust.count; i++)
		if (X509_cmp(r->trust.certs[i], newest(r)->cert) != 0 && *by &&
		    str_eq(by, pki_key_id(r->c, r->trust.certs[i])))
			return true;
	return false;
}

/* Refuses unless every live daemon has what the step before made. */
static struct err require_cluster(struct rotation *r, bool (*behind)(struct rotation *r, json_t *w), const char *what)
{
	struct ctl *c = r->c;
	struct ctl_node *nodes;
	size_t count, i;
	if (!r->ask_cluster)
		return err_ok;
	try(ctl_connect(c));
	try(db_require_schema(c));
	try(ctl_nodes(c, NULL, &nodes, &count));
	for (size_t n = 0; n < count; n++) {
		json_t *v, *w;
		if (nodes[n].dead)
			continue;
		try(ctl_http_json(c, nodes[n].http_address, "/admin/certificates", &v));
		bool late = false;
		json_array_foreach(json_object_get(v, "certificates"), i, w) late = late || behind(r, w);
		json_decref(v);
		if (late)
			return err_make(
				c->arena, ERR_FAILED_PRECONDITION,
				"%s %s: give it the files of the last step, see 'perdurectl cert show --cluster'",
				nodes[n].node_id, what);
	}
	return err_ok;
}

/* ------------------------------------------------------------------ the steps */

static struct err say(struct rotation *r, int step, const char *did, const char *then)
{
	if (!r->c->json && step)
		printf("step %d of 3: %s\n%s\n", step, did, then);
	else if (!r->c->json)
		printf("%s\n%s\n", did, then);
	ctl_print_json(r->c, json_pack("{s:s, s:i, s:b, s:s, s:s, s:s, s:s}", "dir", r->dir, "step", step, "done",
				       step == 0 || step == 3, "did", did, "then", then, "fingerprint",
				       pki_fingerprint(r->c, r->leaf.certs[0]), "ca_fingerprint",
				       pki_fingerprint(r->c, newest(r)->cert)));
	return err_ok;
}

static struct err new_leaf(struct rotation *r, const struct pki_pair *authority)
{
	struct pki_pair p;
	int64_t days = r->days ? r->days : lifetime_days(r->leaf.certs[0]);
	try(pki_issue_like(r->c, authority, r->leaf.certs[0], days, &p));
	struct err e = pki_save_pair(r->c, r->dir, PKI_CERT, PKI_KEY, &p);
	pki_bundle_free(&r->leaf);
	r->leaf.certs[r->leaf.count++] = p.cert;
	p.cert = NULL;
	pki_pair_free(&p);
	return e;
}

static struct err begin(struct rotation *r)
{
	try(pki_authority(r->c, CA_DAYS, &r->next));
	return pki_save_pair(r->c, r->ca_dir, PKI_NEXT_CA_CERT, PKI_NEXT_CA_KEY, &r->next);
}

static struct err trust_both(struct rotation *r)
{
	X509 *both[array_len(r->trust.certs) + 1];
	memcpy(both, r->trust.certs, sizeof r->trust.certs);
	both[r->trust.count] = newest(r)->cert;
	try(pki_save_certs(r->c, r->dir, PKI_CA_CERT, both, r->trust.count + 1));
	return say(r, 1, "ca.crt holds the old and the new authority",
		   "Give ca.crt to every daemon (and to clients, for the edge), then say the same command again.");
}

static struct err change_over(struct rotation *r)
{
	try(require_cluster(r, lacks_trust, "does not trust the new authority yet"));
	try(new_leaf(r, newest(r)));
	return say(r, 2, "tls.crt and tls.key are by the new authority",
		   "Give them to every daemon, then say the same command again.");
}

/* The new authority takes the old one's place; its key is gone then. Any point of it can be gone on from. */
static struct err promote(struct rotation *r)
{
	struct ctl *c = r->c;
	X509 *both[] = {r->current.cert, r->next.cert};
	if (!r->next.cert)
		return err_ok;
	try(pki_save_certs(c, r->ca_dir, PKI_CA_CERT, both, array_len(both)));
	if (rename(pki_path(c, r->ca_dir, PKI_NEXT_CA_KEY), pki_path(c, r->ca_dir, PKI_CA_KEY)) != 0)
		return err_make(c->arena, ERR_UNAVAILABLE, "%s cannot be renamed",
				pki_path(c, r->ca_dir, PKI_NEXT_CA_KEY));
	try(pki_save_certs(c, r->ca_dir, PKI_CA_CERT, &r->next.cert, 1));
	unlink(pki_path(c, r->ca_dir, PKI_NEXT_CA_CERT));
	return err_ok;
}

static struct err drop_old(struct rotation *r)
{
	X509 *only = newest(r)->cert;
	try(require_cluster(r, by_old, "still shows a certificate of the old authority"));
	try(ctl_confirm(r->c, r->yes,
			arena_printf(r->c->arena,
				     "%s stops trusting the old authority, whose key is deleted; what still has a "
				     "certificate by it will be refused",
				     r->dir)));
	try(promote(r));
	try(pki_save_certs(r->c, r->dir, PKI_CA_CERT, &only, 1));
	return say(r, 3, "ca.crt holds the new authority alone", "Give ca.crt to every daemon; that was all.");
}

static struct err next_step(struct rotation *r)
{
	X509 *leaf = r->leaf.certs[0];
	bool settled = r->trust.count == 1 && trusts(r, r->current.cert) && pki_signed_by(leaf, r->current.cert);
	if (!r->next.cert && settled)
		try(begin(r));
	if (!trusts(r, newest(r)->cert))
		return trust_both(r);
	if (!pki_signed_by(leaf, newest(r)->cert))
		return change_over(r);
	return drop_old(r);
}

static struct err leaf_only(struct rotation *r)
{
	X509 *leaf = r->leaf.certs[0];
	bool by_next = r->next.cert && (pki_signed_by(leaf, r->next.cert) || !trusts(r, r->current.cert));
	const struct pki_pair *authority = by_next ? &r->next : &r->current;
	if (!trusts(r, authority->cert))
		return err_make(
			r->c->arena, ERR_FAILED_PRECONDITION,
			"%s does not trust the authority in %s: 'cert rotate --new-ca' goes from one to another",
			r->dir, r->ca_dir);
	try(new_leaf(r, authority));
	return say(r, 0, "tls.crt and tls.key are new, by the same authority",
		   "Daemons that read these files take them within seconds ('perdurectl cert show --cluster').");
}

static struct err run(struct ctl *c, const char *const *values)
{
	struct rotation r = {.c = c,
			     .dir = c->args[0],
			     .ca_dir = values[OPTION_CA] ? values[OPTION_CA] : c->args[0],
			     .yes = values[OPTION_YES],
			     .ask_cluster = values[OPTION_CLUSTER]};
	if (values[OPTION_DAYS] && (r.days = strtoll(values[OPTION_DAYS], NULL, 10)) < 1)
		return err_make(c->arena, ERR_INVALID_ARGUMENT, "\"%s\": expected days", values[OPTION_DAYS]);
	struct err e = load(&r);
	if (!err_is(e))
		e = values[OPTION_NEW_CA] ? next_step(&r) : leaf_only(&r);
	rotation_done(&r);
	return e;
}

const struct ctl_command ctl_cert_rotate = {
	.path = "cert rotate",
	.arguments = "DIR",
	.args_min = 1,
	.args_max = 1,
	.offline = true,
	.summary = "A new certificate in place of the old one, or step by step another authority",
	.details =
		"The new one has the old one's names. Daemons take new files within seconds, without a restart; what "
		"is\nconnected stays connected. With --new-ca, each call does the next of three steps and says what "
		"has "
		"to happen\nbefore the following one: 1. ca.crt trusts both authorities, 2. a certificate by the new "
		"one, "
		"3. ca.crt\ntrusts the new one alone (asks). Where several directories share an authority, each step "
		"is "
		"done for all of\nthem before the next.",
	.examples = "perdurectl cert rotate /etc/perdure/rpc --ca /root/perdure-ca\n"
		    "perdurectl cert rotate /etc/perdure/rpc --ca /root/perdure-ca --new-ca --cluster",
	.options = {[OPTION_CA] = {"ca", "DIR", "where the authority is (default: DIR)"},
		    [OPTION_NEW_CA] = {"new-ca", NULL, "the next step towards another authority"},
		    [OPTION_CLUSTER] = {"cluster", NULL,
					"ask the daemons first whether they have the last step's files"},
		    [OPTION_DAYS] = {"days", "N", "how long it is good (default: as long as the old one)"},
		    [OPTION_YES] = {"yes", NULL, "drop the old authority without asking"}},
	.run = run,
};
