"""A trace's judgement: one hop after the other is taken away from what was found, and that hop is named."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.services.records import MOMENT, event, task
from tests.unit.sites import chart_values
from todoctl.core import dead_letters, trace_found
from todoctl.core.dead_letters import DeadLetter, Origin
from todoctl.core.events import Event, to_cloud_event
from todoctl.core.trace import (
    Facts,
    GroupPlace,
    Letter,
    Mail,
    Place,
    Reminder,
    Seen,
    Subject,
    Task,
    Trace,
    parse_subject,
)
from todoctl.core.trace_steps import tell

VALUES = chart_values()
NOW = MOMENT + timedelta(minutes=1)
ROW = Task(41, 7, "completed", 2, "Milk", MOMENT, None)
NEXT = Task(42, 7, "open", 1, "Milk", MOMENT + timedelta(seconds=2), 41)
DUE = (9, MOMENT)

SUBJECTS = [
    ("42", Subject("task", "42")),
    ("task:42", Subject("task", "42")),
    ("0042", Subject("task", "42")),
    ("3B2F6C1E-0d57-4c39-9d0e-5a6a3f1f7d10", Subject(None, "3B2F6C1E-0d57-4c39-9d0e-5a6a3f1f7d10")),
    ("event:3B2F6C1E-0d57-4c39-9d0e-5a6a3f1f7d10", Subject("event", "3b2f6c1e-0d57-4c39-9d0e-5a6a3f1f7d10")),
    ("letter:3b2f6c1e0d574c399d0e5a6a3f1f7d10", Subject("letter", "3b2f6c1e-0d57-4c39-9d0e-5a6a3f1f7d10")),
    ("correlation:42", Subject("correlation", "42")),
    ("smoke-1", Subject("correlation", "smoke-1")),
    ("a:b", Subject("correlation", "a:b")),
]


@pytest.mark.parametrize(("text", "subject"), SUBJECTS, ids=[text for text, _ in SUBJECTS])
def test_an_id_speaks_for_itself(text: str, subject: Subject) -> None:
    """A number is a task, a UUID is open, anything else a correlation id; a prefix decides."""
    assert parse_subject(text) == subject


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "task:", "task:x", "task:0", "0", "9" * 20, "event:1", "letter:", "a\nb", "ü", "x" * 201]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Nothing is looked for that can't be there."""
    with pytest.raises(ValueError, match=r"not|no id"):
        parse_subject(text)


def seen(topic: str, offset: int, **changes: Any) -> Seen:
    """An event that lies on its topic and in the audit log."""
    made = event(topic, **changes)
    row = {
        "topic": topic,
        "partition": 2,
        "record_offset": offset,
        "details": to_cloud_event(made, source="/todo/api")["data"],
        "log_id": offset,
        "chain_seq": offset,
        "recorded_at": MOMENT + timedelta(seconds=1),
    }
    found = trace_found.in_audit(row)
    assert isinstance(found, Seen)
    return found


def groups(**committed: int) -> dict[tuple[str, str, int], GroupPlace]:
    """Every group of the chart past offset 100 of partition 2, but for those that are given by service."""
    return {
        (app, item.topic, 2): GroupPlace(app, "Stable", 1, committed.get(app, 101), 0, 112)
        for app, service in VALUES.services.items()
        for item in service.subscribes
    }


SENT = {"event_type": "reminder.sent"}
WHOLE = Facts(
    subject=Subject("task", "41"),
    now=NOW,
    tasks=(ROW,),
    events=(
        seen("task-events", 100),
        seen("task-updates", 100),
        seen("reminders", 99),
        seen("reminders", 100, **SENT),
    ),
    successors={41: NEXT},
    groups=groups(),
    mails={DUE: Mail(MOMENT, "<reminder-9-1@x>")},
)
COMPLETED, UPDATE, REMINDER, RESULT = WHOLE.events


def but(number: int, **changes: Any) -> dict[str, Any]:
    """The whole facts' events with one of them changed."""
    events = list(WHOLE.events)
    events[number] = replace(events[number], **changes)
    return {"events": tuple(events)}


def letter(**changes: Any) -> Letter:
    """Recurring's letter about the completion."""
    fields: dict[str, Any] = {
        "letter_id": "l-1",
        "consumer": "recurring",
        "error_class": "RefusedByRuleError",
        "message": "no",
        "attempts": 5,
        "failed_at": NOW,
        "event_id": COMPLETED.event_id,
        "origin": COMPLETED.place,
        "place": Place("dlq-events", 0, 1),
    }
    return Letter(**fields | changes)


def told(**changes: Any) -> Trace:
    """What is told of the whole facts with some of them changed."""
    return tell(replace(WHOLE, **changes), VALUES)


def test_a_whole_path_is_complete() -> None:
    """Every stage of every event, in the order of what happened."""
    whole = told()
    assert (whole.verdict, whole.gaps, whole.blind) == ("complete", [], [])
    assert {step.stage for step in whole.steps} == {
        *("api", "notification", "topic task-events", "topic task-updates", "topic reminders"),
        *("recurring", "audit", "sync", "mail"),
    }
    moments = [step.at for step in whole.steps if step.at]
    assert moments == sorted(moments)


REMOVED = {
    "outbox held back": (
        but(0, place=None, audit=None, waits_since=NOW - timedelta(seconds=12)),
        ["outbox: task.completed: task-events: in the outbox for 12 s, not published, next retry within 2.5 s"],
    ),
    "api down too": (
        but(0, place=None, audit=None, waits_since=NOW) | {"ailing": {"api": "no answer"}},
        [
            "outbox: task.completed: task-events: in the outbox for 0 s, not published, no retry before api is back; api: no answer"
        ],
    ),
    "never published": (
        but(0, place=None, audit=None, searched="looked at 5 records"),
        [
            "topic task-events: task.completed: not in the outbox and not on its topic (looked at 5 records): it was never published, or is lost"
        ],
    ),
    "recurring behind": (
        {"groups": groups(recurring=100), "ailing": {"recurring": "503: paused"}, "successors": {}},
        [
            "recurring: task.completed published, not consumed by recurring, lag 12; group recurring is stable, next retry within 1s; recurring: 503: paused"
        ],
    ),
    "sync behind": (
        {"groups": groups(sync=100)},
        ["sync: task.sync published, not consumed by sync, lag 12; group sync is stable, next retry within 1s"],
    ),
    "no next occurrence": (
        {"successors": {}},
        ["recurring: task.completed was consumed, task 41 has no next occurrence: todoctl logs recurring"],
    ),
    "audit row missing": (
        but(1, audit=None),
        ["audit: task.sync: audit has passed task-updates/2@100 and has no row of it: todoctl verify audit"],
    ),
    "mail gone": (
        {"mails": {DUE: Mail()}},
        ["mail: reminder 9: said to be sent, and the sink has no such mail"],
    ),
    "mail never sent": (
        {"mails": {DUE: Mail()}, "events": WHOLE.events[:3]},
        ["mail: reminder 9: consumed by notification, no mail was sent (never begun)"],
    ),
    "mail unknown": (
        {"mails": {DUE: Mail(intent="unknown")}, "events": WHOLE.events[:3]},
        ["mail: reminder 9: unknown; it may have been sent and is not sent again"],
    ),
    "reminder not claimed": (
        {
            "tasks": (replace(ROW, status="open"),),
            "reminders": (Reminder(9, 41, NOW - timedelta(seconds=40), "scheduled"),),
        },
        ["reminder: reminder 9 of task 41 is due for 40 s and not claimed, next sweep within 15 s"],
    ),
    "dead letter": (
        {"letters": (letter(),), "successors": {}},
        [
            "dead letter: dead letter l-1 by recurring: RefusedByRuleError: no (5 attempts, task-events/2@100); pending: todoctl dlq show"
        ],
    ),
}


@pytest.mark.parametrize(("changes", "gaps"), REMOVED.values(), ids=REMOVED.keys())
def test_a_hop_that_is_missing_is_named(changes: dict[str, Any], gaps: list[str]) -> None:
    """Exactly the missing hop is a gap, in words, and nothing else is."""
    found = told(**changes)
    assert found.gaps == gaps
    assert found.verdict == "broken"


BLIND = {
    "database": {"events": (), "blind": {"api": "PostgreSQL: refused"}},
    "kafka": {"groups": {}, "blind": {"kafka": "no answer"}},
    "search cut": but(0, place=None, audit=None, searched="looked at 5 records, 9 more", is_searched=False),
    "mails": {"mails": {}, "blind": {"mail": "the sidecar is away"}, "events": WHOLE.events[:3]},
    "nothing found": {"events": ()},
}


@pytest.mark.parametrize("changes", BLIND.values(), ids=BLIND.keys())
def test_what_could_not_be_looked_at_is_no_success(changes: dict[str, Any]) -> None:
    """Not complete, not broken either: it is said what is not known."""
    found = told(**changes)
    assert (found.verdict, found.gaps) == ("unknown", [])
    assert found.blind or not found.steps


def test_a_group_that_could_not_be_asked_says_why() -> None:
    """The reason stands in the step of the consumer that matters."""
    known = {key: group for key, group in groups().items() if key[0] != "recurring"}
    found = told(groups=known, ailing={"group recurring": "no answer in 5 s"})
    assert found.blind == [
        "recurring: task.completed: how far the group recurring is could not be looked at: no answer in 5 s"
    ]


def test_a_series_that_has_ended_has_no_next_task() -> None:
    """The event alone says whether something follows."""
    payload = {"task": {**COMPLETED.payload["task"], "series": None}}
    assert told(**but(0, payload=payload), successors={}).verdict == "complete"


def test_what_is_not_due_yet_is_ahead() -> None:
    """A reminder of tomorrow breaks nothing."""
    rows = (Reminder(9, 41, NOW + timedelta(days=1), "scheduled"),)
    found = told(reminders=rows, tasks=(replace(ROW, status="open"),))
    assert found.verdict == "complete"
    assert [step.state for step in found.steps if step.stage == "reminder"] == ["ahead"]


def test_a_reminder_that_was_moved_needs_no_mail() -> None:
    """Its sender's note says so."""
    assert told(mails={DUE: Mail(intent="stale")}, events=WHOLE.events[:3]).verdict == "complete"


def test_a_settled_letter_breaks_nothing() -> None:
    """What was decided about it stands in place of the effect."""
    settled = (letter(decision="replayed by ann at 12:00", is_settled=True),)
    found = told(letters=settled, groups=groups(recurring=112))
    assert found.verdict == "complete"
    assert any("replayed by ann" in step.words for step in found.steps)
    assert told(letters=settled, groups=groups(recurring=112), successors={}).gaps == [
        "recurring: task.completed was consumed, task 41 has no next occurrence: todoctl logs recurring"
    ]
    assert told(letters=settled).gaps == ["recurring: task.completed was replayed, recurring has 11 records before it"]


def test_an_every_replica_group_that_began_later_has_missed_nothing() -> None:
    """It starts at the newest record; older changes reach its clients from the database."""
    places = {key: replace(group, committed=None) if key[0] == "sync" else group for key, group in groups().items()}
    assert told(groups=places).verdict == "complete"
    dead = {key: replace(group, members=0) if key[0] == "sync" else group for key, group in places.items()}
    assert told(groups=dead).verdict == "broken"


def test_sightings_of_one_event_are_joined() -> None:
    """A change, its entry in the outbox, its record and its audit row are one event."""
    made = event("task-events")
    data = to_cloud_event(made, source="/todo/api")
    change = Seen("task-events", made.event_type, 7, 41, 3, MOMENT)
    waiting = trace_found.in_outbox({"topic": "task-events", "envelope": data, "created_at": MOMENT})
    record = trace_found.in_record(Place("task-events", 2, 5), _bytes(made), 1_795_475_961_184)
    assert waiting is not None
    assert isinstance(record, Seen)
    [one] = trace_found.join([change, waiting, record])
    assert one.event_id == str(made.event_id)
    assert (one.waits_since, one.place) == (MOMENT, Place("task-events", 2, 5))
    assert one.published_at == datetime.fromtimestamp(1_795_475_961.184, UTC)
    assert one.payload["task"]["title"] == task().title


def test_a_record_is_asked_for_by_its_ids_alone() -> None:
    """Where a part of an id found records of others, audit had no row of them: gaps that were none."""
    made = event("task-events")
    seen = trace_found.in_record(Place("task-events", 2, 5), _bytes(made), 0)
    assert seen is not None
    assert seen.ids == {str(made.event_id), made.correlation_id}
    letter = DeadLetter(
        consumer="audit",
        kind="unknown",
        error_class="E",
        message="m",
        attempts=1,
        origin=Origin(topic="task-events"),
        value="",
        event_id="event",
        correlation_id="correlation",
        failed_at=MOMENT,
    )
    value = json.dumps(dead_letters.to_cloud_event(letter)).encode()
    found = trace_found.in_record(Place("dlq-events", 0, 0), value, 0)
    assert found is not None
    assert found.ids == {str(letter.letter_id), "event", "correlation"}


@pytest.mark.parametrize(
    "value", [None, b"", b"{}", b"[]", b"null", b'{"data": 5}', b'{"data": {"user_id": "7"}}', b"\xff", b"[" * 100_000]
)
def test_a_record_that_is_nothing_of_ours_is_passed_over(value: bytes | None) -> None:
    """Topics may hold anything."""
    assert trace_found.in_record(Place("task-events", 0, 0), value, 0) is None
    assert trace_found.in_record(Place("dlq-events", 0, 0), value, 0) is None


def _bytes(made: Event) -> bytes:
    return json.dumps(to_cloud_event(made, source="/todo/api")).encode()
