/*
 * The database schema that this source tree knows: the number of the last file in deploy/schema.
 */
#ifndef COMMON_STORE_SCHEMA_H
#define COMMON_STORE_SCHEMA_H

#define STORE_SCHEMA_VERSION 6

#endif
