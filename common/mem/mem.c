/*
 * Allocation that aborts on failure.
 */
#include "common/mem/mem.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static void *checked(void *p, size_t size)
{
	if (!p) {
		fprintf(stderr,
			"out of memory allocating %zu bytes; give the process more memory or lower its cache limits\n",
			size);
		abort();
	}
	return p;
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size ? size : 1), size);
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size ? size : 1), size);
}

void *mem_realloc(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1), size);
}

char *mem_strdup(const char *s)
{
	return checked(strdup(s ? s : ""), s ? strlen(s) + 1 : 1);
}

void *mem_dup(const void *p, size_t size)
{
	void *copy = mem_alloc(size);
	if (size)
		memcpy(copy, p, size);
	return copy;
}

void mem_trim(void)
{
	malloc_trim(0);
}
