/*
 * Server reflection, v1 and v1alpha (the same messages under two names), from the public API's descriptor tables.
 *
 * A file is sent with everything it imports, directly or not: clients then need no further question.
 */
#include <grpc/reflection/v1/reflection.pb-c.h>

#include "common/grpc/builtin.h"
#include "proto/api_methods.h"

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;

static void answer_error(reflection_response *r, struct arena *a, enum err_code code, const char *text)
{
	Grpc__Reflection__V1__ErrorResponse *e = arena_new0(a, Grpc__Reflection__V1__ErrorResponse);
	grpc__reflection__v1__error_response__init(e);
	e->error_code = (int32_t)code;
	e->error_message = (char *)text;
	r->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
	r->error_response = e;
}

/* Imports come before their importers in the table, so one sweep downwards finds all of them. */
static void answer_file(reflection_response *r, struct arena *a, const struct api_file *file, const char *asked)
{
	if (!file) {
		answer_error(r, a, ERR_NOT_FOUND, arena_printf(a, "not found: %s", asked ? asked : ""));
		return;
	}
	Grpc__Reflection__V1__FileDescriptorResponse *f = arena_new0(a, Grpc__Reflection__V1__FileDescriptorResponse);
	grpc__reflection__v1__file_descriptor_response__init(f);
	size_t first = (size_t)(file - api_files);
	bool *wanted = arena_array(a, bool, first + 1);
	f->file_descriptor_proto = arena_array(a, ProtobufCBinaryData, first + 1);
	wanted[first] = true;
	for (size_t i = first + 1; i-- > 0;) {
		const struct api_file *it = &api_files[i];
		if (!wanted[i])
			continue;
		f->file_descriptor_proto[f->n_file_descriptor_proto++] =
			(ProtobufCBinaryData){.len = it->len, .data = (uint8_t *)it->data};
		for (size_t k = 0; k < it->n_imports; k++) {
			assert(it->imports[k] < i);
			wanted[it->imports[k]] = true;
		}
	}
	r->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
	r->file_descriptor_response = f;
}

static void answer_extension_numbers(reflection_response *r, struct arena *a, const char *type)
{
	Grpc__Reflection__V1__ExtensionNumberResponse *n = arena_new0(a, Grpc__Reflection__V1__ExtensionNumberResponse);
	grpc__reflection__v1__extension_number_response__init(n);
	if (!api_message_by_name(type, strlen(type))) {
		answer_error(r, a, ERR_NOT_FOUND, arena_printf(a, "not found: %s", type));
		return;
	}
	n->base_type_name = (char *)type;
	n->extension_number = arena_array(a, int32_t, api_extensions_n);
	for (size_t i = 0; i < api_extensions_n; i++)
		if (str_eq(api_extensions[i].extendee, type))
			n->extension_number[n->n_extension_number++] = (int32_t)api_extensions[i].number;
	r->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE;
	r->all_extension_numbers_response = n;
}

/* The services that have methods in the table of what we serve. */
static void answer_services(reflection_response *r, struct arena *a)
{
	Grpc__Reflection__V1__ListServiceResponse *l = arena_new0(a, Grpc__Reflection__V1__ListServiceResponse);
	grpc__reflection__v1__list_service_response__init(l);
	l->service = arena_array(a, Grpc__Reflection__V1__ServiceResponse *, API_METHOD_COUNT);
	const char *last = "";
	for (size_t i = 0; i < API_METHOD_COUNT; i++) {
		if (str_eq(api_methods[i].service, last))
			continue; /* the table is sorted */
		last = api_methods[i].service;
		Grpc__Reflection__V1__ServiceResponse *s = arena_new0(a, Grpc__Reflection__V1__ServiceResponse);
		grpc__reflection__v1__service_response__init(s);
		s->name = (char *)last;
		l->service[l->n_service++] = s;
	}
	r->message_response_case =
		GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
	r->list_services_response = l;
}

static void answer(reflection_response *r, struct arena *a, const reflection_request *q)
{
	switch ((int)q->message_request_case) {
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
		answer_file(r, a, api_file_by_name(q->file_by_filename), q->file_by_filename);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
		answer_file(r, a, api_file_by_symbol(q->file_containing_symbol), q->file_containing_symbol);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION: {
		const Grpc__Reflection__V1__ExtensionRequest *e = q->file_containing_extension;
		answer_file(r, a, api_file_by_extension(e->containing_type, (uint32_t)e->extension_number),
			    e->containing_type);
		break;
	}
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
		answer_extension_numbers(r, a, q->all_extension_numbers_of_type);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
		answer_services(r, a);
		break;
	case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST__NOT_SET:
	default:
		answer_error(r, a, ERR_INVALID_ARGUMENT, "the request asks nothing that is known here");
		break;
	}
}

static void on_cancelled(void *user, struct grpc_call *call)
{
	(void)user;
	grpc_finish(call, err_static(ERR_CANCELLED, "cancelled"), NULL, 0);
}

void grpc_reflection_serve(struct grpc_call *call)
{
	if (grpc_input_ended(call)) {
		grpc_finish(call, err_ok, NULL, 0);
		return;
	}
	grpc_on_cancel(call, on_cancelled);
	struct arena *a = arena_new(GRPC_BUILTIN_ARENA_BYTES);
	struct bytes m = grpc_message(call);
	reflection_request *q = grpc__reflection__v1__server_reflection_request__unpack(arena_pb(a), m.len, m.data);
	if (q) {
		reflection_response r = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
		r.valid_host = q->host;
		r.original_request = q;
		answer(&r, a, q);
		grpc_builtin_send(call, a, &r.base);
	} else {
		grpc_finish(call, err_static(ERR_INVALID_ARGUMENT, "malformed reflection request"), NULL, 0);
	}
	arena_free(a);
}
