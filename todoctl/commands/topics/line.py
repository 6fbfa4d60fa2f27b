"""A record as one line for a person."""

from __future__ import annotations

from typing import Any

from todoctl.operations.kafka.encode import iso
from todoctl.operations.kafka.filters import document, event_field

_MOST = 2000  # characters of a value where no terminal limits them


def line(message: Any, width: int | None) -> str:
    """`TIME  TOPIC/PARTITION@OFFSET  KEY  TYPE  VALUE`, the value cut to what fits."""
    where = f"{message.topic()}/{message.partition()}@{message.offset()}"
    found = document(message)
    kind = found.get("type") if isinstance(found, dict) else None
    key = message.key()
    head = f"{iso(message.timestamp()[1]):24}  {where}  {'-' if key is None else _text(key)}  {_shown(kind, found)}  "
    return head + _cut(_value(message.value()), max(20, width - len(head)) if width else _MOST)


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


def _cut(text: str, most: int) -> str:
    text = " ".join(text.split("\n"))
    return text if len(text) <= most else f"{text[: most - 1]}…"
