"""Edits of dead records: what the consumers' models say to the new value, and how it differs from the old."""

from __future__ import annotations

import difflib
import json
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from todoctl.core.dlq.letters import hints_of
from todoctl.core.events import EVENT_MODELS, parse_event

_SHOWN = 5


def problems(topic: str, value: bytes | None) -> list[str]:
    """What the model of the topic's consumers has against a value, best first; nothing when it fits or has no model.

    Todoctl and the services share one model, so this is what a consumer of todoctl's own release would say.
    """
    if topic not in EVENT_MODELS:
        return []
    envelope = _envelope(value)
    if isinstance(envelope, str):
        return [envelope]
    try:
        parse_event(topic, envelope)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        told = [f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}" for problem in found[:_SHOWN]]
        return told + ([f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else [])
    except ValueError as error:
        return [str(error)]
    return []


def against(topic: str, before: bytes | None, after: bytes) -> str | None:
    """Why an edit may not be: the new value doesn't fit, or it is another event than the old one."""
    was, now = hints_of(before).event_id, hints_of(after).event_id
    if was is not None and was != now:
        # Consumers know an event by its id: another id would be applied beside the first one.
        return f"the edit changes the event's id from {was} to {now}"
    found = problems(topic, after)
    return f"the edited value does not fit: {'; '.join(found)}" if found else None


def difference(name: str, before: bytes | None, after: bytes | None) -> list[str]:
    """A unified diff of two values, of their JSON where they are JSON."""
    was, now = pretty(before), pretty(after)
    return list(difflib.unified_diff(was, now, f"{name} as it died", f"{name} as it will be", lineterm=""))


def pretty(value: bytes | None) -> list[str]:
    """A value as lines for a reader: JSON indented, other text as it is, bytes that are no text as escapes."""
    if value is None:
        return ["(no value: a tombstone)"]
    parsed: Any = None
    try:
        parsed = from_json(value)
    except ValueError:
        return value.decode("utf-8", "backslashreplace").splitlines()
    return json.dumps(parsed, indent=2, ensure_ascii=False).splitlines()


def _envelope(value: bytes | None) -> dict[str, Any] | str:
    """The CloudEvents envelope in a value, or why there is none."""
    if value is None:
        return "a tombstone: no value at all"
    try:
        envelope = from_json(value, allow_inf_nan=False)
    except ValueError as error:
        return f"not JSON: {error}"
    return envelope if isinstance(envelope, dict) else f"a JSON {type(envelope).__name__}, not an object"
