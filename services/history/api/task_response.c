/*
 * The response that a worker's workflow poll gets: what the core filled in, plus the history it needs.
 */
#include "services/history/api/call.h"

#include <temporal/api/history/v1/message.pb-c.h>

#define FIELD_HISTORY	8
#define PAGE_EVENTS_MAX 1000
#define PAGE_BYTES_MAX	(2 * 1024 * 1024)

static void put_transient(struct task_response *r, struct buf *out)
{
	for (size_t i = 0; i < array_len(r->transient_events); i++) {
		const Temporal__Api__History__V1__HistoryEvent *e = r->transient_events[i];
		if (!e)
			continue;
		size_t len = temporal__api__history__v1__history_event__get_packed_size(e);
		buf_put_varint(out, 1 << 3 | 2);
		buf_put_varint(out, len);
		temporal__api__history__v1__history_event__pack(e, buf_reserve(out, len));
		out->len += len;
	}
}

static void put_page_token(struct task_response *r, int64_t next)
{
	Perdure__HistoryPageToken t = PERDURE__HISTORY_PAGE_TOKEN__INIT;
	t.run_id = r->run->run->start->run_id;
	t.next_event_id = next;
	t.last_event_id = r->last;
	if (r->transient)
		t.transient_from_event_id = r->last + 1;
	if (r->run->run->exec->workflow_task)
		t.start_nonce = r->run->run->exec->workflow_task->start_nonce;
	size_t len = perdure__history_page_token__get_packed_size(&t);
	uint8_t *data = arena_alloc(r->arena, len);
	perdure__history_page_token__pack(&t, data);
	r->resp->next_page_token = (ProtobufCBinaryData){len, data};
}

static void on_events(struct events_read *read, struct err e, struct bytes events)
{
	struct task_response *r = container_of(read, struct task_response, read);
	if (err_is(e)) {
		buf_done(&read->out);
		r->fn(r, e, bytes_of(NULL, 0));
		return;
	}
	size_t count = events_cut(&events, PAGE_EVENTS_MAX, PAGE_BYTES_MAX);
	struct buf tail = {0};
	if (r->first + (int64_t)count <= r->last)
		put_page_token(r, r->first + (int64_t)count);
	else if (r->transient)
		put_transient(r, &tail);
	struct buf out = {0};
	size_t len = protobuf_c_message_get_packed_size(&r->resp->base);
	protobuf_c_message_pack(&r->resp->base, buf_reserve(&out, len + events.len + tail.len + 16));
	out.len = len;
	buf_put_varint(&out, FIELD_HISTORY << 3 | 2);
	buf_put_varint(&out, events.len + tail.len);
	buf_put_bytes(&out, events);
	buf_put_bytes(&out, buf_view(&tail));
	struct bytes packed = arena_copy(r->arena, buf_view(&out));
	buf_done(&out);
	buf_done(&tail);
	buf_done(&read->out);
	r->fn(r, err_ok, packed);
}

void task_response_make(struct task_response *r, enum task_history history)
{
	const Perdure__RunExec *exec = r->run->run->exec;
	r->last = exec->next_event_id - 1;
	r->first = 1;
	if (history == TASK_HISTORY_NEWS)
		r->first = exec->last_completed_workflow_task_started_event_id + 1;
	else if (history == TASK_HISTORY_NONE)
		r->first = r->last + 1;
	r->transient = r->transient_events[0] || r->transient_events[1];
	r->read = (struct events_read){.fn = on_events, .run = r->run, .first = r->first, .last = r->last};
	events_read(&r->read);
}
