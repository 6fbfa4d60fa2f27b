"""What a trace says: the steps of each event in order, with the gaps named in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import itemgetter
from typing import Any

from pydantic import ValidationError

from todoctl.core.dapr import local_group
from todoctl.core.events import TaskSnapshot
from todoctl.core.recurrence import Occurrence, RecurrenceRule, next_occurrence, to_utc
from todoctl.core.trace import Facts, Letter, Seen, State, Step, Trace, Verdict
from todoctl.core.values import Subscription, Values

# The sweep comes every 15 s; docs/decisions/0013-reminders.md.
_SWEEP_SECONDS = 15
# The longest pause of the outbox's relay between two tries, as services/api/backoff.py has it.
_RELAY_SECONDS = 2.5


def tell(facts: Facts, values: Values) -> Trace:
    """The timeline of what was found, judged: broken where a step is missing, unknown where one could not be seen."""
    paths = [list(_event(facts, values, seen)) for seen in facts.events]
    paths += [[step] for step in (*_reminders(facts), *map(_letter, facts.letters))]
    paths += [[Step(None, where, "blind", f"could not look: {why}")] for where, why in facts.blind.items()]
    timed = [item for path in paths for item in _timed(path, facts.now)]
    # Python's sort keeps the order of equals, so the steps of one path stay in theirs.
    steps = [step for _, step in sorted(timed, key=itemgetter(0))]
    verdict: Verdict = "complete"
    if any(step.state == "blind" for step in steps) or not facts.events:
        verdict = "unknown"
    if any(step.state == "gap" for step in steps):
        verdict = "broken"
    return Trace(facts.subject, verdict, tuple(steps), facts.records_read)


def _timed(path: list[Step], now: datetime) -> Iterator[tuple[datetime, Step]]:
    """Each step with the moment to show it at: where it has none, right behind the one before it."""
    last = path[0].at or now if path else now
    for step in path:
        last = step.at or last
        yield last, step


def _event(facts: Facts, values: Values, seen: Seen) -> Iterator[Step]:
    name = f"{seen.type} of task {seen.task_id}"
    yield Step(
        seen.occurred_at, _source(seen), "done", f"{name}, user {seen.user_id}, seq {seen.user_seq}", seen.event_id
    )
    if seen.waits_since is not None:
        yield _waiting(facts, seen)
    if seen.place is None:
        if seen.waits_since is None:
            yield _missing(seen)
        return
    yield _published(facts, seen)
    for app, service in values.services.items():
        for item in service.subscribes:
            if item.topic == seen.topic:
                yield from _consumed(facts, seen, app, item, values)


def _source(seen: Seen) -> str:
    return "notification" if seen.type in {"reminder.sent", "reminder.failed", "reminder.unknown"} else "api"


def _waiting(facts: Facts, seen: Seen) -> Step:
    age = (facts.now - seen.waits_since).total_seconds() if seen.waits_since else 0.0
    where = f"{seen.topic}: in the outbox for {age:.0f} s"
    if seen.place is not None:
        return Step(None, "outbox", "done", f"{where}, published and not removed yet", seen.event_id)
    why = "".join(f"; {app}: {facts.ailing[app]}" for app in ("api", "api-daprd", "kafka") if app in facts.ailing)
    retry = f"next retry within {_RELAY_SECONDS} s" if "api" not in facts.ailing else "no retry before api is back"
    return Step(None, "outbox", "gap", f"{seen.type}: {where}, not published, {retry}{why}", seen.event_id)


def _missing(seen: Seen) -> Step:
    stage = f"topic {seen.topic}"
    if not seen.is_searched or not seen.searched:
        return Step(None, stage, "blind", f"{seen.type}: not found; {seen.searched or 'not looked'}")
    words = f"{seen.type}: not in the outbox and not on its topic ({seen.searched}): it was never published, or is lost"
    return Step(None, stage, "gap", words)


def _published(facts: Facts, seen: Seen) -> Step:
    place = seen.place
    group = next(
        (
            g
            for (_, topic, number), g in facts.groups.items()
            if place and (topic, number) == (place.topic, place.partition)
        ),
        None,
    )
    gone = group is not None and place is not None and place.offset < group.start
    kept = ", since removed by the topic's retention" if gone else ""
    return Step(
        seen.published_at, f"topic {seen.topic}", "done", f"{seen.type} published: {place}{kept}", seen.event_id
    )


def _consumed(facts: Facts, seen: Seen, app: str, item: Subscription, values: Values) -> Iterator[Step]:
    """What the service did with the record; nothing can be said of what comes after a record that it has before it."""
    passed = _passed(facts, seen, app)
    if app == "audit":
        yield _audited(facts, seen, values, passed=passed)
        return
    if passed is None:
        name, why = _deaf(facts, app, item)
        words = f"{seen.type}: how far the {name} is could not be looked at: {why}"
        yield Step(None, app, "blind", words, seen.event_id)
        return
    if not passed and not _began_later(facts, seen, app, item):
        yield _behind(facts, seen, app, values)
        return
    letters = [letter for letter in facts.letters if letter.consumer == app and letter.origin == seen.place]
    if letters:
        # A letter has a step of its own, which says what became of it.
        if all(letter.is_settled for letter in letters):
            yield from _replayed(facts, seen, app)
        return
    word = "consumed" if passed else "is older than this replica, whose clients catch up from api"
    pushed = ", pushed to the user's open sockets" if item.every_replica and passed else ""
    yield Step(None, app, "done", f"{seen.type} {word}{pushed}", seen.event_id)
    if app == "recurring":
        yield from _successor(facts, seen)
    if app == "notification":
        yield from _mail(facts, seen)


def _deaf(facts: Facts, app: str, item: Subscription) -> tuple[str, str]:
    """The group that could not be looked at, and why."""
    own = f"group {local_group(app, item)}"
    replicas = (name for name in facts.ailing if item.every_replica and name.startswith(f"group {app}-"))
    name = next(replicas, own)
    return name, facts.ailing.get(name, "not known")


def _passed(facts: Facts, seen: Seen, app: str) -> bool | None:
    place = seen.place
    group = facts.groups.get((app, place.topic, place.partition)) if place else None
    if group is None or place is None:
        return None
    return group.committed is not None and group.committed > place.offset


def _replayed(facts: Facts, seen: Seen, app: str) -> Iterator[Step]:
    """What became of the record that was published again: behind the first one, in its partition."""
    place = seen.place
    group = facts.groups.get((app, place.topic, place.partition)) if place else None
    if group is None or group.lag:
        words = (
            f"{seen.type} was replayed, {app} has {group.lag if group else 'an unknown number of'} records before it"
        )
        yield Step(None, app, "gap", words, seen.event_id)
        return
    yield Step(None, app, "done", f"{seen.type} replayed and consumed: nothing is left before {app}", seen.event_id)
    if app == "recurring":
        yield from _successor(facts, seen)
    if app == "notification":
        yield from _mail(facts, seen)


def _began_later(facts: Facts, seen: Seen, app: str, item: Subscription) -> bool:
    """A replica that reads everything for itself begins at the newest record, so it commits nothing older."""
    group = facts.groups.get((app, seen.place.topic, seen.place.partition)) if seen.place else None
    return item.every_replica and group is not None and group.committed is None and group.members > 0


def _behind(facts: Facts, seen: Seen, app: str, values: Values) -> Step:
    place = seen.place
    assert place is not None, "only a published record can be waited for"  # noqa: S101 - a fact for the type checker
    group = facts.groups[app, place.topic, place.partition]
    pause = values.dapr.pubsub.metadata.get("backOffDuration", "1s")
    if not group.members:
        why = f"group {group.group} is {group.state.lower()} and has no members: nothing is delivered until {app} runs"
    else:
        why = f"group {group.group} is {group.state.lower()}, next retry within {pause}"
    ailing = "".join(f"; {part}: {facts.ailing[part]}" for part in (app, f"{app}-daprd") if part in facts.ailing)
    # The group was asked before the record was found, so the record may be newer than what the group had before it.
    words = f"{seen.type} published, not consumed by {app}, lag {max(group.lag, 1)}; {why}{ailing}"
    return Step(None, app, "gap", words, seen.event_id)


def _audited(facts: Facts, seen: Seen, values: Values, *, passed: bool | None) -> Step:
    if seen.audit is not None:
        words = f"{seen.type} stored as row {seen.audit.log_id}, {seen.topic} chain position {seen.audit.chain_seq}"
        return Step(seen.audit.recorded_at, "audit", "done", words, seen.event_id)
    if "audit log" in facts.blind or passed is None:
        return Step(None, "audit", "blind", f"{seen.type}: whether it has a row is not known", seen.event_id)
    if not passed:
        return _behind(facts, seen, "audit", values)
    words = f"{seen.type}: audit has passed {seen.place} and has no row of it: todoctl verify audit"
    return Step(None, "audit", "gap", words, seen.event_id)


def _successor(facts: Facts, seen: Seen) -> Iterator[Step]:
    if seen.type != "task.completed":
        return
    found = facts.successors.get(seen.task_id)
    if found is not None:
        yield Step(found.created_at, "recurring", "done", f"next occurrence: task {found.id}", seen.event_id)
    elif "api" in facts.blind:
        yield Step(None, "recurring", "blind", "whether there is a next occurrence is not known", seen.event_id)
    elif _has_next(seen.payload, seen.occurred_at):
        words = f"task.completed was consumed, task {seen.task_id} has no next occurrence: todoctl logs recurring"
        yield Step(None, "recurring", "gap", words, seen.event_id)


def _has_next(payload: Mapping[str, Any], occurred_at: datetime) -> bool:
    """Whether the completed task's series goes on, decided from the event alone as the consumer does."""
    try:
        task = TaskSnapshot.model_validate(payload.get("task"))
        series = task.series
        if series is None:
            return False
        due = task.due_date or to_utc(series.due_local, series.zone)
        completed = Occurrence(nominal=series.due_local, due=due, index=series.index)
        rule = RecurrenceRule.model_validate(series.rule)
        following = next_occurrence(
            rule, anchor=series.anchor, zone=series.zone, completed=completed, occurred_at=occurred_at
        )
    except (ValidationError, ValueError):
        return False
    return following is not None


def _mail(facts: Facts, seen: Seen) -> Iterator[Step]:
    if seen.type != "reminder.due" or seen.reminder is None:
        return
    mail, name = facts.mails.get(seen.reminder), f"reminder {seen.reminder[0]}"
    told = next((event for event in facts.events if event.reminder == seen.reminder and event is not seen), None)
    result = told.type.removeprefix("reminder.") if told else mail.intent if mail else None
    if mail is not None and mail.kept_at is not None:
        yield Step(mail.kept_at, "mail", "done", f"{name}: {mail.message_id} kept by the sink", seen.event_id)
    elif "mail" in facts.blind and result not in {"unknown", "failed", "stale"}:
        yield Step(None, "mail", "blind", f"{name}: whether its mail was sent is not known", seen.event_id)
    elif result == "stale":
        yield Step(
            seen.published_at, "mail", "done", f"{name}: not sent, it was moved or its task is done", seen.event_id
        )
    elif result == "unknown":
        yield Step(None, "mail", "gap", f"{name}: unknown; it may have been sent and is not sent again", seen.event_id)
    elif result == "sent":
        yield Step(None, "mail", "gap", f"{name}: said to be sent, and the sink has no such mail", seen.event_id)
    elif result != "failed":
        yield Step(
            None,
            "mail",
            "gap",
            f"{name}: consumed by notification, no mail was sent ({result or 'never begun'})",
            seen.event_id,
        )


def _reminders(facts: Facts) -> Iterator[Step]:
    status = {task.id: task.status for task in facts.tasks}
    for row in facts.reminders:
        if row.state != "scheduled" or status.get(row.task_id, "open") != "open":
            continue
        late = (facts.now - row.trigger_at).total_seconds()
        if late < 0:
            yield Step(row.trigger_at, "reminder", "ahead", f"reminder {row.id} of task {row.task_id} is due then")
        else:
            words = f"reminder {row.id} of task {row.task_id} is due for {late:.0f} s and not claimed"
            ailing = f"; api: {facts.ailing['api']}" if "api" in facts.ailing else ""
            yield Step(None, "reminder", "gap", f"{words}, next sweep within {_SWEEP_SECONDS} s{ailing}")


def _letter(letter: Letter) -> Step:
    words = f"dead letter {letter.letter_id} by {letter.consumer}: {letter.error_class}: {letter.message}"
    tries = f"{letter.attempts} attempt{'s' if letter.attempts != 1 else ''}"
    outcome = letter.decision or "pending: todoctl dlq show"
    state: State = "done" if letter.is_settled else "gap"
    return Step(
        letter.failed_at,
        "dead letter",
        state,
        f"{words} ({tries}, {letter.origin or 'no origin'}); {outcome}",
        letter.event_id,
    )
