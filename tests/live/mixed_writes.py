"""Mixed writes of one user: what was acknowledged is written down, and compared with everything that came of it."""

from __future__ import annotations

import random
import secrets
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import httpx

from tests.live.users import User, pause

# Reminders whose moment comes during the kills, and when the last of them has passed.
_SOON, _LATEST = 15, 45
_MIX = {"create": 34, "remind": 16, "edit": 22, "complete": 14, "reopen": 5, "delete": 5, "give_up": 4}


@dataclass(frozen=True)
class View:
    """A task as an acknowledged write left it; it came to be somewhere between `sent` and `heard`."""

    task: dict[str, Any]
    event_type: str
    sent: datetime
    heard: datetime

    @property
    def reminds_at(self) -> datetime | None:
        """When the reminder of this task, as it was then, is due."""
        task = self.task
        # All reminders of these tasks are due with their tasks.
        is_standing = task["status"] == "open" and task["due_date"] and task["reminder_offset"]
        return datetime.fromisoformat(task["due_date"]) if is_standing else None


@dataclass
class Scribe:
    """Writes as a careful client does; `views` has each task's acknowledged history, oldest first."""

    user: User
    chance: random.Random
    views: dict[int, list[View]] = field(default_factory=lambda: defaultdict(list))
    given_up: set[str] = field(default_factory=set)
    writes: int = 0

    def work(self, count: int, over: threading.Event) -> None:
        """At least `count` writes, and more until the kills are over."""
        while self.writes < count or not over.is_set():
            self._one()
            pause(self.chance.uniform(0.05, 0.3))

    def _one(self) -> None:
        wanted = self.chance.choices(tuple(_MIX), tuple(_MIX.values()))[0]
        if wanted == "give_up":
            self._give_up()
        elif wanted in {"create", "remind"}:
            self._create(soon=wanted == "remind")
        elif task := self._pick(wanted):
            self._change(wanted, task)

    def _create(self, *, soon: bool) -> None:
        later = timedelta(seconds=self.chance.randrange(_SOON, _LATEST)) if soon else timedelta(days=1)
        fields: dict[str, Any] = {"title": f"task {secrets.token_hex(4)}", "due_date": _in(later)}
        fields["priority"] = self.chance.choice(("low", "medium", "high", "urgent"))
        if soon or self.chance.random() < 0.3:
            fields["reminder_offset"] = "PT0S"
        if self.chance.random() < 0.5:
            fields["recurrence_rule"] = {"frequency": "daily"}
        self._write("task.created", "POST", "", fields)

    def _change(self, verb: str, task: dict[str, Any]) -> None:
        place = f"/{task['id']}"
        if verb == "edit":
            fields: dict[str, Any] = {"title": f"edited {secrets.token_hex(4)}"}
            if task["reminder_offset"] and self.chance.random() < 0.3:
                fields["due_date"] = _in(timedelta(seconds=_LATEST))
            self._write("task.updated", "PATCH", place, fields)
        elif verb == "delete":
            self._write("task.deleted", "DELETE", place, None, of=task)
        else:
            self._write(
                {"complete": "task.completed", "reopen": "task.reopened"}[verb], "POST", f"{place}/{verb}", None
            )

    def _give_up(self) -> None:
        """A task that is asked for once, by a client that hardly waits: it may be made or not."""
        title, headers = f"doubt {secrets.token_hex(4)}", {"Authorization": f"Bearer {self.user.token}"}
        self.given_up.add(title)
        try:
            httpx.post(self._url, json={"title": title}, headers=headers, timeout=0.03, trust_env=False)
        except httpx.HTTPError:
            return

    def _write(self, event_type: str, method: str, place: str, body: Any, *, of: dict[str, Any] | None = None) -> None:
        sent = datetime.now(UTC)
        answer = self.user.call(method, self._url + place, body=body, key=secrets.token_hex(8), seconds=300)
        if answer.status_code == 422 and "must be in the future" in answer.text:
            # It took so long to be heard that its due date had passed; nothing came of it.
            return
        assert answer.is_success, f"{method} {place}: {answer.status_code} {answer.text}"
        gone = {"status": "deleted", "version": int(answer.headers["etag"].strip('"'))}
        task = {**of, **gone} if of else answer.json()
        self.views[task["id"]].append(View(task, event_type, sent, datetime.now(UTC)))
        self.writes += 1

    def _pick(self, verb: str) -> dict[str, Any] | None:
        status = {"complete": ("open",), "reopen": ("completed",)}.get(verb, ("open", "completed"))
        found = [views[-1].task for views in self.views.values() if views[-1].task["status"] in status]
        return self.chance.choice(found) if found else None

    @property
    def _url(self) -> str:
        return f"{self.user.platform.url('api')}/api/tasks"


@dataclass(frozen=True)
class Found:
    """What the platform says of one user, read once everything should be settled."""

    changes: list[dict[str, Any]]
    tasks: list[dict[str, Any]]
    audit: list[dict[str, Any]]
    mails: Counter[str]

    @classmethod
    def of(cls, user: User, mails: Counter[str]) -> Found:
        """Everything that is found of the user now; `mails` counts all Message-IDs."""
        return cls(list(_changes(user)), user.tasks(), user.audit(), mails)


def differences(scribe: Scribe, found: Found) -> list[str]:
    """Where what was found does not agree with what was acknowledged, or with itself; empty when all is well."""
    return [*_tasks(scribe, found), *_rows(found), *_reminders(scribe, found)]


def _tasks(scribe: Scribe, found: Found) -> Iterator[str]:
    """Each task is as it was left, each first completion has one successor, and nothing else is there."""
    now = {change["task"]["id"]: change["task"] for change in found.changes}
    told = defaultdict(list)
    for change in found.changes:
        told[change["task"]["id"]].append(change["event_type"])
    for task_id, views in scribe.views.items():
        if now.get(task_id) is None or _lasting(now[task_id]) != _lasting(views[-1].task):
            yield f"task {task_id} was left as {views[-1].task} and is {now.get(task_id)}"
        if told[task_id] != [view.event_type for view in views]:
            yield f"task {task_id} had {[view.event_type for view in views]}, changes have {told[task_id]}"
    others = [task for task_id, task in now.items() if task_id not in scribe.views]
    expected = Counter({task_id: 1 for task_id, views in scribe.views.items() if _was_continued(views)})
    successors = Counter(task["parent_task_id"] for task in others if task["parent_task_id"])
    if successors != expected:
        yield f"successors: {(successors - expected) or '-'} too many, {(expected - successors) or '-'} missing"
    doubted = Counter(task["title"] for task in others if not task["parent_task_id"])
    if set(doubted) - scribe.given_up or max(doubted.values(), default=1) > 1:
        yield f"nobody asked for {set(doubted) - scribe.given_up or doubted}"
    if any(told[task["id"]] != ["task.created"] for task in others):
        yield "a task that was made once has more changes"
    listed = {task["id"]: task for task in found.tasks}
    if listed != {task_id: task for task_id, task in now.items() if task["status"] != "deleted"}:
        yield "the list and the changes tell of different tasks"


def _rows(found: Found) -> Iterator[str]:
    """Numbers without a gap, and for each of them exactly one audit row on each of two topics."""
    numbers = [change["user_seq"] for change in found.changes]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"numbers of changes: {numbers}"
    expected: Counter[tuple[Any, ...]] = Counter()
    for change in found.changes:
        place = (change["user_seq"], change["task"]["id"])
        expected[("task-events", change["event_type"], *place)] += 1
        expected[("task-updates", "task.sync", *place)] += 1
    rows = Counter(
        (row["topic"], row["action_type"], row["user_seq"], row["resource_id"])
        for row in found.audit
        if row["topic"] != "reminders"
    )
    if rows != expected:
        yield f"audit: {list((rows - expected).items())[:5]} too many, {list((expected - rows).items())[:5]} missing"


def _reminders(scribe: Scribe, found: Found) -> Iterator[str]:
    """Each reminder that stood at its moment fired once, no other did, and each has one end and the mail to it."""
    due: dict[tuple[int, datetime], list[str]] = defaultdict(list)
    ends: dict[tuple[int, datetime], list[str]] = defaultdict(list)
    ids: dict[tuple[int, datetime], str] = {}
    for row in found.audit:
        if row["topic"] == "reminders":
            payload = row["details"]["payload"]
            moment = datetime.fromisoformat(payload["trigger_at"])
            key = (row["details"]["task_id"], moment)
            ids[key] = f"<reminder-{payload['reminder_id']}-{round(moment.timestamp() * 1_000_000)}@"
            (due if row["action_type"] == "reminder.due" else ends)[key].append(row["action_type"])
    must = set(_must(scribe))
    for key in due.keys() | ends.keys() | must:
        mails = sum(count for name, count in found.mails.items() if key in ids and name.startswith(ids[key]))
        # Without an end it was called off between its moment and the mail, which nothing tells of.
        right = {("reminder.sent",): {1}, ("reminder.unknown",): {0, 1}, (): set() if key in must else {0}}
        if len(due[key]) != 1 or not _may(scribe, key) or mails not in right.get(tuple(ends[key]), set()):
            yield f"reminder {key}: {due[key]} {ends[key]} {mails} mails"


def _must(scribe: Scribe) -> Iterator[tuple[int, datetime]]:
    """Reminders that were acknowledged before their moment, and whose tasks were left open and unmoved since."""
    for task_id, views in scribe.views.items():
        moment = views[-1].reminds_at
        since = list(takewhile(lambda view, moment=moment: view.reminds_at == moment, reversed(views)))
        if moment and since[-1].heard < moment <= datetime.now(UTC):
            yield task_id, moment


def _may(scribe: Scribe, key: tuple[int, datetime]) -> bool:
    """Whether the task may have had this reminder when its moment had come."""
    views = scribe.views.get(key[0], [])
    replaced = [view.heard for view in views[1:]] + [datetime.max.replace(tzinfo=UTC)]
    return any(view.reminds_at == key[1] <= until for view, until in zip(views, replaced, strict=True))


def _was_continued(views: list[View]) -> bool:
    return any(view.event_type == "task.completed" and view.task["recurrence_rule"] for view in views)


def _lasting(task: dict[str, Any]) -> dict[str, Any]:
    """What an answer and a later reading have in common; a deletion's answer has no moment."""
    return {name: value for name, value in task.items() if name != "updated_at" or task["status"] != "deleted"}


def _changes(user: User) -> Iterator[dict[str, Any]]:
    cursor = 0
    while True:
        answer = user.call("GET", f"{user.platform.url('api')}/api/changes?since={cursor}&limit=500")
        page = answer.json()
        assert not page["resync"], page
        yield from page["items"]
        if not page["items"]:
            return
        cursor = page["cursor"]


def _in(later: timedelta) -> str:
    return (datetime.now(UTC) + later).isoformat()
