"""A record as one line for a person."""

from __future__ import annotations

from typing import Any

from todoctl import screen
from todoctl.operations.kafka.encode import iso
from todoctl.operations.kafka.filters import document, event_field

_MOST = 2000  # characters of a value where no terminal limits them
_WORD = 200  # characters of a key or a type


def line(message: Any, width: int | None) -> str:
    """`TIME  TOPIC/PARTITION@OFFSET  KEY  TYPE  VALUE`, the value cut to what fits, key and type where they are endless."""
    where = f"{message.topic()}/{message.partition()}@{message.offset()}"
    found = document(message)
    kind = found.get("type") if isinstance(found, dict) else None
    key, what = message.key(), screen.cut(_shown(kind, found), _WORD)
    named = "-" if key is None else screen.cut(_text(key[: 4 * _WORD]), _WORD)
    head = f"{iso(message.timestamp()[1]):24}  {where}  {named}  {what}  "
    return head + screen.cut(_value(message.value()), max(20, width - len(head)) if width else _MOST)


def _shown(kind: Any, found: Any) -> str:
    if not isinstance(kind, str):
        return "-"
    task = event_field(found, "task_id")
    return f"{kind} task {task}" if isinstance(task, int) else kind


def _value(value: bytes | None) -> str:
    if value is None:
        return "(tombstone)"
    if not value:
        return "(empty)"
    # The rest would be cut off anyway, whatever its size.
    text = _text(value[: 4 * _MOST])
    return text if len(value) <= 4 * _MOST else f"{text}… ({len(value)} bytes)"


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")
