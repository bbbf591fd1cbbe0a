/*
 * Reading events: from memory where they are, from the database where they are not. Events are spliced bytes
 * (temporal.api.history.v1.History: each event is field 1); nothing here decodes one.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/history.h"

static bool get_varint(struct bytes *b, uint64_t *ret)
{
	uint64_t v = 0;
	for (size_t i = 0; i < b->len && i < 10; i++) {
		v |= (uint64_t)(b->data[i] & 0x7f) << (7 * i);
		if (!(b->data[i] & 0x80)) {
			b->data += i + 1;
			b->len -= i + 1;
			*ret = v;
			return true;
		}
	}
	return false;
}

bool events_next(struct bytes *rest, struct bytes *ret_event)
{
	uint64_t tag, len;
	if (!rest->len)
		return false;
	if (!get_varint(rest, &tag) || tag != (1 << 3 | 2) || !get_varint(rest, &len) || len > rest->len)
		return false;
	*ret_event = bytes_of(rest->data, len);
	rest->data += len;
	rest->len -= len;
	return true;
}

size_t events_cut(struct bytes *events, size_t count_max, size_t bytes_max)
{
	struct bytes rest = *events, one;
	size_t n = 0;
	while (n < count_max) {
		struct bytes before = rest;
		if (!events_next(&rest, &one))
			break;
		if (n > 0 && (size_t)(rest.data - events->data) > bytes_max) {
			rest = before;
			break;
		}
		n++;
	}
	events->len = (size_t)(rest.data - events->data);
	return n;
}

/* The part [first, last] of spliced events that begin with event id `from`. */
static void put_range(struct buf *out, struct bytes events, int64_t from, int64_t first, int64_t last)
{
	struct bytes rest = events, one;
	const uint8_t *begin = NULL, *end = NULL;
	for (int64_t id = from; id <= last; id++) {
		const uint8_t *at = rest.data;
		if (!events_next(&rest, &one))
			break;
		if (id >= first && !begin)
			begin = at;
		end = rest.data;
	}
	if (begin)
		buf_put(out, begin, (size_t)(end - begin));
}

struct stored_read {
	struct events_read *read;
	struct workflow *wf; /* pinned */
	uint64_t serial;     /* of the run */
	char *run_id;
	int64_t stored_last;
};

/* The run may have left memory with its shard while the database was asked. */
static bool still_there(const struct stored_read *sr)
{
	for (struct cached_run *r = sr->wf->runs; r; r = r->next_in_wf)
		if (r->serial == sr->serial)
			return true;
	return false;
}

static void from_memory(struct events_read *r, int64_t first)
{
	if (first <= r->last)
		history_log_read(r->run->log, first, r->last, &r->out);
}

static void on_chunks(void *ctx, struct err e, const struct store_history_chunk *chunks, size_t count)
{
	struct stored_read *sr = ctx;
	struct events_read *r = sr->read;
	int64_t next = r->first, stored_last = sr->stored_last;
	bool there = still_there(sr);
	sr->wf->pins--;
	if (!there)
		workflow_put(sr->wf);
	free(sr->run_id);
	free(sr);
	if (!there) {
		r->run = NULL;
		r->fn(r,
		      (struct err){.code = ERR_UNAVAILABLE,
				   .reason = ERR_REASON_NOT_OWNER,
				   .message = "the workflow's shard is moving; retry"},
		      bytes_of(NULL, 0));
		return;
	}
	for (size_t i = 0; i < count && !err_is(e); i++) {
		int64_t last = min_i64(min_i64(chunks[i].last_event_id, r->last), stored_last);
		if (chunks[i].first_event_id > next) {
			e = err_static(ERR_DATA_LOSS, "a chunk of the history is missing");
			break;
		}
		if (last >= next)
			put_range(&r->out, chunks[i].events, chunks[i].first_event_id, next, last);
		next = max_i64(next, last + 1);
	}
	if (!err_is(e) && next <= min_i64(stored_last, r->last))
		e = err_static(ERR_DATA_LOSS, "the end of the stored history is missing");
	if (err_is(e) && cached_run_gone(r->run))
		e = err_static(ERR_NOT_FOUND, "workflow execution not found");
	/* The rest was in memory when the read began and cannot have been folded away since: the run is pinned. */
	if (!err_is(e))
		from_memory(r, next);
	r->run->readers--;
	r->fn(r, e, buf_view(&r->out));
}

void events_read(struct events_read *r)
{
	r->out = (struct buf){0};
	int64_t in_memory = history_log_first(r->run->log);
	if (!in_memory)
		in_memory = r->run->stored_last_event_id + 1;
	if (r->first > r->last || r->first >= in_memory) {
		from_memory(r, r->first);
		r->fn(r, err_ok, buf_view(&r->out));
		return;
	}
	struct stored_read *sr = new0(struct stored_read);
	*sr = (struct stored_read){
		.read = r,
		.wf = r->run->wf,
		.serial = r->run->serial,
		.run_id = mem_strdup(r->run->run->start->run_id),
		.stored_last = min_i64(r->last, in_memory - 1),
	};
	sr->wf->pins++;
	r->run->readers++;
	struct store_run_id id = {
		.shard = r->run->wf->shard->id,
		.namespace_id = r->run->wf->namespace_id,
		.workflow_id = r->run->wf->workflow_id,
		.run_id = sr->run_id,
	};
	store_load_history(r->run->wf->shard->h->store, &id, r->first, sr->stored_last, on_chunks, sr);
}
