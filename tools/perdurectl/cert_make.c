/*
 * perdurectl cert make: an authority, and a certificate by it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/pki.h"

#define DAYS_DEFAULT	"365"
#define CA_DAYS_DEFAULT "3650"
#define NAME_DEFAULT	"perdure"

enum { OPTION_CA, OPTION_NAME, OPTION_SAN, OPTION_DAYS, OPTION_CA_DAYS, OPTION_YES };

static struct err days_of(struct ctl *c, const char *text, const char *otherwise, int64_t *ret)
{
	char *end;
	*ret = strtoll(text ? text : otherwise, &end, 10);
	if (*end || *ret < 1 || *ret > 36500)
		return err_make(c->arena, ERR_INVALID_ARGUMENT, "\"%s\": expected 1 to 36500 days", text);
	return err_ok;
}

/* The authority that is there, or a new one. */
static struct err authority_in(struct ctl *c, const char *dir, int64_t days, struct pki_pair *ret, bool *ret_made)
{
	*ret_made = false;
	if (pki_exists(c, dir, PKI_CA_KEY))
		return pki_load_pair(c, dir, PKI_CA_CERT, PKI_CA_KEY, ret);
	if (pki_exists(c, dir, PKI_CA_CERT))
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s has an authority's certificate and not its key: say where that is with --ca DIR",
				dir);
	*ret_made = true;
	try(pki_make_dir(c, dir));
	try(pki_authority(c, days, ret));
	struct err e = pki_save_pair(c, dir, PKI_CA_CERT, PKI_CA_KEY, ret);
	if (err_is(e))
		pki_pair_free(ret);
	return e;
}

/* Whom to trust lies beside each certificate. */
static struct err save(struct ctl *c, const char *dir, const char *ca_dir, const struct pki_pair *p)
{
	try(pki_save_pair(c, dir, PKI_CERT, PKI_KEY, p));
	if (str_eq(dir, ca_dir))
		return err_ok;
	struct pki_bundle trust;
	try(pki_load_bundle(c, ca_dir, PKI_CA_CERT, &trust));
	struct err e = pki_save_certs(c, dir, PKI_CA_CERT, trust.certs, trust.count);
	pki_bundle_free(&trust);
	return e;
}

static struct err run(struct ctl *c, const char *const *values)
{
	const char *dir = c->args[0], *ca_dir = values[OPTION_CA] ? values[OPTION_CA] : dir;
	const char *name = values[OPTION_NAME] ? values[OPTION_NAME] : NAME_DEFAULT;
	const char *sans = values[OPTION_SAN] ? values[OPTION_SAN] : name;
	int64_t days, ca_days;
	try(days_of(c, values[OPTION_DAYS], DAYS_DEFAULT, &days));
	try(days_of(c, values[OPTION_CA_DAYS], CA_DAYS_DEFAULT, &ca_days));
	if (pki_exists(c, dir, PKI_CERT) || pki_exists(c, dir, PKI_KEY))
		try(ctl_confirm(c, values[OPTION_YES],
				arena_printf(c->arena, "%s has a certificate already, which is overwritten", dir)));
	struct pki_pair authority = {0}, p = {0};
	bool made;
	try(pki_make_dir(c, dir));
	try(authority_in(c, ca_dir, ca_days, &authority, &made));
	struct err e = pki_issue(c, &authority, name, sans, days, &p);
	if (!err_is(e))
		e = save(c, dir, ca_dir, &p);
	if (!err_is(e)) {
		if (!c->json)
			printf("%s: %s, %s and %s, good for %lld days\n%s: %s%s\n", dir, PKI_CERT, PKI_KEY, PKI_CA_CERT,
			       (long long)days, ca_dir, made ? "a new authority; keep its " : "signed by its ",
			       PKI_CA_KEY);
		ctl_print_json(c, json_pack("{s:s, s:s, s:s, s:s, s:b}", "dir", dir, "ca_dir", ca_dir, "fingerprint",
					    pki_fingerprint(c, p.cert), "ca_fingerprint",
					    pki_fingerprint(c, authority.cert), "new_authority", made));
	}
	pki_pair_free(&authority);
	pki_pair_free(&p);
	return e;
}

const struct ctl_command ctl_cert_make = {
	.path = "cert make",
	.arguments = "DIR",
	.args_min = 1,
	.args_max = 1,
	.offline = true,
	.summary = "A certificate, and an authority where there is none yet",
	.details =
		"Writes tls.crt, tls.key (0600) and ca.crt into DIR, the names that a Secret has. The authority's "
		"ca.key and\nca.crt are in DIR too, unless --ca names another directory; made there when there is "
		"none. Between daemons\nevery certificate must bear the name 'perdure', which is the default; at the "
		"edge, the names that clients dial.",
	.examples =
		"perdurectl cert make /etc/perdure/rpc --ca /root/perdure-ca\n"
		"perdurectl cert make edge --name perdure-frontend --san perdure-frontend,perdure.example.com,10.0.0.7",
	.options = {[OPTION_CA] = {"ca", "DIR", "where the authority is (default: DIR)"},
		    [OPTION_NAME] = {"name", "NAME", "common name (default perdure)"},
		    [OPTION_SAN] = {"san", "NAMES", "names and addresses, separated by commas (default: the name)"},
		    [OPTION_DAYS] = {"days", "N", "how long the certificate is good (default 365)"},
		    [OPTION_CA_DAYS] = {"ca-days", "N", "how long a new authority is (default 3650)"},
		    [OPTION_YES] = {"yes", NULL, "overwrite a certificate that is there, without asking"}},
	.run = run,
};
