"""What a trace is about and what was found of it: plain values, whoever looked them up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

Kind = Literal["task", "event", "correlation", "letter"]
KINDS: tuple[Kind, ...] = ("task", "event", "correlation", "letter")

# done: seen to have happened. ahead: not due yet. gap: the path ends here. blind: it could not be looked at.
State = Literal["done", "ahead", "gap", "blind"]
Verdict = Literal["complete", "broken", "unknown"]

# As services take them from X-Request-ID.
_WORD = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True)
class Subject:
    """What to trace; of kind None where only the looking can tell what the id is."""

    kind: Kind | None
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}" if self.kind else self.id


def parse_subject(text: str) -> Subject:
    """The subject that was typed: `task:42`, `event:…`, `correlation:…`, `letter:…`, or an id that speaks for itself.

    A number is a task; a UUID may be an event, a letter or a correlation id; anything else is a correlation id.

    Raises:
        ValueError: it is nothing of these.
    """
    prefix, colon, rest = text.partition(":")
    kind = next((kind for kind in KINDS if colon and kind == prefix), None)
    word = rest if kind else text
    if kind == "task" or (kind is None and word.isascii() and word.isdigit()):
        if not (word.isascii() and word.isdigit()) or not 0 < int(word) < 2**63:
            raise ValueError(f"{word!r} is not the number of a task")
        return Subject("task", str(int(word)))
    if kind in {"event", "letter"}:
        return Subject(kind, _uuid(word))
    if not _WORD.fullmatch(word):
        raise ValueError(f"{text!r} is no id: a task's number, a UUID or a correlation id without spaces")
    if kind is None and _is_uuid(word):
        return Subject(None, word)
    return Subject("correlation", word)


def _uuid(word: str) -> str:
    if not _is_uuid(word):
        raise ValueError(f"{word!r} is not a UUID")
    return str(UUID(word))


def _is_uuid(word: str) -> bool:
    try:
        UUID(word)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, order=True)
class Place:
    """Where a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}@{self.offset}"


@dataclass(frozen=True)
class AuditRow:
    """A row of the audit log: its number, its place in the chain, when it was written."""

    log_id: int
    chain_seq: int
    recorded_at: datetime


@dataclass(frozen=True)
class Letter:
    """A dead letter about a record, where the letter itself lies, and what was decided about it, if anything was."""

    letter_id: str
    consumer: str
    error_class: str
    message: str
    attempts: int
    failed_at: datetime
    event_id: str | None
    origin: Place | None
    place: Place | None
    decision: str = ""
    is_settled: bool = False
    correlation_id: str = ""

    @property
    def ids(self) -> set[str | None]:
        """What it can be asked for by."""
        return {self.letter_id, self.event_id, self.correlation_id}


@dataclass(frozen=True)
class Seen:
    """An event and how far it was seen to have come; without an id it follows from a row and was seen nowhere.

    `searched` says where it was looked for on its topic in vain; `is_searched` whether that was all of where it can be.
    """

    topic: str
    type: str
    user_id: int
    task_id: int
    user_seq: int
    occurred_at: datetime
    event_id: str | None = None
    correlation_id: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    waits_since: datetime | None = None
    place: Place | None = None
    published_at: datetime | None = None
    audit: AuditRow | None = None
    searched: str = ""
    is_searched: bool = True

    @property
    def ids(self) -> set[str | None]:
        """What it can be asked for by."""
        return {self.event_id, self.correlation_id}

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells the event from others where no id is known: each change has one number, each reminder one time."""
        return self.topic, self.type, self.task_id, self.reminder or self.user_seq

    @property
    def reminder(self) -> tuple[int, datetime] | None:
        """The reminder that it is about and when that was due; None for events of tasks."""
        number, moment = self.payload.get("reminder_id"), self.payload.get("trigger_at")
        if not isinstance(number, int) or not isinstance(moment, str):
            return None
        try:
            return number, datetime.fromisoformat(moment)
        except ValueError:
            return None


@dataclass(frozen=True)
class GroupPlace:
    """A consumer group on one partition: committed up to, first and next offset; state and members of the group."""

    group: str
    state: str
    members: int
    committed: int | None
    start: int
    end: int

    @property
    def lag(self) -> int:
        """Records that the group has still before it, all where it never committed."""
        return max(0, self.end - (self.start if self.committed is None else self.committed))


@dataclass(frozen=True)
class Task:
    """A task's row, with the number of the task that it follows."""

    id: int
    user_id: int
    status: str
    version: int
    title: str
    created_at: datetime
    parent_task_id: int | None


@dataclass(frozen=True)
class Reminder:
    """A reminder's row."""

    id: int
    task_id: int
    trigger_at: datetime
    state: str


@dataclass(frozen=True)
class Mail:
    """What is known of one reminder's mail: kept by the sink, and how far the sender's own note says it came."""

    kept_at: datetime | None = None
    message_id: str = ""
    intent: str | None = None
    words: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything that was found; `blind` has, by what was to be looked at, why it could not be.

    `groups` by (service, topic, partition), `successors` by the number of the task before, `mails` by reminder and due
    time, `ailing` what a service says is wrong with it.
    """

    subject: Subject
    now: datetime
    tasks: tuple[Task, ...] = ()
    events: tuple[Seen, ...] = ()
    letters: tuple[Letter, ...] = ()
    reminders: tuple[Reminder, ...] = ()
    successors: Mapping[int, Task] = field(default_factory=dict)
    groups: Mapping[tuple[str, str, int], GroupPlace] = field(default_factory=dict)
    mails: Mapping[tuple[int, datetime], Mail] = field(default_factory=dict)
    ailing: Mapping[str, str] = field(default_factory=dict)
    blind: Mapping[str, str] = field(default_factory=dict)
    records_read: int = 0


@dataclass(frozen=True)
class Step:
    """One thing that happened, or that should have: when (None where it did not), where, in which words."""

    at: datetime | None
    stage: str
    state: State
    words: str
    event_id: str | None = None

    def document(self) -> dict[str, Any]:
        """The step as JSON has it."""
        return {
            "at": self.at and self.at.isoformat(),
            "stage": self.stage,
            "state": self.state,
            "event_id": self.event_id,
            "words": self.words,
        }


@dataclass(frozen=True)
class Trace:
    """All steps, those with a time in its order, and what they come to."""

    subject: Subject
    verdict: Verdict
    steps: tuple[Step, ...]
    records_read: int

    def document(self) -> dict[str, Any]:
        """The trace as JSON has it."""
        return {
            "subject": {"kind": self.subject.kind, "id": self.subject.id},
            "verdict": self.verdict,
            "gaps": self.gaps,
            "blind": self.blind,
            "records_read": self.records_read,
            "steps": [step.document() for step in self.steps],
        }

    @property
    def gaps(self) -> list[str]:
        """Where the path ends, in words."""
        return [f"{step.stage}: {step.words}" for step in self.steps if step.state == "gap"]

    @property
    def blind(self) -> list[str]:
        """What could not be looked at, and why; what may be the cause of others first."""
        steps = sorted(
            (step for step in self.steps if step.state == "blind"), key=lambda step: step.event_id is not None
        )
        return [f"{step.stage}: {step.words}" for step in steps]
