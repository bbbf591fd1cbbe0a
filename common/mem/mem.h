/*
 * malloc that cannot fail: the one place where running out of memory ends the process.
 */
#ifndef COMMON_MEM_MEM_H
#define COMMON_MEM_MEM_H

#include "common/base/base.h"

/* Zeroed; never NULL (also for size 0). Freed with free(). */
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
/* NULL copies as "". */
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
void *mem_dup(const void *p, size_t size) __attribute__((malloc, returns_nonnull));

/* Gives pages that hold nothing any more back to the system; for after much was freed at once. Costs milliseconds. */
void mem_trim(void);

#define new0(type) ((type *)mem_zalloc(sizeof(type)))

#endif
