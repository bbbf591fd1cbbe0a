/*
 * What of a setting's value must not be shown: passwords in connection strings and URLs, and the values of headers.
 */
#include <string.h>

#include "common/config/value.h"

#define MASK "***"

static void put(struct buf *out, const char *from, const char *to)
{
	buf_put(out, from, (size_t)(to - from));
}

/* The end of a libpq value or of an URI's parameter. */
static const char *end_of_value(const char *s)
{
	if (*s != '\'')
		return s + strcspn(s, " \t\r\n&");
	for (s++; *s && *s != '\''; s++)
		if (*s == '\\' && s[1])
			s++;
	return s + (*s != 0);
}

/* Behind "password =", with whatever comes before that name (sslpassword); NULL: there is none. */
static const char *find_password(const char *s)
{
	while ((s = strcasestr(s, "password"))) {
		s += strlen("password");
		const char *value = s + strspn(s, " \t\r\n");
		if (*value == '=')
			return value + 1 + strspn(value + 1, " \t\r\n");
	}
	return NULL;
}

static void mask_passwords(struct buf *out, const char *s)
{
	for (const char *value; (value = find_password(s)); s = end_of_value(value)) {
		put(out, s, value);
		buf_printf(out, MASK);
	}
	buf_printf(out, "%s", s);
}

/* scheme://user:password@host; the rest, which begins with @, is answered. */
static const char *mask_user(struct buf *out, const char *url)
{
	const char *user = strstr(url, "://");
	if (!user)
		return url;
	user += 3;
	const char *end = user + strcspn(user, "/?"), *at = memrchr(user, '@', (size_t)(end - user));
	/* A password may have what it must not, a slash: rather too much is hidden. */
	if (!at)
		at = strrchr(user, '@');
	const char *colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;
	if (!colon)
		return url;
	put(out, url, colon + 1);
	buf_printf(out, MASK);
	return at;
}

/* name=value,name=value */
static void mask_headers(struct buf *out, const char *s)
{
	while (*s) {
		const char *end = s + strcspn(s, ","), *equals = memchr(s, '=', (size_t)(end - s));
		/* Without a name, all of it may be the secret. */
		if (equals)
			put(out, s, equals + 1);
		buf_printf(out, MASK);
		s = end + (*end == ',');
		if (*end == ',')
			buf_printf(out, ",");
	}
}

const char *value_masked(const char *name, const char *text, struct arena *a)
{
	struct buf out = {0};
	if (strcmp(name, "database.dsn") == 0)
		mask_passwords(&out, mask_user(&out, text));
	else if (strcmp(name, "trace.endpoint") == 0)
		buf_printf(&out, "%s", mask_user(&out, text));
	else if (strcmp(name, "trace.headers") == 0)
		mask_headers(&out, text);
	else
		return text;
	const char *masked = arena_printf(a, "%.*s", (int)out.len, out.data ? (const char *)out.data : "");
	buf_done(&out);
	return masked;
}
