"""Plays the main job through the public API: a recurring task gets its next occurrence, a reminder becomes a mail."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from todoctl.adapters import sync
from todoctl.adapters.api import Api
from todoctl.adapters.kafka import client, records
from todoctl.adapters.mails import Mail
from todoctl.core.events import TASK_EVENTS
from todoctl.errors import UnhealthyError
from todoctl.operations.platform import Platform

_REMINDER_AHEAD = timedelta(seconds=2)


@dataclass(frozen=True)
class Link:
    """One link of the chain: what happened, after how many seconds since what it follows from, and the evidence."""

    name: str
    seconds: float
    seen: str


@dataclass(frozen=True)
class Edges:
    """What the chain is played against; `open_socket` gets the user's token, `kept_mails` looks where mails are kept.

    Without `kept_mails` mails would leave the platform, so the chain ends before one.
    """

    api: Api
    broker: client.Broker
    open_socket: Callable[[str], AbstractContextManager[sync.Socket]]
    kept_mails: Callable[[], list[Mail]] | None
    clock: Callable[[], datetime]


@contextmanager
def edges_of(platform: Platform, *, seconds: float) -> Iterator[Edges]:
    """What to play against on a platform, for the length of a block; a socket may take `seconds` to open."""
    began = datetime.now(UTC)
    with Api(platform.addresses()) as api:
        yield Edges(
            api=api,
            broker=platform.broker(),
            open_socket=lambda token: sync.connected(api.sync_address, token, seconds=seconds),
            kept_mails=(lambda: platform.mails(since=began)) if platform.keeps_mails() else None,
            clock=lambda: datetime.now(UTC),
        )


def play(edges: Edges, *, deadline_seconds: float) -> Iterator[Link]:
    """Walk the chain; yields each link as it is seen.

    Raises:
        UnhealthyError: a link did not come in time; the message names it.
        TodoctlError: a request failed.
    """
    api, correlation = edges.api, f"smoke-{uuid4()}"
    email, password = f"smoke-{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(18)
    since = time.monotonic()
    api.register(email, password)
    api.log_in(email, password)
    yield Link("account", time.monotonic() - since, "registered and logged in")
    try:
        yield from _follow(edges, email, correlation, deadline_seconds)
    except UnhealthyError as error:
        hint = f"{error.hint}; todoctl trace correlation:{correlation}"
        raise UnhealthyError(error.message, detail=error.detail, hint=hint) from error


def _follow(edges: Edges, email: str, correlation: str, seconds: float) -> Iterator[Link]:
    """From the first task to the mail of the second one's reminder."""
    api, since = edges.api, time.monotonic()
    task = api.create_task(_task(edges.clock()), correlation=correlation)
    yield Link("task created", time.monotonic() - since, f"task {task['id']}, daily, due {task['due_date']}")
    with edges.open_socket(api.token) as socket:
        yield Link("socket open", time.monotonic() - since, "connected and caught up")
        due = edges.clock() + _REMINDER_AHEAD
        reminder = api.create_task(_reminder(due), correlation=correlation) if edges.kept_mails else None
        deadline = time.monotonic() + seconds
        yield from _complete(edges, socket, task, correlation, deadline)
    if edges.kept_mails and reminder:
        yield _mail(edges.kept_mails, reminder["id"], email, due, deadline)
        api.delete_task(reminder["id"])
    api.delete_task(task["id"])


def _complete(
    edges: Edges, socket: sync.Socket, task: dict[str, Any], correlation: str, deadline: float
) -> Iterator[Link]:
    """Complete the task and follow what comes of it."""
    api, task_id = edges.api, task["id"]
    offsets = records.end_offsets(edges.broker, TASK_EVENTS)
    since = time.monotonic()
    api.complete_task(task_id, correlation=correlation)
    yield Link("request", time.monotonic() - since, f"POST /api/tasks/{task_id}/complete, correlation {correlation}")
    yield _event(edges.broker, offsets, task_id, since, deadline)
    yield _pushed(socket, task_id, since, deadline)
    successor = _until(deadline, lambda: _successor(api, task_id), _missing_successor(task_id))
    yield Link("next occurrence", time.monotonic() - since, f"task {successor['id']}, due {successor['due_date']}")
    wanted = {(task_id, "task.created"), (task_id, "task.completed"), (successor["id"], "task.created")}
    rows = _until(
        deadline, lambda: _audited(api, wanted), "audit rows: audit has not written them (todoctl logs audit)"
    )
    yield Link("audit rows", time.monotonic() - since, f"{rows} rows of both tasks")
    api.delete_task(successor["id"])


def _mail(kept_mails: Callable[[], list[Mail]], task_id: int, email: str, due: datetime, deadline: float) -> Link:
    mail = _until(deadline, lambda: _reminded(kept_mails(), task_id, email), _missing_mail(task_id))
    late = (mail.kept_at - due).total_seconds()
    return Link("reminder mail", late, f"{mail.message_id}, kept {late:.2f} s after it was due")


def _task(now: datetime) -> dict[str, Any]:
    return {
        "title": "todoctl smoke",
        "due_date": (now + timedelta(days=1)).replace(microsecond=0).isoformat(),
        "recurrence_rule": {"frequency": "daily"},
        "tags": ["smoke"],
    }


def _reminder(due: datetime) -> dict[str, Any]:
    return {"title": "todoctl smoke", "due_date": due.isoformat(), "reminder_offset": "PT0S", "tags": ["smoke"]}


def _reminded(kept: list[Mail], task_id: int, email: str) -> Mail | None:
    return next((mail for mail in kept if mail.task_id == task_id and mail.to == email), None)


def _missing_mail(task_id: int) -> str:
    return f"reminder mail: the reminder of task {task_id} is due, no mail was kept (todoctl logs api notification)"


def _event(broker: client.Broker, offsets: dict[int, int], task_id: int, since: float, deadline: float) -> Link:
    for key, value, _ in records.read_from(broker, TASK_EVENTS, offsets, deadline=deadline):
        try:
            event = json.loads(value or b"")
            found = event["type"] == "task.completed" and event["data"]["task_id"] == task_id
        except (ValueError, KeyError, TypeError):
            continue
        if found:
            text = f"{event['type']} {event['id']}, key {(key or b'').decode(errors='replace')}"
            return Link("event on the topic", time.monotonic() - since, text)
    raise UnhealthyError(
        "the chain breaks at: event on the topic. The completion was accepted, its event did not reach task-events",
        hint="todoctl doctor; todoctl logs api api-daprd",
    )


def _pushed(socket: sync.Socket, task_id: int, since: float, deadline: float) -> Link:
    try:
        while True:
            message = socket.next("task.sync", deadline=deadline)
            if message["task"]["id"] == task_id and message["task"]["status"] == "completed":
                text = f"task.sync of task {task_id}, user_seq {message['user_seq']}"
                return Link("socket", time.monotonic() - since, text)
    except sync.SocketError as error:
        raise UnhealthyError(
            "the chain breaks at: socket. sync has not pushed the completed task (todoctl logs sync)",
            hint="todoctl doctor",
        ) from error


def _successor(api: Api, task_id: int) -> dict[str, Any] | None:
    return next((task for task in api.tasks() if task.get("parent_task_id") == task_id), None)


def _missing_successor(task_id: int) -> str:
    return f"next occurrence: the event of task {task_id} is on the topic, recurring has not made the next task (todoctl logs recurring)"


def _audited(api: Api, wanted: set[tuple[int, str]]) -> int | None:
    seen = [
        (int(row["resource_id"]), row["action_type"])
        for row in api.audit_logs(resource_type="task")
        if str(row.get("resource_id", "")).isdigit()
    ]
    tasks = {task for task, _ in wanted}
    return sum(task in tasks for task, _ in seen) if wanted <= set(seen) else None


def _until(deadline: float, look: Callable[[], Any], missing: str) -> Any:
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise UnhealthyError(f"the chain breaks at: {missing}", hint="todoctl doctor")
        time.sleep(0.1)
