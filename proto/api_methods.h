/* The public API as tables: its methods, HTTP routes, messages and descriptor files.
 *
 * All of it is generated from the API's own descriptors (gen_methods.py), constant and immutable: every
 * pointer below stays valid for the life of the process, and any thread may read it. Strings are
 * NUL-terminated. Tables said to be sorted are in byte order (memcmp, a prefix first).
 */
#ifndef PERDURE_PROTO_API_METHODS_H
#define PERDURE_PROTO_API_METHODS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "api_method_ids.h"

/* One google.api.http binding of a method. */
struct api_http_route {
	const char *verb;    /* "GET", "POST", … */
	const char *pattern; /* "/api/v1/namespaces/{namespace}/workflows" */
	const char *body;    /* field that the request body fills; "*" for the whole message, "" for none */
	enum api_method_id method;
};

/* A method of one of the services that we serve. */
struct api_method {
	const char *path; /* "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution" */
	size_t path_len;
	const char *service; /* "temporal.api.workflowservice.v1.WorkflowService" */
	const char *name;    /* "StartWorkflowExecution" */
	const ProtobufCMessageDescriptor *request;
	const ProtobufCMessageDescriptor *response;
	const struct api_http_route *routes; /* additional bindings included; NULL if there are none */
	size_t n_routes;
	bool client_streaming;
	bool server_streaming;
};

/* A message type by its full name, for google.protobuf.Any and JSON. Nested types are in it. */
struct api_message {
	const char *name; /* "temporal.api.common.v1.Payload" */
	const ProtobufCMessageDescriptor *descriptor;
};

/* A file of the descriptor set, for gRPC reflection. */
struct api_file {
	const char *name;    /* "temporal/api/common/v1/message.proto" */
	const uint8_t *data; /* serialized FileDescriptorProto */
	size_t len;
	const uint16_t *imports; /* indexes into api_files; a file's imports come before it */
	size_t n_imports;
};

/* A full name (message, field, enum, enum value, service, method, extension) and the file it is in. */
struct api_symbol {
	const char *name;
	uint16_t file; /* index into api_files */
};

/* An extension field, by the message that it extends. */
struct api_extension {
	const char *extendee; /* "google.protobuf.MethodOptions" */
	uint32_t number;
	uint16_t file; /* index into api_files */
};

extern const struct api_method api_methods[API_METHOD_COUNT]; /* sorted by path; indexed by api_method_id */
extern const struct api_http_route api_http_routes[];	      /* all routes, grouped by method */
extern const size_t api_http_routes_n;
extern const struct api_message api_messages[]; /* sorted by name */
extern const size_t api_messages_n;
extern const struct api_file api_files[];
extern const size_t api_files_n;
extern const struct api_symbol api_symbols[]; /* sorted by name */
extern const size_t api_symbols_n;
extern const struct api_extension api_extensions[]; /* sorted by extendee, then number */
extern const size_t api_extensions_n;
extern const char *const api_services[]; /* full names, sorted */
extern const size_t api_services_n;

/* The method with this gRPC path (not necessarily NUL-terminated), or NULL. */
const struct api_method *api_method_by_path(const char *path, size_t len);

/* The method of a service, which is given by its full name or its last part ("WorkflowService"), or NULL. */
const struct api_method *api_method_by_name(const char *service, const char *name);

/* The place of a method in api_methods. */
enum api_method_id api_method_id_of(const struct api_method *method);

/* The message type with this full name (not necessarily NUL-terminated), or NULL. */
const ProtobufCMessageDescriptor *api_message_by_name(const char *name, size_t len);

/* The descriptor file with this name, the one that defines a symbol, and the one that defines an extension
 * of a message; NULL when there is none. */
const struct api_file *api_file_by_name(const char *name);
const struct api_file *api_file_by_symbol(const char *symbol);
const struct api_file *api_file_by_extension(const char *extendee, uint32_t number);

#endif
