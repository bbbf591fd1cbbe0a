/* Look-ups in the generated tables of the public API. */
#include "proto/api_methods.h"

#include <assert.h>
#include <string.h>

/* Compares a key of known length with a NUL-terminated name, in byte order. */
static int compare_key(const char *key, size_t len, const char *name)
{
	size_t name_len = strlen(name);
	int order = memcmp(key, name, len < name_len ? len : name_len);
	if (order != 0)
		return order;
	return (len > name_len) - (len < name_len);
}

/* Finds a key in a table of n rows of 'size' bytes, sorted by the string that each row begins with. */
static const void *find_row(const void *table, size_t n, size_t size, const char *key, size_t len)
{
	size_t low = 0;
	size_t high = n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *row = (const char *)table + middle * size;
		const char *name;
		memcpy(&name, row, sizeof name);
		int order = compare_key(key, len, name);
		if (order == 0)
			return row;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

_Static_assert(offsetof(struct api_method, path) == 0, "find_row looks at the first member");
_Static_assert(offsetof(struct api_message, name) == 0, "find_row looks at the first member");
_Static_assert(offsetof(struct api_symbol, name) == 0, "find_row looks at the first member");

const struct api_method *api_method_by_path(const char *path, size_t len)
{
	return find_row(api_methods, API_METHOD_COUNT, sizeof api_methods[0], path, len);
}

const struct api_method *api_method_by_name(const char *service, const char *name)
{
	for (size_t i = 0; i < API_METHOD_COUNT; i++) {
		const struct api_method *method = &api_methods[i];
		const char *last_part = strrchr(method->service, '.') + 1;
		if (strcmp(method->name, name) != 0)
			continue;
		if (strcmp(last_part, service) == 0 || strcmp(method->service, service) == 0)
			return method;
	}
	return NULL;
}

enum api_method_id api_method_id_of(const struct api_method *method)
{
	assert(method >= api_methods && method < api_methods + API_METHOD_COUNT);
	return (enum api_method_id)(method - api_methods);
}

const ProtobufCMessageDescriptor *api_message_by_name(const char *name, size_t len)
{
	const struct api_message *row = find_row(api_messages, api_messages_n, sizeof api_messages[0], name, len);
	return row ? row->descriptor : NULL;
}

const struct api_file *api_file_by_name(const char *name)
{
	for (size_t i = 0; i < api_files_n; i++)
		if (strcmp(api_files[i].name, name) == 0)
			return &api_files[i];
	return NULL;
}

const struct api_file *api_file_by_symbol(const char *symbol)
{
	const struct api_symbol *row =
		find_row(api_symbols, api_symbols_n, sizeof api_symbols[0], symbol, strlen(symbol));
	return row ? &api_files[row->file] : NULL;
}

const struct api_file *api_file_by_extension(const char *extendee, uint32_t number)
{
	for (size_t i = 0; i < api_extensions_n; i++) {
		const struct api_extension *extension = &api_extensions[i];
		if (extension->number == number && strcmp(extension->extendee, extendee) == 0)
			return &api_files[extension->file];
	}
	return NULL;
}
