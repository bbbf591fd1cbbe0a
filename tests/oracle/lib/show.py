"""A transcript as text for people: requests and answers on one line each, events on one line each, and no event twice."""

import json

HEAD = {"event_id", "event_type", "event_time"}


def _is_payload(value):
    return (
        isinstance(value, dict)
        and set(value) == {"metadata", "data"}
        and value["metadata"] == {"encoding": "json/plain"}
    )


def _shorten(value):
    """Payloads as the JSON that they hold; a bare task queue or type as its name; well-known names without their prefix."""
    if _is_payload(value):
        return f"payload({value['data']})"
    if isinstance(value, dict):
        if set(value) == {"payloads"}:
            return [_shorten(item) for item in value["payloads"]]
        return {key: _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shorten(item) for item in value]
    return value


def _text(value):
    return json.dumps(_shorten(value), ensure_ascii=False)


def _event(event):
    attributes = next((value for key, value in event.items() if key.endswith("_event_attributes")), None)
    rest = {key: value for key, value in event.items() if key not in HEAD and not key.endswith("_event_attributes")}
    kind = event.get("event_type", "").removeprefix("EVENT_TYPE_")
    line = f"    {event.get('event_id', '-')} {kind} {event.get('event_time', '')} {_text(attributes)}"
    return line + (f" and {_text(rest)}" if rest else "")


class _Shown:
    """Events that were printed already, so that only new ones are printed in full."""

    def __init__(self):
        self._seen = {}

    def lines(self, events):
        lines = []
        skipped = []
        for event in events:
            key = json.dumps(event, sort_keys=True)
            if key in self._seen:
                skipped.append(event.get("event_id", "-"))
                continue
            if skipped:
                lines.append(f"    {skipped[0]}..{skipped[-1]} as above")
                skipped = []
            self._seen[key] = True
            lines.append(_event(event))
        if skipped:
            lines.append(f"    {skipped[0]}..{skipped[-1]} as above")
        return lines


def _response(response, shown):
    response = dict(response)
    events = response.pop("history", {}).get("events", [])
    lines = [f"  = {_text(response)}"] if response or not events else []
    return lines + shown.lines(events)


def lines(name, description, transcript, trouble):
    """The lines of one case."""
    shown = _Shown()
    result = ["", f"## {name}", description, ""]
    for entry in transcript:
        if "call" not in entry:
            result.append(f"note {_text(entry['note'])}")
            continue
        request = {
            key: value for key, value in entry.get("request", {}).items() if key != "namespace" or value != "default"
        }
        result.append(f"> {entry['call']} {_text(request)}")
        if "refused" in entry:
            result.append(f"  ! {entry['refused']}: {entry['text']}  details: {_text(entry['details'])}")
        else:
            result += _response(entry["response"], shown)
    if trouble:
        result.append(f"ENDED BY {trouble}")
    return result
