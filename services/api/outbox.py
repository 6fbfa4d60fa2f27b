"""The outbox as its relay reads it: the oldest entries, their removal, and the lock that makes the relay the only one."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from services.common.locks import Lock

WINDOW = 500
DEEPEST_LANE = 20
LARGEST_BATCH = 100
# Escaped as JSON an entry may treble, and the sidecar takes bodies of up to 4 MiB.
LARGEST_BATCH_BYTES = 1_000_000

_LOCK_QUERY = "SELECT pg_try_advisory_lock(%s)"
# The first entries of each lane before the second ones, so that a user with thousands doesn't keep the others waiting;
# how far it looks is bounded, so that a long outage makes no slow query.
_WINDOW_QUERY = """
WITH ahead AS (
    SELECT id, user_id, topic FROM api.outbox
    WHERE topic <> ALL(%(topics)s) AND NOT EXISTS (
        SELECT FROM unnest(%(held_users)s::bigint[], %(held_topics)s::text[]) AS held(user_id, topic)
        WHERE held.user_id = outbox.user_id AND held.topic = outbox.topic
    )
    ORDER BY id LIMIT 10000
), ranked AS (
    SELECT id, row_number() OVER (PARTITION BY user_id, topic ORDER BY id) AS rank FROM ahead
), chosen AS (
    SELECT id, rank FROM ranked WHERE rank <= %(deep)s ORDER BY rank, id LIMIT %(window)s
)
SELECT id, user_id, topic, key, event_id, envelope, octet_length(envelope::text) AS size
FROM chosen JOIN api.outbox USING (id) ORDER BY rank, id
"""
_REMOVE_QUERY = "DELETE FROM api.outbox WHERE id = ANY(%s)"

# All of one user's events on one topic; at most one of them is on its way at a time.
Lane = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event that waits to be published."""

    id: int
    user_id: int
    topic: str
    key: str
    event_id: UUID
    envelope: dict[str, Any]
    size: int = 0

    @property
    def lane(self) -> Lane:
        """What this entry may not overtake another entry in."""
        return self.user_id, self.topic


class Lanes:
    """A window of the outbox, taken apart so that only the first entry of each lane can be had."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._lanes: dict[Lane, deque[Entry]] = {}
        for entry in entries:
            self._lanes.setdefault(entry.lane, deque()).append(entry)

    def heads(self) -> dict[str, list[Entry]]:
        """Per topic the first entries of its lanes, as many as one bulk call takes; empty when nothing is left."""
        batches: dict[str, list[Entry]] = {}
        sizes: dict[str, int] = {}
        for lane in self._lanes.values():
            head = lane[0]
            batch = batches.setdefault(head.topic, [])
            size = sizes.get(head.topic, 0) + head.size
            if len(batch) < LARGEST_BATCH and (not batch or size <= LARGEST_BATCH_BYTES):
                batch.append(head)
                sizes[head.topic] = size
        return batches

    def settle(self, entry: Entry) -> None:
        """Take a lane's first entry out: it was published."""
        lane = self._lanes[entry.lane]
        lane.popleft()
        # To the end of the row, so that a busy user doesn't keep the others waiting.
        del self._lanes[entry.lane]
        if lane:
            self._lanes[entry.lane] = lane

    def drop(self, lane: Lane) -> None:
        """Leave a lane alone for now: its first entry could not be published."""
        self._lanes.pop(lane, None)

    def drop_topic(self, topic: str) -> None:
        """Leave all lanes of a topic alone for now."""
        self._lanes = {lane: entries for lane, entries in self._lanes.items() if lane[1] != topic}


async def connect(url: str) -> psycopg.AsyncConnection[Any]:
    """The relay's own connection: direct, because a pooled one breaks LISTEN and locks of the session."""
    connection = await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=3,
        tcp_user_timeout=5000,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        application_name="api-relay",
        # A removal that a crash undoes is only a repeated event; consumers know those by their id.
        # The server's keepalives free the lock when this machine is cut off.
        options="-c statement_timeout=10000 -c synchronous_commit=off -c tcp_keepalives_idle=5"
        " -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
    )
    await connection.execute("LISTEN outbox")
    return connection


async def try_lead(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether this connection holds the relay's lock now; it does until it ends.

    Asked again and again rather than waited for: a waiting statement would hold back the vacuum.
    """
    row = await (await connection.execute(_LOCK_QUERY, (int(Lock.RELAY),))).fetchone()
    return bool(row and row[0])


async def window(
    connection: psycopg.AsyncConnection[Any], topics: Collection[str], lanes: Collection[Lane]
) -> list[Entry]:
    """The entries to publish next, outside the given topics and lanes, each lane from its oldest one on.

    Within a lane the order of ids is that of user_seq: both numbers are drawn under the user's lock.
    """
    values = {
        "topics": list(topics),
        "held_users": [user for user, _ in lanes],
        "held_topics": [topic for _, topic in lanes],
        "deep": DEEPEST_LANE,
        "window": WINDOW,
    }
    async with connection.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(_WINDOW_QUERY, values)
        return await cursor.fetchall()


async def remove(connection: psycopg.AsyncConnection[Any], entries: Collection[Entry]) -> None:
    """Delete entries that the broker has."""
    await connection.execute(_REMOVE_QUERY, ([entry.id for entry in entries],))
