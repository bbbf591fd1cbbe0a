"""From a run that closed to the one that follows it."""


async def next_run(t, run_id=None):
    """The run that the (closed) run was followed by; empty when none was."""
    event = await t.wait_closed(run_id)
    for field in (
        "workflow_execution_continued_as_new_event_attributes",
        "workflow_execution_failed_event_attributes",
        "workflow_execution_timed_out_event_attributes",
        "workflow_execution_completed_event_attributes",
    ):
        if event.HasField(field):
            return getattr(event, field).new_execution_run_id
    return ""
