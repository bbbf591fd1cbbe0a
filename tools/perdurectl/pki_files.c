/*
 * Certificates and keys as files.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/perdurectl/pki.h"

const char *pki_path(struct ctl *c, const char *dir, const char *file)
{
	return arena_printf(c->arena, "%s/%s", dir, file);
}

bool pki_exists(struct ctl *c, const char *dir, const char *file)
{
	return access(pki_path(c, dir, file), F_OK) == 0;
}

struct err pki_make_dir(struct ctl *c, const char *dir)
{
	if (mkdir(dir, 0755) == 0 || errno == EEXIST)
		return err_ok;
	return err_make(c->arena, ERR_FAILED_PRECONDITION, "%s cannot be made: %s", dir, strerror(errno));
}

/* ------------------------------------------------------------------ reading */

void pki_bundle_free(struct pki_bundle *b)
{
	while (b->count)
		X509_free(b->certs[--b->count]);
}

struct err pki_load_bundle(struct ctl *c, const char *dir, const char *file, struct pki_bundle *ret)
{
	const char *path = pki_path(c, dir, file);
	*ret = (struct pki_bundle){0};
	FILE *f = fopen(path, "re");
	if (!f)
		return err_make(c->arena, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
	X509 *x;
	while (ret->count < array_len(ret->certs) && (x = PEM_read_X509(f, NULL, NULL, NULL)))
		ret->certs[ret->count++] = x;
	ERR_clear_error();
	fclose(f);
	if (ret->count == 0)
		return err_make(c->arena, ERR_FAILED_PRECONDITION, "%s holds no certificate in PEM", path);
	return err_ok;
}

static struct err load_key(struct ctl *c, const char *path, EVP_PKEY **ret)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return err_make(c->arena, ERR_NOT_FOUND, "%s: %s", path, strerror(errno));
	*ret = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	ERR_clear_error();
	fclose(f);
	return *ret ? err_ok : err_make(c->arena, ERR_FAILED_PRECONDITION, "%s holds no key in PEM", path);
}

struct err pki_load_pair(struct ctl *c, const char *dir, const char *cert_file, const char *key_file,
			 struct pki_pair *ret)
{
	struct pki_bundle b;
	*ret = (struct pki_pair){0};
	try(pki_load_bundle(c, dir, cert_file, &b));
	struct err e = load_key(c, pki_path(c, dir, key_file), &ret->key);
	for (size_t i = 0; !err_is(e) && !ret->cert && i < b.count; i++)
		if (X509_check_private_key(b.certs[i], ret->key) == 1 && X509_up_ref(b.certs[i]))
			ret->cert = b.certs[i];
	ERR_clear_error();
	pki_bundle_free(&b);
	if (!err_is(e) && !ret->cert)
		e = err_make(c->arena, ERR_FAILED_PRECONDITION, "%s: no certificate in %s is of the key in %s", dir,
			     cert_file, key_file);
	if (err_is(e))
		pki_pair_free(ret);
	return e;
}

/* ------------------------------------------------------------------ writing */

/* Beside the file, then over it: nobody sees half of one. Who replaces another's file leaves it to them. */
static struct err replace_file(struct ctl *c, const char *path, mode_t mode, BIO *content)
{
	char *data;
	long len = BIO_get_mem_data(content, &data);
	const char *new = arena_printf(c->arena, "%s.new", path);
	struct stat old;
	bool replaces = stat(path, &old) == 0;
	unlink(new);
	int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	bool ok = fd >= 0 && fchmod(fd, replaces ? old.st_mode & 07777 : mode) == 0 &&
		  (!replaces || geteuid() != 0 || fchown(fd, old.st_uid, old.st_gid) == 0) &&
		  write(fd, data, (size_t)len) == len && fsync(fd) == 0;
	if (fd >= 0)
		ok = close(fd) == 0 && ok;
	if (ok && rename(new, path) == 0)
		return err_ok;
	struct err e = err_make(c->arena, ERR_UNAVAILABLE, "%s cannot be written: %s", path, strerror(errno));
	unlink(new);
	return e;
}

struct err pki_save_certs(struct ctl *c, const char *dir, const char *file, X509 *const *certs, size_t count)
{
	BIO *out = BIO_new(BIO_s_mem());
	bool ok = out != NULL;
	for (size_t i = 0; ok && i < count; i++)
		ok = PEM_write_bio_X509(out, certs[i]) == 1;
	struct err e = ok ? replace_file(c, pki_path(c, dir, file), 0644, out)
			  : err_static(ERR_INTERNAL, "a certificate cannot be encoded");
	BIO_free(out);
	return e;
}

struct err pki_save_pair(struct ctl *c, const char *dir, const char *cert_file, const char *key_file,
			 const struct pki_pair *p)
{
	BIO *out = BIO_new(BIO_s_secmem());
	struct err e = err_static(ERR_INTERNAL, "a key cannot be encoded");
	if (out && PEM_write_bio_PrivateKey(out, p->key, NULL, NULL, 0, NULL, NULL) == 1)
		e = replace_file(c, pki_path(c, dir, key_file), 0600, out);
	BIO_free(out);
	return err_is(e) ? e : pki_save_certs(c, dir, cert_file, &p->cert, 1);
}
