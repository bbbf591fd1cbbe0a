/*
 * Building ops: statements and their parameters in PostgreSQL's binary format.
 */
#include <endian.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/pg/pg_impl.h"

#define OP_ARENA_LIMIT ((size_t)1 << 40) /* only our own small things: bytes and arrays are elsewhere */

struct pg_op *pg_op_new(void)
{
	struct arena *a = arena_new(OP_ARENA_LIMIT);
	struct pg_op *op = arena_new0(a, struct pg_op);
	op->arena = a;
	return op;
}

void pg_op_free(struct pg_op *op)
{
	if (!op)
		return;
	for (struct pg_array *a = op->arrays; a; a = a->next)
		buf_done(&a->data);
	for (size_t i = 0; i < op->answered; i++)
		PQclear((PGresult *)op->results[i]);
	arena_free(op->arena);
}

struct arena *pg_op_arena(struct pg_op *op)
{
	return op->arena;
}

static void add(struct pg_op *op, const struct pg_stmt *stmt, const char *sql)
{
	struct pg_query *q = arena_new0(op->arena, struct pg_query);
	q->stmt = stmt;
	q->sql = sql;
	if (op->last)
		op->last->next = q;
	else
		op->queries = q;
	op->last = q;
	op->query_count++;
}

void pg_op_add(struct pg_op *op, const struct pg_stmt *stmt)
{
	add(op, stmt, NULL);
}

void pg_op_add_text(struct pg_op *op, const char *sql)
{
	add(op, NULL, arena_strdup(op->arena, sql));
}

void pg_op_writes(struct pg_op *op)
{
	op->writes = true;
}

void pg_op_now(struct pg_op *op)
{
	op->now = true;
}

/* ------------------------------------------------------------------ parameters */

static void param(struct pg_op *op, Oid type, const void *value, size_t len)
{
	struct pg_query *q = op->last;
	assert(q && q->param_count < PG_PARAMS_MAX);
	int i = q->param_count++;
	q->types[i] = type;
	q->values[i] = value;
	q->lengths[i] = (int)len;
	q->formats[i] = 1;
}

void pg_op_int4(struct pg_op *op, int32_t v)
{
	uint32_t be = htobe32((uint32_t)v);
	param(op, PG_INT4, arena_copy(op->arena, bytes_of(&be, sizeof be)).data, sizeof be);
}

void pg_op_int8(struct pg_op *op, int64_t v)
{
	uint64_t be = htobe64((uint64_t)v);
	param(op, PG_INT8, arena_copy(op->arena, bytes_of(&be, sizeof be)).data, sizeof be);
}

void pg_op_bool(struct pg_op *op, bool v)
{
	param(op, PG_BOOL, v ? "\1" : "\0", 1);
}

void pg_op_text(struct pg_op *op, const char *v)
{
	param(op, PG_TEXT, v ? arena_strdup(op->arena, v) : NULL, v ? strlen(v) : 0);
}

void pg_op_bytes(struct pg_op *op, struct bytes v)
{
	param(op, PG_BYTES, v.len ? (const void *)v.data : "", v.len);
}

/* ------------------------------------------------------------------ arrays */

static Oid array_type(enum pg_type element)
{
	switch (element) {
	case PG_BOOL:
		return 1000;
	case PG_BYTES:
		return 1001;
	case PG_INT4:
		return 1007;
	case PG_INT8:
		return 1016;
	case PG_TEXT:
		return 1009;
	}
	assert(!"an array of an unknown type");
	return 0;
}

static void put32(struct buf *b, uint32_t v)
{
	uint32_t be = htobe32(v);
	buf_put(b, &be, sizeof be);
}

/* Header: dimensions, has nulls, element type, then (length, lower bound) of the one dimension. */
struct pg_array *pg_op_array(struct pg_op *op, enum pg_type type, size_t count)
{
	param(op, array_type(type), NULL, 0);
	struct pg_array *a = arena_new0(op->arena, struct pg_array);
	a->query = op->last;
	a->param = op->last->param_count - 1;
	a->left = count;
	a->next = op->arrays;
	op->arrays = a;
	put32(&a->data, count ? 1 : 0);
	put32(&a->data, 0);
	put32(&a->data, (uint32_t)type);
	if (count) {
		put32(&a->data, (uint32_t)count);
		put32(&a->data, 1);
	}
	return a;
}

static void element(struct pg_array *a, const void *value, size_t len)
{
	assert(a->left > 0);
	a->left--;
	put32(&a->data, (uint32_t)len);
	if (len)
		buf_put(&a->data, value, len);
}

void pg_array_int4(struct pg_array *a, int32_t v)
{
	uint32_t be = htobe32((uint32_t)v);
	element(a, &be, sizeof be);
}

void pg_array_int8(struct pg_array *a, int64_t v)
{
	uint64_t be = htobe64((uint64_t)v);
	element(a, &be, sizeof be);
}

void pg_array_bool(struct pg_array *a, bool v)
{
	element(a, v ? "\1" : "\0", 1);
}

void pg_array_text(struct pg_array *a, const char *v)
{
	element(a, v ? v : "", v ? strlen(v) : 0);
}

void pg_array_bytes(struct pg_array *a, struct bytes v)
{
	element(a, v.data, v.len);
}

void pg_op_seal(struct pg_op *op)
{
	for (struct pg_array *a = op->arrays; a; a = a->next) {
		assert(a->left == 0);
		a->query->values[a->param] = (const char *)a->data.data;
		a->query->lengths[a->param] = (int)a->data.len;
	}
}
