/*
 * Protobuf messages as JSON, by their descriptors, as the protobuf JSON mapping has it: names in lowerCamelCase, bytes
 * in base64, 64-bit numbers as text, enums by name, times and durations as text.
 */
#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <time.h>

#include "tools/perdurectl/ctl.h"

static const char *camel(struct ctl *c, const char *name)
{
	char *out = arena_strdup(c->arena, name), *to = out;
	for (const char *at = name; *at; at++) {
		if (*at == '_' && at[1] >= 'a' && at[1] <= 'z')
			*to++ = (char)(*++at - 'a' + 'A');
		else if (*at != '_')
			*to++ = *at;
	}
	*to = 0;
	return out;
}

static json_t *base64(struct ctl *c, const ProtobufCBinaryData *b)
{
	char *text = arena_alloc(c->arena, b->len / 3 * 4 + 5);
	int len = EVP_EncodeBlock((unsigned char *)text, b->data, (int)b->len);
	return json_stringn(text, (size_t)len);
}

/* NULL: an ordinary message. */
static json_t *well_known(struct ctl *c, const ProtobufCMessage *m)
{
	if (m->descriptor == &google__protobuf__timestamp__descriptor) {
		const Google__Protobuf__Timestamp *t = (const Google__Protobuf__Timestamp *)m;
		time_t s = (time_t)t->seconds;
		struct tm tm;
		char text[32];
		gmtime_r(&s, &tm);
		strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
		return json_string(t->nanos ? arena_printf(c->arena, "%s.%09dZ", text, t->nanos)
					    : arena_printf(c->arena, "%sZ", text));
	}
	if (m->descriptor == &google__protobuf__duration__descriptor) {
		const Google__Protobuf__Duration *d = (const Google__Protobuf__Duration *)m;
		return json_string(d->nanos ? arena_printf(c->arena, "%lld.%09ds", (long long)d->seconds, d->nanos)
					    : arena_printf(c->arena, "%llds", (long long)d->seconds));
	}
	return NULL;
}

static json_t *enum_json(const ProtobufCEnumDescriptor *d, int32_t number)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, number);
	return v ? json_string(v->name) : json_integer(number);
}

static json_t *value_json(struct ctl *c, const ProtobufCFieldDescriptor *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_string(arena_printf(c->arena, "%lld", (long long)*(const int64_t *)at));
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_string(arena_printf(c->arena, "%llu", (unsigned long long)*(const uint64_t *)at));
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_json(f->descriptor, *(const int32_t *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_string(*(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return base64(c, at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return ctl_pb_json(c, *(ProtobufCMessage *const *)at);
	}
	return json_null();
}

static size_t size_of(const ProtobufCFieldDescriptor *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_BOOL:
	case PROTOBUF_C_TYPE_ENUM:
		return 4;
	}
	return 4;
}

/* A map is a list of messages that no other use has: …Entry with the fields key and value. */
static bool is_map(const ProtobufCFieldDescriptor *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;
	size_t len = f->type == PROTOBUF_C_TYPE_MESSAGE ? strlen(d->name) : 0;
	return len > 5 && strcmp(d->name + len - 5, "Entry") == 0 && d->n_fields == 2 &&
	       str_eq(d->fields[0].name, "key") && str_eq(d->fields[1].name, "value");
}

static json_t *list_json(struct ctl *c, const ProtobufCFieldDescriptor *f, size_t count, const char *at)
{
	bool map = is_map(f);
	json_t *v = map ? json_object() : json_array();
	for (size_t i = 0; i < count; i++, at += size_of(f)) {
		if (!map) {
			json_array_append_new(v, value_json(c, f, at));
			continue;
		}
		const char *entry = *(const char *const *)at;
		const ProtobufCFieldDescriptor *fields = ((const ProtobufCMessageDescriptor *)f->descriptor)->fields;
		json_t *key = value_json(c, &fields[0], entry + fields[0].offset);
		const char *name = json_is_string(key)
					   ? json_string_value(key)
					   : arena_printf(c->arena, "%lld", (long long)json_integer_value(key));
		json_object_set_new(v, arena_strdup(c->arena, name),
				    value_json(c, &fields[1], entry + fields[1].offset));
		json_decref(key);
	}
	return v;
}

/* Absent, or at its default. */
static bool is_unset(const ProtobufCFieldDescriptor *f, const char *m)
{
	static const char zero[16];
	const void *at = m + f->offset;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(m + f->quantifier_offset) != f->id;
	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(m + f->quantifier_offset) == 0;
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return str_empty(*(char *const *)at);
	if (f->type == PROTOBUF_C_TYPE_BYTES)
		return ((const ProtobufCBinaryData *)at)->len == 0;
	return memcmp(at, zero, size_of(f)) == 0;
}

json_t *ctl_pb_json(struct ctl *c, const ProtobufCMessage *m)
{
	json_t *v = m ? well_known(c, m) : json_null();
	if (v)
		return v;
	v = json_object();
	for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
		const char *base = (const char *)m;
		if (is_unset(f, base))
			continue;
		const void *at = base + f->offset;
		json_object_set_new(v, camel(c, f->name),
				    f->label == PROTOBUF_C_LABEL_REPEATED
					    ? list_json(c, f, *(const size_t *)(base + f->quantifier_offset),
							*(const char *const *)at)
					    : value_json(c, f, at));
	}
	return v;
}
