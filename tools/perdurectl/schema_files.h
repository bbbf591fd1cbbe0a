/*
 * The files of deploy/schema, built into the program: what it migrates to needs nothing beside it.
 */
#ifndef TOOLS_PERDURECTL_SCHEMA_FILES_H
#define TOOLS_PERDURECTL_SCHEMA_FILES_H

#include <stddef.h>

struct schema_file {
	int version;	 /* 1, 2, … without gaps */
	int serves_from; /* the oldest program that may work on what it makes; see common/store/schema.h */
	const char *name;
	const char *sha256;
	const char *sql;
};

extern const struct schema_file schema_files[];
extern const size_t schema_file_count;

#endif
