"""Where in a topic to begin and to end, as a person writes it, and the token that resumes a reading."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from todoctl.core.logs import parse_duration

Place = tuple[str, int]  # a topic and one of its partitions

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")
_PART = r"[A-Za-z0-9._-]+@[0-9]+:[0-9]+(,[0-9]+:[0-9]+)*(~[A-Za-z0-9_-]+)?"
_TOKEN = re.compile(f"{_PART}(/{_PART})*")


@dataclass(frozen=True)
class Position:
    """One end of the partitions, an offset in each of them, or a time in milliseconds."""

    kind: Literal["beginning", "end", "offset", "time"]
    value: int = 0


BEGINNING = Position("beginning")
END = Position("end")


def parse_position(text: str, now: datetime) -> Position:
    """`beginning`, `end`, an offset such as 1200, an ISO time (UTC without a zone), or a duration such as 15m, which is that long ago.

    Raises:
        ValueError: it is none of these.
    """
    names = {"beginning": BEGINNING, "earliest": BEGINNING, "end": END, "latest": END}
    if text in names:
        return names[text]
    if text.isascii() and text.isdigit() and len(text) < 19:
        return Position("offset", int(text))
    try:
        moment = parse_moment(text, now)
    except ValueError as error:
        if isinstance(error.__cause__, OverflowError):
            raise
        raise ValueError(
            f"{text!r} is no place in a topic: write beginning, end, an offset, an ISO time, or how long ago (15m)"
        ) from error
    return Position("time", max(0, round(moment.timestamp() * 1000)))


def parse_moment(text: str, now: datetime) -> datetime:
    """An ISO time (UTC without a zone), or a duration such as 15m, which is that long ago.

    Raises:
        ValueError: it is neither; nothing behind a time is passed over, such as a zone's name.
    """
    try:
        return now - parse_duration(text)
    except OverflowError as error:
        raise ValueError(f"{text!r} is further back than time can be written") from error
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no time: write how long ago (15m), or an ISO time (2026-11-27T10:00+01:00; UTC without a zone)"
        ) from error


@dataclass(frozen=True)
class Resume:
    """The next offset of every partition of a reading, and the cluster that they are of.

    `ids` are the topics' own: one of the same name that is made anew has another.
    """

    cluster: str
    offsets: Mapping[Place, int]
    ids: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """`TOPIC@PARTITION:OFFSET,…~ID/TOPIC@…#CLUSTER`: to be copied, and to be understood."""
        topics: dict[str, list[str]] = {}
        for (topic, partition), offset in sorted(self.offsets.items()):
            topics.setdefault(topic, []).append(f"{partition}:{offset}")
        ids = {topic: f"~{self.ids[topic]}" if topic in self.ids else "" for topic in topics}
        return (
            "/".join(f"{topic}@{','.join(pairs)}{ids[topic]}" for topic, pairs in topics.items()) + f"#{self.cluster}"
        )


def parse_resume(text: str) -> Resume:
    """The token that a reading printed.

    Raises:
        ValueError: it is not such a token.
    """
    body, _, cluster = text.strip().partition("#")
    if not cluster or not _TOKEN.fullmatch(body):
        raise ValueError("it is not what an earlier reading printed: TOPIC@PARTITION:OFFSET,…~ID#CLUSTER")
    offsets, ids = {}, {}
    for part in body.split("/"):
        place, _, topic_id = part.partition("~")
        topic, _, pairs = place.partition("@")
        if topic_id:
            ids[topic] = topic_id
        for pair in pairs.split(","):
            partition, _, offset = pair.partition(":")
            offsets[topic, int(partition)] = int(offset)
    return Resume(cluster, offsets, ids)


def is_topic_name(text: str) -> bool:
    """Whether Kafka allows a topic of this name.

    Source: org.apache.kafka.common.internals.Topic: up to 249 of A-Z a-z 0-9 . _ -, and not . or .. alone.
    """
    return bool(_NAME.match(text)) and text not in {".", ".."}
