"""What a client is sent, and when: messages, and one connection's place in its user's changes. Nothing here waits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from todoctl.core.events import TaskSnapshot, TaskUpdateEvent

# The place of a client that has not said where it stands.
NOWHERE = -1

_LARGEST = 2**63 - 1
# Updates kept per connection while it catches up; what does not fit is read from api instead.
_ROOM = 256


@dataclass(frozen=True, slots=True)
class Update:
    """One change of a user's data, and the message that tells of it."""

    user_seq: int
    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """What api says of the changes after a place: all of them up to `cursor`, or that they are no longer all there."""

    updates: tuple[Update, ...]
    cursor: int
    is_last: bool
    is_resync: bool = False


class Cursor:
    """One connection's place; what it gives to send has rising numbers, each once, and leaves none out."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.is_reading = False
        self._early: dict[int, Update] = {}
        self._wanted = position
        self._asked = position

    def offer(self, update: Update) -> tuple[Update, ...]:
        """Take a live update; what can be sent now. Look at `is_behind` afterwards."""
        if update.user_seq <= self.position:
            return ()
        self._wanted = max(self._wanted, update.user_seq)
        if len(self._early) < _ROOM:
            self._early[update.user_seq] = update
        return () if self.is_reading else self._ready()

    @property
    def is_behind(self) -> bool:
        """Whether there is more than was sent: a number is missing in between."""
        return self._wanted > self.position

    def start_reading(self) -> None:
        """From here until `read` says the last page came, live updates wait."""
        self.is_reading, self._asked = True, self._wanted

    def read(self, page: Page) -> tuple[Update, ...]:
        """Take a page from api; what can be sent now. Reading ends with the last page that leaves nothing out."""
        sent = tuple(update for update in page.updates if update.user_seq > self.position)
        self.position = page.cursor if page.is_resync else max(self.position, page.cursor)
        self._forget(self.position)
        if not page.is_last:
            return sent
        sent += self._ready()
        if self.is_behind and self._wanted <= self._asked:
            # api had the last word after the update came and knows no such number: nobody can ever send it.
            self._forget(_LARGEST)
            self._wanted = self.position
        self.is_reading = self.is_behind
        self._asked = self._wanted
        return sent

    def _ready(self) -> tuple[Update, ...]:
        ready = []
        while update := self._early.pop(self.position + 1, None):
            ready.append(update)
            self.position += 1
        return tuple(ready)

    def _forget(self, position: int) -> None:
        self._early = {seq: update for seq, update in self._early.items() if seq > position}


def live(event: TaskUpdateEvent) -> Update:
    """The update that an event from the topic tells of."""
    task = _task_of(event.payload.task)
    return _update(event.user_seq, task, list(event.payload.changed), event.occurred_at.isoformat())


def page_of(body: Any) -> Page:
    """The page in api's answer.

    Raises:
        ValueError: it is not such a page.
    """
    try:
        updates = tuple(_read_change(item) for item in body["items"])
        cursor, head, is_resync = int(body["cursor"]), int(body["head"]), bool(body["resync"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"api's page of changes is not one: {error!r}") from error
    return Page(updates, cursor, is_last=is_resync or cursor >= head, is_resync=is_resync)


def cursor_of(value: Any) -> int | None:
    """The place that a client says it has come to; NOWHERE without one, None where it is no place."""
    if value is None:
        return NOWHERE
    return value if type(value) is int and 0 <= value <= _LARGEST else None


def stale(positions: Mapping[str, int], now: Mapping[str, int], head: int) -> list[str]:
    """The connections of a user that are not where the user's last change is.

    `positions` are theirs before api was asked for the head, `now` after it: one that got ahead meanwhile is fine,
    one that was ahead before has come from another database.
    """
    return [name for name, position in now.items() if position < head or positions.get(name, head) > head]


def _read_change(item: Mapping[str, Any]) -> Update:
    task = {name: item["task"].get(name) for name in _FIELDS}
    return _update(int(item["user_seq"]), task, list(item["changed"]), str(item["occurred_at"]))


def _update(user_seq: int, task: dict[str, Any], changed: list[str], occurred_at: str) -> Update:
    op = "delete" if task["status"] == "deleted" else "upsert"
    return Update(
        user_seq, {"user_seq": user_seq, "op": op, "task": task, "changed": changed, "occurred_at": occurred_at}
    )


def _task_of(snapshot: TaskSnapshot) -> dict[str, Any]:
    """The task in the same shape as in api's answers, so that a page knows one shape."""
    task = snapshot.model_dump(mode="json")
    series = task.pop("series")
    task |= {"series_id": series and series["series_id"], "recurrence_rule": series and series["rule"]}
    return {name: task.get(name) for name in _FIELDS}


_FIELDS = (
    *("id", "title", "description", "status", "priority", "tags", "due_date", "reminder_offset"),
    *("recurrence_rule", "series_id", "parent_task_id", "version", "created_at", "updated_at", "completed_at"),
)
