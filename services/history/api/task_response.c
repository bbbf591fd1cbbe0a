/*
 * The response that a worker's workflow poll gets: what the core filled in, plus the history it needs.
 */
#include "services/history/api/call.h"

#include <temporal/api/history/v1/message.pb-c.h>

#define FIELD_HISTORY	      8
#define FIELD_NEXT_PAGE_TOKEN 9
#define PAGE_EVENTS_MAX	      1000
#define PAGE_BYTES_MAX	      (2 * 1024 * 1024)

static struct bytes pack(struct arena *arena, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *data = arena_alloc(arena, len);
	protobuf_c_message_pack(m, data);
	return bytes_of(data, len);
}

static struct bytes pack_transient(struct task_response *r)
{
	struct buf out = {0};
	for (size_t i = 0; i < array_len(r->transient_events); i++)
		if (r->transient_events[i])
			buf_put_field(&out, 1, pack(r->arena, &r->transient_events[i]->base));
	struct bytes packed = arena_copy(r->arena, buf_view(&out));
	buf_done(&out);
	return packed;
}

static void put_page_token(struct task_response *r, int64_t next, struct buf *out)
{
	r->token.next_event_id = next;
	buf_put_field(out, FIELD_NEXT_PAGE_TOKEN, pack(r->arena, &r->token.base));
}

static void on_events(struct events_read *read, struct err e, struct bytes events)
{
	struct task_response *r = container_of(read, struct task_response, read);
	if (err_is(e)) {
		buf_done(&read->out);
		r->fn(r, e, bytes_of(NULL, 0));
		return;
	}
	int64_t next = r->first + (int64_t)events_cut(&events, PAGE_EVENTS_MAX, PAGE_BYTES_MAX);
	struct bytes tail = next > r->last ? r->transient : bytes_of(NULL, 0);
	struct buf out = {0};
	buf_reserve(&out, r->head.len + events.len + tail.len + 64);
	buf_put_bytes(&out, r->head);
	if (next <= r->last)
		put_page_token(r, next, &out);
	buf_put_varint(&out, FIELD_HISTORY << 3 | 2);
	buf_put_varint(&out, events.len + tail.len);
	buf_put_bytes(&out, events);
	buf_put_bytes(&out, tail);
	struct bytes packed = arena_copy(r->arena, buf_view(&out));
	buf_done(&out);
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
	r->head = pack(r->arena, &r->resp->base);
	r->transient = pack_transient(r);
	perdure__history_page_token__init(&r->token);
	r->token.run_id = arena_strdup(r->arena, r->run->run->start->run_id);
	r->token.last_event_id = r->last;
	r->token.transient_from_event_id = r->transient.len ? r->last + 1 : 0;
	r->token.start_nonce = exec->workflow_task ? exec->workflow_task->start_nonce : 0;
	r->read = (struct events_read){.fn = on_events, .run = r->run, .first = r->first, .last = r->last};
	events_read(&r->read);
}
