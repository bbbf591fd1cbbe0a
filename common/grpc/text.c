/*
 * The small text codecs of gRPC over HTTP/2.
 */
#include "common/grpc/text.h"

#define TIMEOUT_DIGITS_MAX 8

static int64_t unit_ns(uint8_t unit)
{
	switch (unit) {
	case 'H':
		return 3600 * NS_PER_S;
	case 'M':
		return 60 * NS_PER_S;
	case 'S':
		return NS_PER_S;
	case 'm':
		return NS_PER_MS;
	case 'u':
		return NS_PER_US;
	case 'n':
		return 1;
	default:
		return 0;
	}
}

bool grpc_timeout_parse(struct bytes text, int64_t *ret_ns)
{
	if (text.len < 2 || text.len > TIMEOUT_DIGITS_MAX + 1)
		return false;
	int64_t unit = unit_ns(text.data[text.len - 1]);
	if (!unit)
		return false;
	int64_t n = 0;
	for (size_t i = 0; i + 1 < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		n = n * 10 + (text.data[i] - '0');
	}
	*ret_ns = n > INT64_MAX / unit ? INT64_MAX : n * unit;
	return true;
}

void grpc_percent_encode(struct buf *out, struct bytes message)
{
	static const char hex[] = "0123456789ABCDEF";
	uint8_t *to = buf_reserve(out, message.len * 3);
	size_t n = 0;
	for (size_t i = 0; i < message.len; i++) {
		uint8_t c = message.data[i];
		if (c >= ' ' && c <= '~' && c != '%') {
			to[n++] = c;
			continue;
		}
		to[n++] = '%';
		to[n++] = (uint8_t)hex[c >> 4];
		to[n++] = (uint8_t)hex[c & 15];
	}
	out->len += n;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void grpc_base64_encode(struct buf *out, struct bytes data)
{
	uint8_t *to = buf_reserve(out, data.len / 3 * 4 + 4);
	size_t n = 0;
	for (size_t i = 0; i < data.len; i += 3) {
		size_t have = data.len - i < 3 ? data.len - i : 3;
		uint32_t v = (uint32_t)data.data[i] << 16;
		if (have > 1)
			v |= (uint32_t)data.data[i + 1] << 8;
		if (have > 2)
			v |= data.data[i + 2];
		for (size_t digit = 0; digit <= have; digit++)
			to[n++] = (uint8_t)base64_digits[v >> (18 - 6 * digit) & 63];
	}
	out->len += n;
}

bool grpc_base64_decode(struct buf *out, struct bytes text)
{
	while (text.len > 0 && text.data[text.len - 1] == '=')
		text.len--;
	if (text.len % 4 == 1)
		return false;
	uint32_t v = 0;
	int bits = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *digit = text.data[i] ? strchr(base64_digits, text.data[i]) : NULL;
		if (!digit)
			return false;
		v = v << 6 | (uint32_t)(digit - base64_digits);
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		uint8_t byte = (uint8_t)(v >> bits);
		buf_put(out, &byte, 1);
	}
	return true;
}

void grpc_status_encode(struct buf *out, struct err e)
{
	static const char prefix[] = "type.googleapis.com/";
	struct buf any = {0}, url = {0};
	buf_put(&url, prefix, sizeof prefix - 1);
	buf_put_bytes(&url, bytes_str(e.detail_type));
	buf_put_field(&any, 1, buf_view(&url));
	if (e.detail.len)
		buf_put_field(&any, 2, e.detail);
	buf_put_varint(out, 1 << 3); /* code, a varint */
	buf_put_varint(out, (uint64_t)e.code);
	if (!str_empty(e.message))
		buf_put_field(out, 2, bytes_str(e.message));
	buf_put_field(out, 3, buf_view(&any));
	buf_done(&any);
	buf_done(&url);
}

bool grpc_content_type_ok(struct bytes value)
{
	static const char type[] = "application/grpc";
	const size_t len = sizeof type - 1;
	if (value.len < len || memcmp(value.data, type, len) != 0)
		return false;
	return value.len == len || value.data[len] == '+' || value.data[len] == ';';
}

bool grpc_encoding_listed(struct bytes list, const char *coding)
{
	const struct bytes want = bytes_str(coding);
	size_t i = 0;
	while (i < list.len) {
		while (i < list.len && (list.data[i] == ' ' || list.data[i] == ','))
			i++;
		size_t start = i;
		while (i < list.len && list.data[i] != ',' && list.data[i] != ' ')
			i++;
		if (bytes_eq(bytes_of(list.data + start, i - start), want))
			return true;
	}
	return false;
}

bool grpc_path_split(const char *path, struct bytes *ret_service, struct bytes *ret_method)
{
	const char *last = strrchr(path, '/');
	if (path[0] != '/' || last == path)
		return false;
	*ret_service = bytes_of(path + 1, (size_t)(last - path) - 1);
	*ret_method = bytes_str(last + 1);
	return true;
}
