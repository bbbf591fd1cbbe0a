/*
 * perdurectl shard list, shard show: who owns the shards, and how far their journals are folded.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tools/perdurectl/ctl.h"

static const char shards_sql[] =
	"SELECT s.shard_id, s.epoch, coalesce(s.owner_node_id, ''), p.checkpoint_seq, coalesce(j.last, "
	"p.checkpoint_seq), "
	"coalesce(j.rows, 0), coalesce(j.bytes, 0), coalesce(n.draining, false), "
	"CASE WHEN s.owner_node_id IS NULL THEN 'free' WHEN n.node_id IS NULL THEN 'owner gone' "
	"WHEN n.dead OR n.renewed_at < now() - interval '10 s' THEN 'owner dead' WHEN n.draining OR "
	"EXISTS (SELECT FROM node_drain d WHERE d.node_id = n.node_id) THEN 'leaving' "
	"ELSE 'owned' END, coalesce(k.node_id, ''), coalesce(k.set_by, '') FROM shard s JOIN shard_checkpoint p USING "
	"(shard_id) "
	"LEFT JOIN shard_pin k USING (shard_id) LEFT JOIN node n ON n.node_id = s.owner_node_id AND n.incarnation = "
	"s.owner_incarnation "
	"LEFT JOIN LATERAL (SELECT max(seq) AS last, count(*) AS rows, sum(octet_length(record)) AS bytes FROM journal "
	"j "
	"WHERE j.shard_id = s.shard_id) j ON true WHERE $1::integer IS NULL OR s.shard_id = $1 ORDER BY s.shard_id";

enum { COLUMNS = 9 };

static json_t *row_json(const PGresult *r, int i)
{
	long long last = atoll(PQgetvalue(r, i, 4)), checkpoint = atoll(PQgetvalue(r, i, 3));
	return json_pack("{s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "shard", atoi(PQgetvalue(r, i, 0)),
			 "state", PQgetvalue(r, i, 8), "owner", PQgetvalue(r, i, 2), "epoch",
			 (json_int_t)atoll(PQgetvalue(r, i, 1)), "checkpoint_seq", (json_int_t)checkpoint, "last_seq",
			 (json_int_t)last, "lag", (json_int_t)(last - checkpoint), "journal_rows",
			 (json_int_t)atoll(PQgetvalue(r, i, 5)), "journal_bytes",
			 (json_int_t)atoll(PQgetvalue(r, i, 6)), "pinned_to", PQgetvalue(r, i, 9), "pinned_by",
			 PQgetvalue(r, i, 10));
}

static void print(struct ctl *c, const PGresult *r)
{
	static const char *const heading[COLUMNS] = {"SHARD",	 "STATE", "OWNER",	  "PINNED TO", "EPOCH",
						     "LAST SEQ", "LAG",	  "JOURNAL ROWS", "BYTES"};
	static const int column[COLUMNS] = {0, 8, 2, 9, 1, 4, -1, 5, 6};
	int count = PQntuples(r);
	const char **cells = arena_array(c->arena, const char *, (size_t)(count + 1) * COLUMNS);
	memcpy(cells, heading, sizeof heading);
	for (int i = 0; i < count; i++)
		for (int k = 0; k < COLUMNS; k++)
			cells[(i + 1) * COLUMNS + k] =
				column[k] >= 0 ? PQgetvalue(r, i, column[k])
					       : arena_printf(c->arena, "%lld",
							      atoll(PQgetvalue(r, i, 4)) - atoll(PQgetvalue(r, i, 3)));
	ctl_print_table(cells, (size_t)count + 1, COLUMNS);
}

struct err ctl_shard_number(struct ctl *c, const char *text, const char **ret)
{
	char *end;
	long number = strtol(text, &end, 10);
	if (end == text || *end || number < 0 || number > INT32_MAX)
		return err_make(c->arena, ERR_INVALID_ARGUMENT, "%s is no number of a shard", text);
	*ret = arena_printf(c->arena, "%ld", number);
	return err_ok;
}

static struct err show(struct ctl *c, const char *shard)
{
	PGresult *r;
	if (shard)
		try(ctl_shard_number(c, shard, &shard));
	try(db_require_schema(c));
	try(db_query(c, shards_sql, &shard, 1, &r));
	struct err e = err_ok;
	if (shard && !PQntuples(r))
		e = err_make(c->arena, ERR_NOT_FOUND, "there is no shard %s: 'perdurectl shard list' has them all",
			     shard);
	if (!err_is(e)) {
		json_t *list = json_array();
		for (int i = 0; i < PQntuples(r); i++)
			json_array_append_new(list, row_json(r, i));
		if (!c->json)
			print(c, r);
		if (shard) {
			ctl_print_json(c, json_incref(json_array_get(list, 0)));
			json_decref(list);
		} else {
			ctl_print_json(c, list);
		}
	}
	PQclear(r);
	return e;
}

static struct err run_list(struct ctl *c, const char *const *values)
{
	(void)values;
	return show(c, NULL);
}

static struct err run_show(struct ctl *c, const char *const *values)
{
	(void)values;
	return show(c, c->args[0]);
}

const struct ctl_command ctl_shard_list = {
	.path = "shard list",
	.summary = "Every shard: owner, epoch, and how far its journal is folded",
	.details = "States: owned; leaving (its owner drains); owner dead, owner gone (others are about to claim it); "
		   "free (on its\nway to a new owner). LAG: the journal's numbers that are not folded into rows yet.",
	.examples = "perdurectl shard list\nperdurectl --json shard list | jq 'map(.lag) | max'",
	.run = run_list,
};

const struct ctl_command ctl_shard_show = {
	.path = "shard show",
	.arguments = "SHARD",
	.args_min = 1,
	.args_max = 1,
	.summary = "One shard",
	.examples = "perdurectl shard show 17",
	.run = run_show,
};
