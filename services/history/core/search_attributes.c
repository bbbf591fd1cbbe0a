/*
 * Search attributes and memos: which names and values are accepted, and the form in which they are kept.
 *
 * Custom attributes are registered by namespace; until that exists here, every name that is neither the system's nor
 * predefined is unknown.
 */
#include "services/history/core/search_attributes.h"

#include <jansson.h>
#include <stdlib.h>

#include "services/history/core/pbmsg.h"

#define KEYS_MAX	100
#define TOTAL_BYTES_MAX (40 * 1024)

typedef COMMON(SearchAttributes__IndexedFieldsEntry) sa_entry_t;

/* ------------------------------------------------------------------ names */

enum sa_kind {
	SA_UNKNOWN,
	SA_SYSTEM,   /* a column of its own: nobody sets it */
	SA_INTERNAL, /* predefined, but the server's */
	SA_USER,     /* predefined, and users may set it */
};

static const struct sa_name {
	const char *name, *type;
	enum sa_kind kind;
} names[] = {
	{"WorkflowId", "Keyword", SA_SYSTEM},
	{"RunId", "Keyword", SA_SYSTEM},
	{"WorkflowType", "Keyword", SA_SYSTEM},
	{"StartTime", "Datetime", SA_SYSTEM},
	{"ExecutionTime", "Datetime", SA_SYSTEM},
	{"CloseTime", "Datetime", SA_SYSTEM},
	{"ExecutionStatus", "Keyword", SA_SYSTEM},
	{"TaskQueue", "Keyword", SA_SYSTEM},
	{"HistoryLength", "Int", SA_SYSTEM},
	{"ExecutionDuration", "Int", SA_SYSTEM},
	{"StateTransitionCount", "Int", SA_SYSTEM},
	{"HistorySizeBytes", "Int", SA_SYSTEM},
	{"ParentWorkflowId", "Keyword", SA_SYSTEM},
	{"ParentRunId", "Keyword", SA_SYSTEM},
	{"RootWorkflowId", "Keyword", SA_SYSTEM},
	{"RootRunId", "Keyword", SA_SYSTEM},
	{"TemporalChangeVersion", "KeywordList", SA_USER},
	{"BinaryChecksums", "KeywordList", SA_USER},
	{"BuildIds", "KeywordList", SA_USER},
	{"BatcherNamespace", "Keyword", SA_USER},
	{"BatcherUser", "Keyword", SA_USER},
	{"TemporalScheduledStartTime", "Datetime", SA_USER},
	{"TemporalScheduledById", "Keyword", SA_USER},
	{"TemporalSchedulePaused", "Bool", SA_USER},
	{"TemporalNamespaceDivision", "Keyword", SA_USER},
	{"TemporalPauseInfo", "KeywordList", SA_USER},
	{"TemporalReportedProblems", "KeywordList", SA_USER},
	{"TemporalWorkerDeploymentVersion", "Keyword", SA_INTERNAL},
	{"TemporalWorkflowVersioningBehavior", "Keyword", SA_INTERNAL},
	{"TemporalWorkerDeployment", "Keyword", SA_INTERNAL},
	{"TemporalUsedWorkerDeploymentVersions", "KeywordList", SA_INTERNAL},
	{"TemporalExternalPayloadCount", "Int", SA_INTERNAL},
	{"TemporalExternalPayloadSizeBytes", "Int", SA_INTERNAL},
};

static const struct sa_name *find_name(const char *name)
{
	static const struct sa_name unknown = {NULL, NULL, SA_UNKNOWN};
	for (size_t i = 0; i < array_len(names); i++)
		if (str_eq(names[i].name, name))
			return &names[i];
	return &unknown;
}

/* ------------------------------------------------------------------ payloads */

static COMMON(Payload__MetadataEntry) *metadata(struct arena *a, const char *key, const char *value)
{
	COMMON(Payload__MetadataEntry) *m =
		pb_new0(a, COMMON(Payload__MetadataEntry), COMMON_FN(payload__metadata_entry));
	m->key = arena_strdup(a, key);
	m->value.data = (uint8_t *)arena_strdup(a, value);
	m->value.len = strlen(value);
	return m;
}

COMMON(Payload) *payload_json(struct arena *a, const char *json, const char *type)
{
	COMMON(Payload) *p = pb_new0(a, COMMON(Payload), COMMON_FN(payload));
	p->metadata = arena_array(a, COMMON(Payload__MetadataEntry) *, 2);
	p->metadata[p->n_metadata++] = metadata(a, "encoding", "json/plain");
	if (type)
		p->metadata[p->n_metadata++] = metadata(a, "type", type);
	p->data.data = (uint8_t *)arena_strdup(a, json);
	p->data.len = strlen(json);
	return p;
}

COMMON(Payload) *payload_string(struct arena *a, const char *text)
{
	json_t *s = json_string(text);
	char *json = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
	COMMON(Payload) *p = payload_json(a, json ? json : "\"\"", NULL);
	free(json);
	json_decref(s);
	return p;
}

static struct bytes metadata_value(const COMMON(Payload) *p, const char *key)
{
	for (size_t i = 0; i < p->n_metadata; i++)
		if (str_eq(p->metadata[i]->key, key))
			return pb_bytes(p->metadata[i]->value);
	return (struct bytes){NULL, 0};
}

bool payload_is_nil(const COMMON(Payload) *p)
{
	if (!p)
		return true;
	struct bytes data = pb_bytes(p->data);
	return data.len == 0 || bytes_eq(data, bytes_str("null")) || bytes_eq(data, bytes_str("[]"));
}

/* ------------------------------------------------------------------ values */

static bool is_scalar(const json_t *v, const char *type)
{
	if (str_eq(type, "Bool"))
		return json_is_boolean(v);
	if (str_eq(type, "Int"))
		return json_is_integer(v);
	if (str_eq(type, "Double"))
		return json_is_number(v);
	return json_is_string(v); /* Keyword, Text, Datetime */
}

static bool value_fits(const json_t *v, const char *type)
{
	if (json_is_null(v))
		return true;
	if (!str_eq(type, "KeywordList")) {
		/* A list of at most one is taken as its element. */
		if (json_is_array(v))
			return json_array_size(v) == 0 ||
			       (json_array_size(v) == 1 && is_scalar(json_array_get(v, 0), type));
		return is_scalar(v, type);
	}
	if (!json_is_array(v))
		return false;
	for (size_t i = 0; i < json_array_size(v); i++)
		if (!json_is_string(json_array_get(v, i)))
			return false;
	return true;
}

/* As clients know it from the text: strings bare, lists as [a b]. */
static void print_value(struct buf *out, const json_t *v)
{
	if (json_is_string(v)) {
		buf_printf(out, "%s", json_string_value(v));
	} else if (json_is_array(v)) {
		buf_printf(out, "[");
		for (size_t i = 0; i < json_array_size(v); i++) {
			buf_printf(out, i ? " " : "");
			print_value(out, json_array_get(v, i));
		}
		buf_printf(out, "]");
	} else if (json_is_null(v)) {
		buf_printf(out, "<nil>");
	} else {
		char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
		buf_printf(out, "%s", text ? text : "");
		free(text);
	}
}

static struct err check_value(struct arena *a, const struct sa_name *n, const COMMON(Payload) *p)
{
	if (payload_is_nil(p))
		return err_ok;
	json_t *v = json_loadb((const char *)p->data.data, p->data.len, JSON_DECODE_ANY, NULL);
	struct err e = err_ok;
	if (!v || !value_fits(v, n->type)) {
		struct buf text = {0};
		if (v)
			print_value(&text, v);
		buf_put(&text, "", 1);
		e = err_make(a, ERR_INVALID_ARGUMENT, "invalid value for search attribute %s of type %s: %s", n->name,
			     n->type, (const char *)text.data);
		buf_done(&text);
	}
	json_decref(v);
	return e;
}

struct err sa_check_names(struct arena *a, const char *namespace_name, const COMMON(SearchAttributes) *sa)
{
	for (size_t i = 0; sa && i < sa->n_indexed_fields; i++)
		if (find_name(sa->indexed_fields[i]->key)->kind == SA_UNKNOWN)
			return err_make(a, ERR_INVALID_ARGUMENT,
					"Namespace %s has no mapping defined for search attribute %s", namespace_name,
					sa->indexed_fields[i]->key);
	return err_ok;
}

struct err sa_check(struct arena *a, const char *namespace_name, const COMMON(SearchAttributes) *sa)
{
	if (!sa || sa->n_indexed_fields == 0)
		return err_ok;
	/* Names are looked up before anything else is judged. */
	try(sa_check_names(a, namespace_name, sa));
	if (sa->n_indexed_fields > KEYS_MAX)
		return err_make(a, ERR_INVALID_ARGUMENT, "number of search attributes %zu exceeds limit %d",
				sa->n_indexed_fields, KEYS_MAX);
	for (size_t i = 0; i < sa->n_indexed_fields; i++) {
		const struct sa_name *n = find_name(sa->indexed_fields[i]->key);
		if (n->kind != SA_USER)
			return err_make(a, ERR_INVALID_ARGUMENT, "%s attribute can't be set in SearchAttributes",
					n->name);
		try(check_value(a, n, sa->indexed_fields[i]->value));
	}
	for (size_t i = 0; i < sa->n_indexed_fields; i++) {
		const COMMON(Payload) *p = sa->indexed_fields[i]->value;
		if (p && p->data.len > SEARCH_ATTRIBUTE_VALUE_BYTES_MAX)
			return err_make(a, ERR_INVALID_ARGUMENT,
					"search attribute %s value size %zu exceeds size limit %d",
					sa->indexed_fields[i]->key, p->data.len, SEARCH_ATTRIBUTE_VALUE_BYTES_MAX);
	}
	size_t total = protobuf_c_message_get_packed_size(&sa->base);
	if (total > TOTAL_BYTES_MAX)
		return err_make(a, ERR_INVALID_ARGUMENT, "total size of search attributes %zu exceeds size limit %d",
				total, TOTAL_BYTES_MAX);
	return err_ok;
}

/* ------------------------------------------------------------------ the kept form */

static COMMON(Payload) *with_type(struct arena *a, const COMMON(Payload) *p, const char *type)
{
	if (!type || bytes_eq(metadata_value(p, "type"), bytes_str(type)))
		return (COMMON(Payload) *)p;
	COMMON(Payload) *copy = arena_new0(a, COMMON(Payload));
	*copy = *p;
	copy->metadata = arena_array(a, COMMON(Payload__MetadataEntry) *, p->n_metadata + 1);
	copy->n_metadata = 0;
	for (size_t i = 0; i < p->n_metadata; i++)
		if (!str_eq(p->metadata[i]->key, "type"))
			copy->metadata[copy->n_metadata++] = p->metadata[i];
	copy->metadata[copy->n_metadata++] = metadata(a, "type", type);
	return copy;
}

COMMON(SearchAttributes) *sa_typed(struct arena *a, const COMMON(SearchAttributes) *sa, bool keep_nil)
{
	if (!sa)
		return NULL;
	COMMON(SearchAttributes) *copy = pb_new0(a, COMMON(SearchAttributes), COMMON_FN(search_attributes));
	copy->indexed_fields = arena_array(a, sa_entry_t *, sa->n_indexed_fields);
	for (size_t i = 0; i < sa->n_indexed_fields; i++) {
		const sa_entry_t *e = sa->indexed_fields[i];
		if (!e->value || (!keep_nil && payload_is_nil(e->value)))
			continue;
		sa_entry_t *entry = pb_new0(a, sa_entry_t, COMMON_FN(search_attributes__indexed_fields_entry));
		entry->key = e->key;
		entry->value = with_type(a, e->value, find_name(e->key)->type);
		copy->indexed_fields[copy->n_indexed_fields++] = entry;
	}
	return copy->n_indexed_fields ? copy : NULL;
}

COMMON(Memo) *memo_without_nil(struct arena *a, const COMMON(Memo) *memo)
{
	if (!memo)
		return NULL;
	COMMON(Memo) *copy = pb_new0(a, COMMON(Memo), COMMON_FN(memo));
	copy->fields = arena_array(a, COMMON(Memo__FieldsEntry) *, memo->n_fields);
	for (size_t i = 0; i < memo->n_fields; i++)
		if (!payload_is_nil(memo->fields[i]->value))
			copy->fields[copy->n_fields++] = memo->fields[i];
	return copy->n_fields ? copy : NULL;
}

/* ------------------------------------------------------------------ single attributes of a run */

static COMMON(SearchAttributes) *unpack(struct arena *a, ProtobufCBinaryData packed)
{
	COMMON(SearchAttributes) *sa = pb_unpack(a, &COMMON_FN(search_attributes__descriptor), packed);
	return sa ? sa : pb_new0(a, COMMON(SearchAttributes), COMMON_FN(search_attributes));
}

static sa_entry_t *find_entry(COMMON(SearchAttributes) *sa, const char *name)
{
	for (size_t i = 0; i < sa->n_indexed_fields; i++)
		if (str_eq(sa->indexed_fields[i]->key, name))
			return sa->indexed_fields[i];
	return NULL;
}

ProtobufCBinaryData sa_put_keyword_list(struct arena *a, ProtobufCBinaryData packed, const char *name, char **values,
					size_t n)
{
	COMMON(SearchAttributes) *sa = unpack(a, packed);
	sa_entry_t *entry = find_entry(sa, name);
	if (!entry) {
		entry = pb_new0(a, sa_entry_t, COMMON_FN(search_attributes__indexed_fields_entry));
		entry->key = arena_strdup(a, name);
		sa_entry_t **wider = arena_array(a, sa_entry_t *, sa->n_indexed_fields + 1);
		if (sa->n_indexed_fields)
			memcpy(wider, sa->indexed_fields, sa->n_indexed_fields * sizeof *wider);
		wider[sa->n_indexed_fields++] = entry;
		sa->indexed_fields = wider;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(values[i]));
	char *json = json_dumps(list, JSON_COMPACT);
	entry->value = payload_json(a, json ? json : "[]", "KeywordList");
	free(json);
	json_decref(list);
	return pb_pack(a, &sa->base);
}

char **sa_get_keyword_list(struct arena *a, ProtobufCBinaryData packed, const char *name, size_t *ret_n)
{
	*ret_n = 0;
	sa_entry_t *entry = find_entry(unpack(a, packed), name);
	json_t *list = entry && entry->value
			       ? json_loadb((const char *)entry->value->data.data, entry->value->data.len, 0, NULL)
			       : NULL;
	if (!json_is_array(list)) {
		json_decref(list);
		return NULL;
	}
	char **values = arena_array(a, char *, json_array_size(list));
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_is_string(json_array_get(list, i)))
			values[(*ret_n)++] = arena_strdup(a, json_string_value(json_array_get(list, i)));
	json_decref(list);
	return values;
}
