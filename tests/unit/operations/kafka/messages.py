"""librdkafka's messages, made by hand."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message


def message(
    value: bytes | None = b"v",
    *,
    topic: str = "t",
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = b"k",
    at: int = 0,
    headers: list[tuple[str, bytes | None]] | None = None,
) -> Any:
    """A message as a reader gives it; `at` is its time in ms."""
    return Message(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        value=value,
        timestamp=(1, at),
        headers=headers,  # type: ignore[arg-type]
    )
