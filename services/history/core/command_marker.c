/*
 * The commands that only note something: markers, search attributes, the memo.
 */
#include "services/history/core/api_names.h"
#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/search_attributes.h"

#define SEARCH_ATTRIBUTES_BYTES_MAX (40 * 1024)
#define ATTRIBUTES(name)	    TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_##name##_COMMAND_ATTRIBUTES

static bool command_terminate(struct command_ctx *c, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause,
			      const char *message)
{
	command_fail(c, cause, message);
	c->failure.terminate = true;
	return false;
}

static bool blob_too_large(const struct command_ctx *c, size_t bytes)
{
	return c->t->config->blob_bytes_max > 0 && bytes > (size_t)c->t->config->blob_bytes_max;
}

/* ------------------------------------------------------------------ markers */

static size_t details_bytes(const COMMAND(RecordMarkerCommandAttributes) *attr)
{
	size_t total = 0;
	for (size_t i = 0; i < attr->n_details; i++) {
		total += strlen(attr->details[i]->key);
		if (attr->details[i]->value)
			total += protobuf_c_message_get_packed_size(&attr->details[i]->value->base);
	}
	return total;
}

static void write_marker(struct command_ctx *c, const COMMAND(Command) *command)
{
	const COMMAND(RecordMarkerCommandAttributes) *attr = command->record_marker_command_attributes;
	HISTORY(HistoryEvent) *e = txn_event(c->t, EVENT(MARKER_RECORDED));
	HISTORY(MarkerRecordedEventAttributes) *m = e->marker_recorded_event_attributes;
	command_decorate(e, command);
	m->marker_name = attr->marker_name;
	m->workflow_task_completed_event_id = c->completed_event_id;
	m->header = attr->header;
	m->failure = attr->failure;
	m->n_details = attr->n_details;
	m->details = arena_array(c->t->arena, HISTORY(MarkerRecordedEventAttributes__DetailsEntry) *, attr->n_details);
	for (size_t i = 0; i < attr->n_details; i++) {
		m->details[i] = pb_new0(c->t->arena, HISTORY(MarkerRecordedEventAttributes__DetailsEntry),
					HISTORY_FN(marker_recorded_event_attributes__details_entry));
		m->details[i]->key = attr->details[i]->key;
		m->details[i]->value = attr->details[i]->value;
	}
}

bool command_record_marker(struct command_ctx *c, const COMMAND(Command) *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad = COMMAND_CAUSE(BAD_RECORD_MARKER_ATTRIBUTES);
	if (command->attributes_case != ATTRIBUTES(RECORD_MARKER))
		return command_fail(c, bad, "RecordMarkerCommandAttributes is not set on RecordMarkerCommand.");
	const COMMAND(RecordMarkerCommandAttributes) *attr = command->record_marker_command_attributes;
	size_t len = attr->marker_name ? strlen(attr->marker_name) : 0;
	if (len == 0)
		return command_fail(c, bad, "MarkerName is not set on RecordMarkerCommand.");
	if (len > (size_t)c->t->config->id_bytes_max)
		return command_fail(c, bad,
				    arena_printf(c->t->arena,
						 "MarkerName on RecordMarkerCommand exceeds length limit. "
						 "MarkerName=%s Length=%zu Limit=%d",
						 attr->marker_name, len, c->t->config->id_bytes_max));
	if (blob_too_large(c, details_bytes(attr)))
		return command_terminate(c, bad, "RecordMarkerCommandAttributes.Details exceeds size limit.");
	write_marker(c, command);
	return true;
}

/* ------------------------------------------------------------------ search attributes */

typedef COMMON(SearchAttributes__IndexedFieldsEntry) field_t;

/* `packed` with `upsert` over it; what is null in it is removed. */
static COMMON(SearchAttributes) *merge_search_attributes(struct txn *t, ProtobufCBinaryData packed,
							 const COMMON(SearchAttributes) *upsert)
{
	COMMON(SearchAttributes) *merged = pb_new0(t->arena, COMMON(SearchAttributes), COMMON_FN(search_attributes));
	const COMMON(SearchAttributes) *old = pb_unpack(t->arena, &COMMON_FN(search_attributes__descriptor), packed);
	size_t n_old = old ? old->n_indexed_fields : 0;
	merged->indexed_fields = arena_array(t->arena, field_t *, n_old + upsert->n_indexed_fields);
	for (size_t i = 0; i < n_old; i++) {
		size_t k = 0;
		while (k < upsert->n_indexed_fields &&
		       !str_eq(upsert->indexed_fields[k]->key, old->indexed_fields[i]->key))
			k++;
		if (k == upsert->n_indexed_fields)
			merged->indexed_fields[merged->n_indexed_fields++] = old->indexed_fields[i];
	}
	for (size_t k = 0; k < upsert->n_indexed_fields; k++)
		if (!payload_is_nil(upsert->indexed_fields[k]->value))
			merged->indexed_fields[merged->n_indexed_fields++] = upsert->indexed_fields[k];
	return merged;
}

static size_t fields_bytes(const COMMON(SearchAttributes) *sa)
{
	size_t total = 0;
	for (size_t i = 0; i < sa->n_indexed_fields; i++)
		total += strlen(sa->indexed_fields[i]->key) +
			 (sa->indexed_fields[i]->value ? sa->indexed_fields[i]->value->data.len : 0);
	return total;
}

bool command_upsert_search_attributes(struct command_ctx *c, const COMMAND(Command) *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad = COMMAND_CAUSE(BAD_SEARCH_ATTRIBUTES);
	struct txn *t = c->t;
	if (command->attributes_case != ATTRIBUTES(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES))
		return command_fail(c, bad,
				    "UpsertWorkflowSearchAttributesCommandAttributes is not set on "
				    "UpsertWorkflowSearchAttributesCommand.");
	const COMMON(SearchAttributes) *sa =
		command->upsert_workflow_search_attributes_command_attributes->search_attributes;
	if (!sa)
		return command_fail(c, bad, "SearchAttributes is not set on UpsertWorkflowSearchAttributesCommand.");
	if (sa->n_indexed_fields == 0)
		return command_fail(c, bad, "IndexedFields is not set on UpsertWorkflowSearchAttributesCommand.");
	struct err refused = sa_check(t->arena, t->namespace_name, sa);
	if (err_is(refused))
		return command_fail(c, bad, refused.message);
	if (blob_too_large(c, fields_bytes(sa)))
		return command_terminate(c, bad, "UpsertWorkflowSearchAttributesCommandAttributes exceeds size limit.");
	COMMON(SearchAttributes) *typed = sa_typed(t->arena, sa, true);
	COMMON(SearchAttributes) *merged = merge_search_attributes(t, txn_peek(t)->search_attributes, typed);
	size_t total = protobuf_c_message_get_packed_size(&merged->base);
	if (total > SEARCH_ATTRIBUTES_BYTES_MAX)
		return command_terminate(c, bad,
					 arena_printf(t->arena,
						      "total size of search attributes %zu exceeds size limit %d",
						      total, SEARCH_ATTRIBUTES_BYTES_MAX));

	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES));
	command_decorate(e, command);
	e->upsert_workflow_search_attributes_event_attributes->workflow_task_completed_event_id = c->completed_event_id;
	e->upsert_workflow_search_attributes_event_attributes->search_attributes = typed;
	txn_exec(t)->search_attributes = pb_pack(t->arena, &merged->base);
	return true;
}

/* ------------------------------------------------------------------ memo */

typedef COMMON(Memo__FieldsEntry) memo_field_t;

static COMMON(Memo) *merge_memo(struct txn *t, ProtobufCBinaryData packed, const COMMON(Memo) *upsert)
{
	COMMON(Memo) *merged = pb_new0(t->arena, COMMON(Memo), COMMON_FN(memo));
	const COMMON(Memo) *old = pb_unpack(t->arena, &COMMON_FN(memo__descriptor), packed);
	size_t n_old = old ? old->n_fields : 0;
	merged->fields = arena_array(t->arena, memo_field_t *, n_old + upsert->n_fields);
	for (size_t i = 0; i < n_old; i++) {
		size_t k = 0;
		while (k < upsert->n_fields && !str_eq(upsert->fields[k]->key, old->fields[i]->key))
			k++;
		if (k == upsert->n_fields)
			merged->fields[merged->n_fields++] = old->fields[i];
	}
	for (size_t k = 0; k < upsert->n_fields; k++)
		if (!payload_is_nil(upsert->fields[k]->value))
			merged->fields[merged->n_fields++] = upsert->fields[k];
	return merged;
}

static size_t memo_bytes(const COMMON(Memo) *memo)
{
	size_t total = 0;
	for (size_t i = 0; i < memo->n_fields; i++)
		total += strlen(memo->fields[i]->key) + (memo->fields[i]->value ? memo->fields[i]->value->data.len : 0);
	return total;
}

bool command_modify_properties(struct command_ctx *c, const COMMAND(Command) *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad =
		COMMAND_CAUSE(BAD_MODIFY_WORKFLOW_PROPERTIES_ATTRIBUTES);
	struct txn *t = c->t;
	if (command->attributes_case != ATTRIBUTES(MODIFY_WORKFLOW_PROPERTIES))
		return command_fail(
			c, bad,
			"ModifyWorkflowPropertiesCommandAttributes is not set on ModifyWorkflowPropertiesCommand.");
	COMMON(Memo) *upsert = command->modify_workflow_properties_command_attributes->upserted_memo;
	if (!upsert)
		return command_fail(c, bad, "UpsertedMemo is not set on ModifyWorkflowPropertiesCommand.");
	if (upsert->n_fields == 0)
		return command_fail(c, bad, "UpsertedMemo.Fields is not set on ModifyWorkflowPropertiesCommand.");
	if (blob_too_large(c, memo_bytes(upsert)))
		return command_terminate(c, bad, "ModifyWorkflowPropertiesCommandAttributes exceeds size limit.");
	COMMON(Memo) *merged = merge_memo(t, txn_peek(t)->memo, upsert);
	if (t->config->memo_bytes_max > 0 &&
	    protobuf_c_message_get_packed_size(&merged->base) > (size_t)t->config->memo_bytes_max)
		return command_terminate(c, bad, "ModifyWorkflowPropertiesCommandAttributes. Memo exceeds size limit.");

	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_PROPERTIES_MODIFIED));
	command_decorate(e, command);
	e->workflow_properties_modified_event_attributes->workflow_task_completed_event_id = c->completed_event_id;
	e->workflow_properties_modified_event_attributes->upserted_memo = upsert;
	txn_exec(t)->memo = pb_pack(t->arena, &merged->base);
	return true;
}
