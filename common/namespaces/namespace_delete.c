/*
 * DeleteNamespace: the record is marked and renamed at once, so that its name is free; history removes what is in it
 * later, and then the record.
 */
#include "common/namespaces/namespace_internal.h"

/* Enough of the id to tell it from others of that name; more when it isn't. */
#define ID_PREFIX_LEN 5

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);
	return n >= m && str_eq(s + n - m, end);
}

static const char *new_name(const Perdure__NamespaceRecord *r, bool (*taken)(void *ctx, const char *name), void *ctx,
			    struct arena *a)
{
	size_t most = strlen(r->id);
	for (size_t len = ID_PREFIX_LEN; len < most; len++) {
		const char *suffix = arena_printf(a, "-deleted-%.*s", (int)len, r->id);
		if (ends_with(r->name, suffix))
			return r->name;
		const char *name = arena_printf(a, "%s%s", r->name, suffix);
		if (!taken(ctx, name))
			return name;
	}
	return arena_printf(a, "%s-deleted-%s", r->name, r->id);
}

struct err namespace_delete(const Perdure__NamespaceRecord *old, int64_t delay_ns, int64_t now_ns,
			    bool (*taken)(void *ctx, const char *name), void *ctx, struct arena *a,
			    Perdure__NamespaceRecord **ret)
{
	if (str_eq(old->name, NAMESPACE_SYSTEM))
		return err_static(ERR_FAILED_PRECONDITION, "unable to delete system namespace");
	Perdure__NamespaceRecord *r = namespace_copy(old, a);
	int deleted = TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_DELETED;
	if (r->state != deleted || !r->deleted_time_ns)
		r->deleted_time_ns = now_ns;
	r->state = deleted;
	r->delete_delay_ns = max_i64(delay_ns, 0);
	r->name = (char *)new_name(old, taken, ctx, a);
	*ret = r;
	return err_ok;
}
