/*
 * Search attributes and memos as they arrive: what may be set, and the form in which they are kept.
 */
#ifndef SERVICES_HISTORY_CORE_SEARCH_ATTRIBUTES_H
#define SERVICES_HISTORY_CORE_SEARCH_ATTRIBUTES_H

#include "common/err/err.h"
#include "services/history/core/api_names.h"

#define SEARCH_ATTRIBUTE_VALUE_BYTES_MAX 2048

/* INVALID_ARGUMENT with the text that clients know: an unknown name, one of the system's, a value of the wrong type,
 * too many or too large. NULL is valid. The first only looks for unknown names. */
must_check struct err sa_check_names(struct arena *a, const char *namespace_name, const COMMON(SearchAttributes) *sa);
must_check struct err sa_check(struct arena *a, const char *namespace_name, const COMMON(SearchAttributes) *sa);

/*
 * A copy (sharing payloads' data) in which every value says its type, as readers expect it. `keep_nil` false leaves out
 * values that are null or an empty list; an upsert keeps them, where they mean removal. NULL when nothing is left.
 */
COMMON(SearchAttributes) *sa_typed(struct arena *a, const COMMON(SearchAttributes) *sa, bool keep_nil);

/* Without its null values; NULL when nothing is left. */
COMMON(Memo) *memo_without_nil(struct arena *a, const COMMON(Memo) *memo);

/* null, or an empty list: unsets what it is given for. */
bool payload_is_nil(const COMMON(Payload) *p);

/* A payload with encoding json/plain and, when `type` is given, that type. */
COMMON(Payload) *payload_json(struct arena *a, const char *json, const char *type);
/* A payload that is a JSON string. */
COMMON(Payload) *payload_string(struct arena *a, const char *text);

/* Sets one attribute to a list of strings, in the packed form of the run's state. */
ProtobufCBinaryData sa_put_keyword_list(struct arena *a, ProtobufCBinaryData packed, const char *name, char **values,
					size_t n);
/* The strings of one; empty when it is not set. */
char **sa_get_keyword_list(struct arena *a, ProtobufCBinaryData packed, const char *name, size_t *ret_n);

#endif
