/*
 * Zones by name, from the system's folder.
 */
#include "common/tz/tz_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/mem/mem.h"

#define SYSTEM_DIR     "/usr/share/zoneinfo"
#define FILE_BYTES_MAX (256 * 1024)
#define NAME_BYTES_MAX 128
/* There are some 600; names come from clients, so what is not there is not remembered. */
#define ZONES_MAX 2000

struct entry {
	UT_hash_handle hh;
	struct tz *zone;
	char name[NAME_BYTES_MAX];
};

struct tz_db {
	char *dir;
	struct entry *entries;
};

struct tz_db *tz_db_new(const char *dir)
{
	struct tz_db *db = new0(struct tz_db);
	db->dir = mem_strdup(dir ? dir : SYSTEM_DIR);
	return db;
}

void tz_db_free(struct tz_db *db)
{
	if (!db)
		return;
	struct entry *e, *next;
	HASH_ITER (hh, db->entries, e, next) {
		HASH_DEL(db->entries, e);
		tz_free(e->zone);
		free(e);
	}
	free(db->dir);
	free(db);
}

/* Letters, digits, and what else zones' names are made of: never out of the folder. */
static bool is_name(const char *name)
{
	size_t len = strlen(name);
	if (len == 0 || len >= NAME_BYTES_MAX || *name == '/' || strstr(name, ".."))
		return false;
	return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-/.") == len;
}

static struct tz *load(const struct tz_db *db, const char *name)
{
	struct buf path = {0};
	buf_printf(&path, "%s/%s", db->dir, name);
	buf_put(&path, "", 1);
	FILE *f = fopen((const char *)path.data, "rb");
	buf_done(&path);
	if (!f)
		return NULL;
	struct buf content = {0};
	size_t n = fread(buf_reserve(&content, FILE_BYTES_MAX), 1, FILE_BYTES_MAX, f);
	content.len = n;
	fclose(f);
	struct tz *z = tz_parse(buf_view(&content));
	buf_done(&content);
	return z;
}

bool tz_db_find(struct tz_db *db, const char *name, const struct tz **ret)
{
	*ret = NULL;
	if (str_eq(name, "UTC"))
		return true;
	if (!is_name(name))
		return false;
	struct entry *e = NULL;
	HASH_FIND_STR(db->entries, name, e);
	if (!e && HASH_COUNT(db->entries) < ZONES_MAX) {
		struct tz *zone = load(db, name);
		if (!zone)
			return false;
		e = new0(struct entry);
		e->zone = zone;
		memcpy(e->name, name, strlen(name) + 1);
		HASH_ADD_STR(db->entries, name, e);
	}
	*ret = e ? e->zone : NULL;
	return e != NULL;
}
