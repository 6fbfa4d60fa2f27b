"""Looks up everything about one task, event, correlation id or dead letter, wherever it may have left something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from todoctl.adapters import postgres, todo_rows
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.mails import Mail as KeptMail
from todoctl.core import trace_found
from todoctl.core.events import EVENT_MODELS, REMINDERS
from todoctl.core.parts import OPERATOR_ROLE
from todoctl.core.trace import Facts, Letter, Mail, Reminder, Seen, Subject, Task
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.platform import Platform
from todoctl.operations.trace_topics import Topics

_DUE = "reminder.due"


@dataclass(frozen=True)
class Edges:
    """Where a trace looks: each call raises a TodoctlError where it can't.

    `intent` gives the sender's note on one reminder's mail by its key, `ailing` what parts say is wrong with them.
    """

    values: Values
    database: Callable[[], str]
    broker: Callable[[], Broker]
    replicas: Callable[[str], Sequence[str] | None]
    mails: Callable[[], list[KeptMail]]
    intent: Callable[[str], Mapping[str, Any] | None]
    ailing: Callable[[], Mapping[str, str]]
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class Limits:
    """How far an id is looked for on topics: from this long ago, in at most so many records of each partition."""

    since: timedelta
    records: int


@dataclass
class _Found:
    """What was found so far."""

    subject: Subject
    tasks: list[Task] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    letters: dict[str, Letter] = field(default_factory=dict)
    reminders: list[Reminder] = field(default_factory=list)
    successors: Mapping[int, Task] = field(default_factory=dict)
    blind: dict[str, str] = field(default_factory=dict)

    def take(self, found: Iterable[Seen | Letter | None]) -> None:
        """Keep what is about something."""
        for item in found:
            if isinstance(item, Seen):
                self.seen.append(item)
            elif isinstance(item, Letter):
                self.letters.setdefault(item.letter_id, item)


def edges_of(platform: Platform) -> Edges:
    """Where a platform can be looked at."""
    return Edges(
        values=platform.values,
        database=lambda: platform.database_url(OPERATOR_ROLE),
        broker=platform.broker,
        replicas=platform.replicas,
        mails=lambda: platform.mails() if platform.keeps_mails() else [],
        intent=platform.intent,
        ailing=platform.ailing,
        clock=lambda: datetime.now(UTC),
    )


def collect(edges: Edges, subject: Subject, limits: Limits) -> Facts:
    """Everything that is known about the subject now; what could not be looked at is in `blind`."""
    found = _Found(subject)
    topics = Topics(edges.values, edges.broker, limits.records, edges.clock() - limits.since, edges.replicas)
    # Before the rows: what a consumer has passed by now has left its effect by the time that the effect is looked for.
    groups = topics.groups({*EVENT_MODELS})
    _rows(edges, found, _read_subject)
    _search(topics, found)
    # What the topics told may lead to rows that nothing else led to.
    _rows(edges, found, _read_consequences)
    events = trace_found.join(found.seen)
    found.take(topics.find_letters(events))
    found.letters = topics.decided(found.letters.values())
    with ThreadPoolExecutor(max_workers=1) as pool:
        ailing = pool.submit(edges.ailing)
        mails, complaints = _mails(edges, events)
        return Facts(
            subject=found.subject,
            now=edges.clock(),
            tasks=tuple(found.tasks),
            events=events,
            letters=tuple(found.letters.values()),
            reminders=tuple(found.reminders),
            successors=found.successors,
            groups=groups,
            mails=mails,
            ailing={**ailing.result(), **topics.deaf},
            blind={**found.blind, **complaints, **topics.blind},
            records_read=topics.records_read,
        )


def _rows(edges: Edges, found: _Found, read: Callable[[Any, _Found], None]) -> None:
    if found.blind:
        return
    try:
        with postgres.connect(edges.database()) as link:
            read(link, found)
    except TodoctlError as error:
        found.blind |= dict.fromkeys(("api", "outbox", "audit log"), error.message)


def _read_subject(link: Any, found: _Found) -> None:
    """The rows that the subject leads to, and what it is where that was open."""
    subject = found.subject
    if subject.kind == "task":
        _read_task(link, found, int(subject.id))
        return
    ids = [subject.id] if subject.kind != "correlation" else []
    words = [subject.id] if subject.kind in {None, "correlation"} else []
    found.take(map(trace_found.in_audit, todo_rows.audited(link, event_ids=ids, correlations=words)))
    found.take(map(trace_found.in_outbox, todo_rows.waiting(link, users=[], word=subject.id)))
    found.subject = _recognised(found)
    if found.subject.kind in {"event", "letter"}:
        _keep_one(link, found)


def _read_task(link: Any, found: _Found, number: int) -> None:
    found.tasks = todo_rows.tasks(link, [number])
    found.reminders = todo_rows.reminders(link, [number])
    rows = todo_rows.audited(link, tasks=[number], reminders=[row.id for row in found.reminders])
    found.take(map(trace_found.in_audit, rows))
    for task in found.tasks:
        waiting = map(trace_found.in_outbox, todo_rows.waiting(link, users=[task.user_id], word=""))
        found.take(seen for seen in waiting if seen and seen.task_id == number)
        found.seen += [*todo_rows.changes(link, task), *_fired(task, found.reminders)]


def _fired(task: Task, reminders: Iterable[Reminder]) -> list[Seen]:
    """The event that each reminder which was claimed must have become."""
    return [
        Seen(
            topic=REMINDERS,
            type=_DUE,
            user_id=task.user_id,
            task_id=task.id,
            user_seq=0,
            occurred_at=row.trigger_at,
            payload={"reminder_id": row.id, "trigger_at": row.trigger_at.isoformat()},
        )
        for row in reminders
        if row.state == "fired"
    ]


def _recognised(found: _Found) -> Subject:
    subject = found.subject
    if subject.kind is not None:
        return subject
    if subject.id in found.letters:
        return Subject("letter", subject.id)
    if any(seen.event_id == subject.id for seen in found.seen):
        return Subject("event", subject.id)
    return Subject("correlation", subject.id) if found.seen or found.letters else subject


def _keep_one(link: Any, found: _Found) -> None:
    """Only the one event, or the letter with the event that it is about."""
    wanted = found.subject.id
    if found.subject.kind == "letter":
        letter = found.letters.get(wanted)
        found.letters = {wanted: letter} if letter else {}
        wanted = (letter.event_id if letter else None) or ""
        if _is_uuid(wanted):
            found.take(map(trace_found.in_audit, todo_rows.audited(link, event_ids=[wanted])))
    found.seen = [seen for seen in found.seen if seen.event_id == wanted]


def _is_uuid(word: str) -> bool:
    # A letter repeats what its record called itself, which may be anything.
    try:
        UUID(word)
    except ValueError:
        return False
    return True


def _search(topics: Topics, found: _Found) -> None:
    """Look on the topics for what no row says the place of; for everything with the id where no row knows it."""
    events = trace_found.join(found.seen)
    found.seen += topics.find([seen for seen in events if seen.place is None and seen.waits_since is None])
    if events or found.letters or found.subject.kind == "task":
        return
    found.take(topics.find_word(found.subject.id))
    found.subject = _recognised(found)


def _read_consequences(link: Any, found: _Found) -> None:
    """What came of the events: letters, results of reminders, next tasks; and the tasks that they are about."""
    events = trace_found.join(found.seen)
    reminders = {seen.reminder for seen in events if seen.reminder}
    if reminders:
        rows = todo_rows.audited(link, reminders=[number for number, _ in reminders])
        told = map(trace_found.in_audit, rows)
        found.take(item for item in told if isinstance(item, Seen) and item.reminder in reminders)
    ids = {seen.event_id for seen in events}
    rows = todo_rows.audited(link, correlations=[*{seen.correlation_id for seen in events if seen.correlation_id}])
    about = map(trace_found.in_audit, rows)
    found.take(item for item in about if isinstance(item, Letter) and item.event_id in ids)
    numbers = sorted({seen.task_id for seen in events})
    found.tasks = found.tasks or todo_rows.tasks(link, numbers)
    found.successors = todo_rows.successors(link, numbers)


def _mails(edges: Edges, events: Iterable[Seen]) -> tuple[dict[tuple[int, datetime], Mail], dict[str, str]]:
    """What is known of the mail of each reminder that was due, and why something could not be looked at."""
    due = [seen.reminder for seen in events if seen.type == _DUE and seen.reminder]
    found: dict[tuple[int, datetime], Mail] = {}
    try:
        kept = edges.mails() if due else []
        for number, moment in due:
            name = f"reminder-{number}-{round(moment.timestamp() * 1_000_000)}"
            mail = next((mail for mail in kept if mail.message_id.startswith(f"<{name}@")), None)
            found[number, moment] = Mail(mail.kept_at, mail.message_id) if mail else _noted(edges.intent(name))
    except TodoctlError as error:
        return found, {"mail": error.message}
    return found, {}


def _noted(intent: Mapping[str, Any] | None) -> Mail:
    return Mail() if intent is None else Mail(intent=str(intent.get("state")), words=str(intent.get("words") or ""))
