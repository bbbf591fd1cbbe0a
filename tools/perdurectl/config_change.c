/*
 * perdurectl config set, unset, history: settings for the whole cluster, while it runs.
 *
 * The value is checked here (name, bounds) and by every live daemon (what else is in force there), written together
 * with the line of its history, announced, and waited for until each daemon says that it has it.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "common/config/value.h"
#include "tools/perdurectl/config.h"

#define WAIT_MAX_S 10
#define POLL_MS	   100

/* Settings that hurt what is there when they are lowered, and how. */
static const struct {
	const char *name, *what;
} dangers[] = {
	{"limits.history_events", "runs whose history is longer are terminated, which can't be undone"},
	{"limits.history_bytes", "runs whose history is larger are terminated, which can't be undone"},
	{"limits.payload_bytes", "larger payloads of workflows that run now are refused or fail them"},
	{"limits.memo_bytes", "larger memos of workflows that run now are refused or fail them"},
	{"limits.id_bytes", "longer ids are refused, also in answers about what exists"},
	{"limits.pending_activities", "workflows that have more pending activities fail their workflow tasks"},
	{"limits.signals_per_run", "runs that took more signals take none any more"},
	{"namespaces.default_retention", "closed runs of namespaces that say nothing are deleted sooner, for good"},
};

struct change {
	struct ctl *c;
	const struct setting *s;
	const char *name;
	const char *value; /* NULL: unset */
	struct ctl_node *nodes;
	size_t count;	  /* live ones */
	bool lowered;	  /* below what a daemon has now */
	size_t uncertain; /* daemons that don't answer, or don't know it */
};

static const char *who(void)
{
	const char *name = getenv("SUDO_USER");
	const struct passwd *p = str_empty(name) ? getpwuid(geteuid()) : NULL;
	return !str_empty(name) ? name : p ? p->pw_name : "unknown";
}

/* ------------------------------------------------------------------ before */

/* The value as files would have it; its bounds are checked. *ret_number: 0 for texts. */
static struct err parse(struct ctl *c, const struct setting *s, const char *text, const char **ret, int64_t *ret_number)
{
	struct settings v;
	settings_init(&v, c->arena);
	struct err e = value_set(s, text, &v, c->arena);
	if (err_is(e))
		return err_make(c->arena, e.code, "%s: %s", s->name, e.message);
	*ret = value_yaml(s, &v, c->arena);
	bool number = s->type == SETTING_TYPE_INT || s->type == SETTING_TYPE_BYTES || s->type == SETTING_TYPE_DURATION;
	*ret_number = number ? *(const int64_t *)((const char *)&v + s->offset) : 0;
	return err_ok;
}

static struct err find(struct ctl *c, const char *name, const struct setting **ret)
{
	*ret = config_find(name);
	if (!*ret)
		return err_make(c->arena, ERR_NOT_FOUND,
				"there is no setting %s; 'perdurectl config show --all' lists them", name);
	if (!(*ret)->live)
		return err_make(c->arena, ERR_FAILED_PRECONDITION,
				"%s is read when a daemon starts: put it into the file and restart, one daemon after "
				"the other",
				name);
	return err_ok;
}

static struct err live_nodes(struct change *g)
{
	struct ctl_node *all;
	size_t count;
	try(ctl_nodes(g->c, NULL, &all, &count));
	g->nodes = arena_array(g->c->arena, struct ctl_node, count + 1);
	for (size_t i = 0; i < count; i++)
		if (!all[i].dead)
			g->nodes[g->count++] = all[i];
	return err_ok;
}

/* What a daemon says of the setting; a new reference, NULL when it doesn't answer or know it. */
static json_t *ask(struct ctl *c, const struct ctl_node *n, const char *name, struct err *ret_err)
{
	json_t *v;
	*ret_err = ctl_http_json(c, n->http_address,
				 arena_printf(c->arena, "/admin/config?name=%s", ctl_escape(c, name)), &v);
	if (err_is(*ret_err))
		return NULL;
	json_t *list = json_object_get(v, "settings"), *s, *found = NULL;
	size_t i;
	json_array_foreach(list, i, s) /* an older one answers with all */
	{
		if (str_eq(config_text(s, "name"), name))
			found = json_incref(s);
	}
	json_decref(v);
	return found;
}

static void note_lowered(struct change *g, const struct ctl_node *n, int64_t to)
{
	struct err e;
	const char *text;
	int64_t now = 0, own = 0;
	json_t *s = ask(g->c, n, g->name, &e);
	if (!s)
		return;
	bool parsed = !err_is(parse(g->c, g->s, config_text(s, "value"), &text, &now));
	if (!g->value) /* back to its own */
		to = !err_is(parse(g->c, g->s, config_text(s, json_object_get(s, "own") ? "own" : "value"), &text,
				   &own))
			     ? own
			     : now;
	g->lowered = g->lowered || (parsed && to < now);
	json_decref(s);
}

/* Whether the daemon would take it. */
static struct err try_on(struct change *g, const struct ctl_node *n)
{
	struct ctl *c = g->c;
	json_t *v;
	const char *path = arena_printf(c->arena, "/admin/config/try?name=%s%s%s", ctl_escape(c, g->name),
					g->value ? "&value=" : "", g->value ? ctl_escape(c, g->value) : "");
	struct err e = ctl_http_json(c, n->http_address, path, &v);
	if (err_is(e)) {
		fprintf(stderr, "perdurectl: %s can't be asked: %s\n", n->node_id, e.message);
		g->uncertain++;
		return err_ok;
	}
	if (!json_is_true(json_object_get(v, "known"))) {
		fprintf(stderr, "perdurectl: %s is of a version that doesn't have %s\n", n->node_id, g->name);
		g->uncertain++;
	} else if (!json_is_true(json_object_get(v, "accepted"))) {
		e = err_make(c->arena, ERR_FAILED_PRECONDITION, "%s refuses: %s", n->node_id, config_text(v, "why"));
	}
	json_decref(v);
	return e;
}

static struct err check(struct change *g, int64_t number)
{
	for (size_t i = 0; i < g->count; i++) {
		try(try_on(g, &g->nodes[i]));
		note_lowered(g, &g->nodes[i], number);
	}
	return err_ok;
}

static struct err confirm(struct change *g, const char *yes)
{
	struct arena *a = g->c->arena;
	for (size_t i = 0; g->lowered && i < array_len(dangers); i++)
		if (str_eq(dangers[i].name, g->name))
			try(ctl_confirm(g->c, yes, arena_printf(a, "This lowers %s: %s", g->name, dangers[i].what)));
	if (g->uncertain)
		try(ctl_confirm(
			g->c, yes,
			arena_printf(a, "%zu of %zu daemons can't tell whether they take it", g->uncertain, g->count)));
	return err_ok;
}

/* ------------------------------------------------------------------ writing, waiting */

#define NOW_NS "(extract(epoch FROM clock_timestamp()) * 1e9)::bigint"

static struct err write_value(struct change *g, const char *why, bool *ret_done)
{
	static const char set[] =
		"WITH old AS (SELECT value FROM cluster_setting WHERE scope = '' AND name = $1), "
		"put AS (INSERT INTO cluster_setting (name, value, changed_ns, changed_by) VALUES ($1, $2, " NOW_NS
		", $3) ON CONFLICT (scope, name) DO UPDATE SET value = excluded.value, changed_ns = "
		"excluded.changed_ns, changed_by = excluded.changed_by RETURNING changed_ns), "
		"noted AS (INSERT INTO cluster_setting_change (name, old_value, new_value, changed_ns, changed_by, "
		"why) "
		"SELECT $1, (SELECT value FROM old), $2, changed_ns, $3, $4 FROM put) "
		"SELECT pg_notify('perdure', 'settings') FROM put";
	static const char unset[] =
		"WITH gone AS (DELETE FROM cluster_setting WHERE scope = '' AND name = $1 AND $2::text IS NULL "
		"RETURNING value), "
		"noted AS (INSERT INTO cluster_setting_change (name, old_value, new_value, changed_ns, changed_by, "
		"why) "
		"SELECT $1, value, NULL, " NOW_NS ", $3, $4 FROM gone) "
		"SELECT pg_notify('perdure', 'settings') FROM gone";
	const char *params[] = {g->name, g->value, who(), why ? why : ""};
	PGresult *r;
	try(db_query(g->c, g->value ? set : unset, params, array_len(params), &r));
	*ret_done = PQntuples(r) > 0;
	PQclear(r);
	return err_ok;
}

static void pause_ms(long ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

static bool has_it(const struct change *g, const json_t *s)
{
	bool from_cluster = str_eq(config_text(s, "source"), "cluster");
	return g->value ? from_cluster && str_eq(config_text(s, "value"), g->value) : !from_cluster;
}

/* Until every daemon has it, or time is up; the last answers, one object a node. */
static json_t *wait_for_all(struct change *g, bool *ret_all)
{
	json_t *answers = NULL;
	for (int waited = 0; waited <= WAIT_MAX_S * 1000; waited += POLL_MS) {
		size_t have = 0;
		json_decref(answers);
		answers = json_array();
		for (size_t i = 0; i < g->count; i++) {
			struct err e;
			json_t *s = ask(g->c, &g->nodes[i], g->name, &e);
			bool has = s && has_it(g, s);
			const char *value = s ? config_text(s, "value") : err_is(e) ? "(no answer)" : "(unknown)";
			json_array_append_new(answers, json_pack("{s:s, s:s, s:s, s:b}", "node_id", g->nodes[i].node_id,
								 "value", value, "source",
								 s ? config_text(s, "source") : "", "has_it", has));
			have += has;
			json_decref(s);
		}
		*ret_all = have == g->count;
		if (*ret_all)
			break;
		pause_ms(POLL_MS);
	}
	return answers;
}

static void print_answers(struct ctl *c, json_t *answers)
{
	enum { COLUMNS = 4 };
	static const char *const heading[COLUMNS] = {"NODE", "VALUE", "FROM", "DONE"};
	const char **cells = arena_array(c->arena, const char *, (json_array_size(answers) + 1) * COLUMNS);
	memcpy(cells, heading, sizeof heading);
	size_t i;
	json_t *v;
	json_array_foreach(answers, i, v)
	{
		const char **row = cells + (i + 1) * COLUMNS;
		row[0] = config_text(v, "node_id");
		row[1] = config_text(v, "value");
		row[2] = config_text(v, "source");
		row[3] = json_is_true(json_object_get(v, "has_it")) ? "yes" : "NO";
	}
	ctl_print_table(cells, json_array_size(answers) + 1, COLUMNS);
}

static struct err finish(struct change *g)
{
	struct ctl *c = g->c;
	bool all = true;
	json_t *answers = wait_for_all(g, &all);
	if (!all)
		c->exit = CTL_EXIT_DIFFERS;
	if (!c->json && g->count)
		print_answers(c, answers);
	else if (!c->json)
		puts("written; no daemon is running");
	if (!all)
		fprintf(stderr, "perdurectl: written, but not every daemon has it after %d s\n", WAIT_MAX_S);
	ctl_print_json(c, json_pack("{s:s, s:s?, s:b, s:o}", "name", g->name, "value", g->value, "everywhere", all,
				    "nodes", answers));
	return err_ok;
}

static struct err change(struct change *g, int64_t number, const char *why, const char *yes)
{
	bool done;
	try(live_nodes(g));
	try(check(g, number));
	try(confirm(g, yes));
	try(write_value(g, why, &done));
	if (!done)
		return err_make(g->c->arena, ERR_NOT_FOUND, "%s is not set for the cluster", g->name);
	return finish(g);
}

enum { OPTION_WHY, OPTION_YES };

static struct err run_set(struct ctl *c, const char *const *values)
{
	struct change g = {.c = c, .name = c->args[0]};
	int64_t number;
	try(find(c, g.name, &g.s));
	try(parse(c, g.s, c->args[1], &g.value, &number));
	try(db_require_schema(c));
	return change(&g, number, values[OPTION_WHY], values[OPTION_YES]);
}

static struct err run_unset(struct ctl *c, const char *const *values)
{
	struct change g = {.c = c, .name = c->args[0]};
	try(find(c, g.name, &g.s));
	try(db_require_schema(c));
	return change(&g, 0, values[OPTION_WHY], values[OPTION_YES]);
}

/* ------------------------------------------------------------------ history */

static const char *cell(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? "-" : PQgetvalue(r, row, col);
}

static void print_history(struct ctl *c, const PGresult *r)
{
	enum { COLUMNS = 6 };
	static const char *const heading[COLUMNS] = {"WHEN", "BY", "SETTING", "FROM", "TO", "WHY"};
	size_t rows = (size_t)PQntuples(r);
	const char **cells = arena_array(c->arena, const char *, (rows + 1) * COLUMNS);
	memcpy(cells, heading, sizeof heading);
	for (size_t i = 0; i < rows; i++) {
		const char **row = cells + (i + 1) * COLUMNS;
		row[0] = ctl_time(c, atoll(PQgetvalue(r, (int)i, 0)));
		for (int k = 1; k < COLUMNS; k++)
			row[k] = cell(r, (int)i, k);
	}
	ctl_print_table(cells, rows + 1, COLUMNS);
}

static struct err run_history(struct ctl *c, const char *const *values)
{
	(void)values;
	PGresult *r;
	try(db_require_schema(c));
	try(db_query(c,
		     "SELECT changed_ns, changed_by, name, old_value, new_value, why FROM cluster_setting_change "
		     "WHERE scope = '' AND ($1::text IS NULL OR name = $1) ORDER BY id",
		     &c->args[0], 1, &r));
	json_t *all = json_array();
	for (int i = 0; i < PQntuples(r); i++)
		json_array_append_new(all, json_pack("{s:I, s:s, s:s, s:s?, s:s?, s:s}", "changed_ns",
						     (json_int_t)atoll(PQgetvalue(r, i, 0)), "changed_by",
						     PQgetvalue(r, i, 1), "name", PQgetvalue(r, i, 2), "old",
						     PQgetisnull(r, i, 3) ? NULL : PQgetvalue(r, i, 3), "new",
						     PQgetisnull(r, i, 4) ? NULL : PQgetvalue(r, i, 4), "why",
						     PQgetvalue(r, i, 5)));
	if (!c->json)
		print_history(c, r);
	PQclear(r);
	ctl_print_json(c, all);
	return err_ok;
}

/* ------------------------------------------------------------------ the commands */

#define WHY_OPTION                                                                                                     \
	{                                                                                                              \
		"why", "TEXT", "kept in the history of changes"                                                        \
	}
#define STATUS                                                                                                         \
	"Status 3: it is written, but not every live daemon had it within 10 seconds (it is named; it takes the\n"     \
	"value within half a minute of reaching the database)."

const struct ctl_command ctl_config_set = {
	.path = "config set",
	.arguments = "NAME VALUE",
	.args_min = 2,
	.args_max = 2,
	.summary = "Sets a setting for the whole cluster, while it runs",
	.details = "It wins over file, environment and flags of every daemon, and is kept over restarts. Returns when "
		   "every live\ndaemon has it. Only settings that are live ('may be changed live' in a daemon's "
		   "--print-config). Asks when\na limit is lowered that may hurt workflows that are there, and when a "
		   "daemon can't be asked.\n" STATUS,
	.examples = "perdurectl config set limits.pending_activities 5000 --why 'the nightly import'\n"
		    "perdurectl config set log.level debug\n"
		    "perdurectl config set limits.history_events 20000 --yes",
	.options = {[OPTION_WHY] = WHY_OPTION, [OPTION_YES] = CTL_OPTION_YES},
	.run = run_set,
};

const struct ctl_command ctl_config_unset = {
	.path = "config unset",
	.arguments = "NAME",
	.args_min = 1,
	.args_max = 1,
	.summary = "Takes such a setting back: each daemon goes by its own file, environment and flags again",
	.details = STATUS,
	.examples = "perdurectl config unset log.level --why 'found it'",
	.options = {[OPTION_WHY] = WHY_OPTION, [OPTION_YES] = CTL_OPTION_YES},
	.run = run_unset,
};

const struct ctl_command ctl_config_history = {
	.path = "config history",
	.arguments = "[NAME]",
	.args_max = 1,
	.summary = "Every change of the cluster's settings: when, by whom, from what to what, why",
	.examples = "perdurectl config history\nperdurectl --json config history limits.id_bytes",
	.run = run_history,
};
