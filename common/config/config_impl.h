/*
 * The struct behind common/config; shared by this folder's files only.
 */
#ifndef COMMON_CONFIG_CONFIG_IMPL_H
#define COMMON_CONFIG_CONFIG_IMPL_H

#include "common/base/bytes.h"
#include "common/config/config.h"

#define SETTINGS_MAX 512

struct config {
	struct settings values; /* in force */
	struct arena *arena;
	uint8_t source[SETTINGS_MAX]; /* enum setting_source, by row */

	/* cluster.c: what was there before the cluster's values came on top, and those. */
	bool overlaid;
	struct settings own;
	uint8_t own_source[SETTINGS_MAX];
	struct config_cluster_value from[SETTINGS_MAX]; /* by row; name NULL: none */
	struct arena *cluster_arena;
	struct buf cluster_rows; /* as they came: the same again is no news */
};

size_t config_row_of(const struct setting *s);
/* Bounds between settings, files that go together. */
must_check struct err config_check_values(const struct settings *v, struct arena *errors);
struct err config_unknown(const char *where, const char *name, struct arena *errors);
/* cluster.c */
void config_cluster_done(struct config *c);

#endif
