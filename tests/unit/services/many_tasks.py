"""Many tasks of many users, loaded by COPY: words, tags, priorities, dates and states that any user might have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import psycopg

BEGINNING = datetime(2030, 1, 1, tzinfo=UTC)
COMMON_TAG, RARE_TAG = "home", "passport"

_VERBS = ("call", "write", "water", "buy", "mend", "book", "read", "pay", "clean", "send")
_THINGS = ("plants", "invoice", "tickets", "bicycle", "report", "doctor", "kitchen", "letter", "lamp", "milk")
_TAGS = (COMMON_TAG, "work", "garden", "family", "money", "health", "travel", "books", "car", "later")
_COLUMNS = "user_id, title, description, status, priority, tags, due_date, created_at, updated_at, completed_at"


@dataclass(frozen=True)
class Crowd:
    """So many tasks, of which the user `heavy` has so many; the others share the rest, mixed in time."""

    tasks: int
    users: int
    heavy_tasks: int
    heavy: int = 1
    light: int = 2


_FILTERS: tuple[tuple[dict[str, Any], ...], ...] = (
    ({}, {"q": "water"}, {"q": "7777"}),
    ({}, {"priority": ("urgent",)}, {"priority": ("low", "high")}),
    ({}, {"tags": (COMMON_TAG,)}, {"tags": (RARE_TAG,)}, {"tags": (COMMON_TAG, "work")}),
    ({}, {"status": ("open",)}),
    ({}, {"due_from": "2030-02-01T00:00:00Z", "due_to": "2030-02-08T00:00:00Z"}, {"due_from": "2030-02-01T00:00:00Z"}),
)
_ORDERS: tuple[tuple[dict[str, Any], ...], ...] = (
    tuple(
        {"sort": name, "order": order} for name in ("created_at", "due_date", "priority") for order in ("asc", "desc")
    ),
    ({}, {"offset": 400, "limit": 200}),
)


def combinations() -> Iterator[dict[str, Any]]:
    """Every combination of search, filters, sort and pages, as parameters of a query."""
    for parts in product(*_FILTERS, *_ORDERS):
        yield {name: value for part in parts for name, value in part.items()}


def load(link: psycopg.Connection[Any], crowd: Crowd, *, seed: int = 4) -> None:
    """Put the crowd's tasks into the database, and have the planner know of them."""
    with link.cursor() as cursor, cursor.copy(f"COPY api.tasks ({_COLUMNS}) FROM STDIN".encode()) as copy:
        for row in _rows(crowd, random.Random(seed)):
            copy.write_row(row)
    link.commit()
    link.autocommit = True
    link.execute("VACUUM (ANALYZE) api.tasks")


def _rows(crowd: Crowd, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    share = crowd.heavy_tasks / crowd.tasks
    for number in range(crowd.tasks):
        user = crowd.heavy if chance.random() < share else 2 + number % (crowd.users - 1)
        yield (user, *_task(number, chance))


def _task(number: int, chance: random.Random) -> tuple[Any, ...]:
    status = chance.choices(("open", "completed", "deleted"), (60, 35, 5))[0]
    priority = chance.choices(("low", "medium", "high", "urgent"), (20, 60, 15, 5))[0]
    # The first tag is on every third task, the last one on every fiftieth; one is on every five-thousandth.
    tags = [
        tag for rank, tag in enumerate(_TAGS, start=3) if chance.random() < 1 / (3 if rank == 3 else rank * rank / 3)
    ]
    if number % 5000 == 0:
        tags.append(RARE_TAG)
    created = BEGINNING + timedelta(seconds=number)
    due = created + timedelta(minutes=chance.randrange(1, 1_000_000)) if chance.random() < 0.7 else None
    title = f"{chance.choice(_VERBS)} {chance.choice(_THINGS)} {number}"
    return (
        title,
        f"{title}, {'as we said, ' * 10}",
        status,
        priority,
        tags,
        due,
        created,
        created,
        (created if status == "completed" else None),
    )
