/*
 * Reading results in PostgreSQL's binary format.
 */
#include <endian.h>

#include "common/pg/pg.h"

size_t pg_row_count(const PGresult *r)
{
	return (size_t)PQntuples(r);
}

bool pg_null(const PGresult *r, size_t row, int col)
{
	return PQgetisnull(r, (int)row, col);
}

/* NULL unless the value has just that length. */
static const char *value_of(const PGresult *r, size_t row, int col, int len)
{
	return PQgetlength(r, (int)row, col) == len ? PQgetvalue(r, (int)row, col) : NULL;
}

int32_t pg_int4(const PGresult *r, size_t row, int col)
{
	uint32_t v = 0;
	const char *p = value_of(r, row, col, sizeof v);
	if (p)
		memcpy(&v, p, sizeof v);
	return (int32_t)be32toh(v);
}

int64_t pg_int8(const PGresult *r, size_t row, int col)
{
	uint64_t v = 0;
	const char *p = value_of(r, row, col, sizeof v);
	if (p)
		memcpy(&v, p, sizeof v);
	return (int64_t)be64toh(v);
}

bool pg_bool(const PGresult *r, size_t row, int col)
{
	const char *p = value_of(r, row, col, 1);
	return p && *p;
}

const char *pg_text(const PGresult *r, size_t row, int col)
{
	return pg_null(r, row, col) ? NULL : PQgetvalue(r, (int)row, col);
}

struct bytes pg_bytes(const PGresult *r, size_t row, int col)
{
	return bytes_of(PQgetvalue(r, (int)row, col), (size_t)PQgetlength(r, (int)row, col));
}
