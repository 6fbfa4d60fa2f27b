"""`todoctl dlq list`, `show` and `stats`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.commands.dlq import options
from todoctl.core.dlq import edits
from todoctl.core.dlq.decisions import Decision, State
from todoctl.core.dlq.filters import Filter, is_named
from todoctl.core.dlq.groups import UNKNOWN, Group, Groups
from todoctl.core.dlq.letters import Letter
from todoctl.core.dlq.planning import is_original
from todoctl.core.events import DEAD_LETTERS
from todoctl.errors import UsageError
from todoctl.operations.dlq.desk import every_letter, letters, read_ledger
from todoctl.operations.dlq.originals import find_originals
from todoctl.screen import Output

# A class of letters that was first seen within this time is new.
_NEW = 24 * 3600  # seconds

# Characters of what a list shows of each thing that a letter says; `show` and the other outputs have it whole.
_WORD = 80


def list_letters(
    ctx: typer.Context,
    names: options.LETTERS = None,
    where: options.WHERE = None,
    since: options.SINCE = None,
    until: options.UNTIL = None,
    state: options.STATE = "pending",
    single: Annotated[bool, typer.Option("--letters", help="Each letter instead of groups.")] = False,
    limit: Annotated[int, typer.Option("-n", metavar="N", min=1, help="At most N letters with --letters.")] = 100,
    topic: options.TOPIC = DEAD_LETTERS,
    output: options.OUTPUT = Output.table,
) -> None:
    """List dead letters by error class, consumer and type: classes that are new first, only pending ones."""
    wanted = options.read_filter(names, where, since, until, state)
    at = options.at(ctx, topic)
    ledger = read_ledger(at.desk)
    if single:
        _write_letters(letters(at.desk, ledger, wanted), limit, output)
        return
    groups = Groups()
    for letter, found in every_letter(at.desk, ledger, Filter()):
        groups.add(letter, found, counts=wanted.matches(letter, found))
    _write_groups(ctx, groups, output)


def show(
    ctx: typer.Context,
    letter: Annotated[str, typer.Argument(metavar="LETTER", help="PARTITION/OFFSET, a letter's id or an event's id.")],
    topic: options.TOPIC = DEAD_LETTERS,
    output: options.OUTPUT = Output.table,
) -> None:
    """Show one letter: why it died, where, its headers and record, and what the consumers' model has against it."""
    wanted = options.read_filter([letter], None, None, None, "all")
    at = options.at(ctx, topic)
    found = next(
        (item for item, _ in every_letter(at.desk, read_ledger(at.desk), wanted) if is_named(item, wanted.names)), None
    )
    if found is None:
        raise UsageError(f"there is no letter {letter!r} on {topic}", hint="todoctl dlq list --letters --state all")
    place = (found.partition, found.offset)
    ledger = read_ledger(at.desk, watched=frozenset({place}))
    whole = _whole(at, found, ledger.state(*place), ledger.found.get(place))
    screen.show(whole, output, lambda: _write_whole(whole))


def stats(ctx: typer.Context, topic: options.TOPIC = DEAD_LETTERS, output: options.OUTPUT = Output.table) -> None:
    """Count letters by what was decided, and tell how old the oldest pending one is and when Kafka forgets it."""
    at = options.at(ctx, topic)
    groups, oldest = Groups(), None
    ledger = read_ledger(at.desk)
    for letter, state in every_letter(at.desk, ledger, Filter()):
        groups.add(letter, state, counts=state == "pending")
        if state == "pending" and (oldest is None or letter.written_ms < oldest):
            oldest = letter.written_ms
    retention = at.desk.values.topics[topic].retention_hours
    whole = {
        "topic": topic,
        "letters": groups.totals(),
        "pending_groups": len(groups.rows()),
        "oldest_pending": _iso(oldest),
        "forgotten_at": _iso(oldest + retention * 3_600_000) if oldest is not None and retention else None,
        "operator": asdict(ledger.operator) if ledger.operator else None,
        "plans": {plan: {"since": trace.since, **trace.counts} for plan, trace in ledger.plans.items()},
    }
    screen.show(whole, output, lambda: _write_stats(whole))


def _write_groups(ctx: typer.Context, groups: Groups, output: Output) -> None:
    rows, now = groups.rows(), options.now()
    screen.show([_group(group, now) for group in rows], output, lambda: _write_group_table(rows, now))
    if output is not Output.table:
        return
    totals = ", ".join(f"{count} {state}" for state, count in groups.totals().items() if count) or "none at all"
    screen.note(f"letters: {totals}")
    if rows:
        screen.note(context.aimed(ctx, f"next: todoctl dlq show {rows[0].example}, todoctl dlq plan"))


def _write_group_table(rows: list[Group], now: datetime) -> None:
    columns = ("NEW", "LETTERS", "ERROR", "CONSUMER", "TYPE", "OLDEST", "NEWEST", "EXAMPLE", "MESSAGE")
    screen.table(
        columns,
        [
            (
                "new" if _is_new(group, now) else "",
                group.count,
                _in_table(group.error_class),
                _in_table(group.consumer),
                _in_table(group.event_type),
                _ago(group.oldest_ms, now),
                _ago(group.newest_ms, now),
                group.example,
                _in_table(group.message),
            )
            for group in rows
        ],
    )


def _group(group: Group, now: datetime) -> dict[str, Any]:
    return {
        "error": group.error_class,
        "consumer": group.consumer,
        "type": group.event_type,
        "letters": group.count,
        "is_new": _is_new(group, now),
        "first_seen": _iso(group.first_ms),
        "oldest": _iso(group.oldest_ms),
        "newest": _iso(group.newest_ms),
        "example": group.example,
        "message": group.message,
        "states": group.states,
    }


def _write_letters(found: Any, limit: int, output: Output) -> None:
    rows: list[dict[str, Any]] = []
    for letter, state in found:
        if len(rows) == limit:
            screen.warn(f"only the first {limit}; -n N shows more")
            break
        rows.append(_letter(letter, state))
    columns = ("LETTER", "STATE", "WRITTEN", "ERROR", "CONSUMER", "TYPE", "USER", "ORIGIN", "MESSAGE")
    fields = ("letter", "state", "written", "error", "consumer", "type", "user", "origin", "message")
    screen.show(
        rows,
        output,
        lambda: screen.table(columns, [[_in_table(row[name]) for name in fields] for row in rows]),
    )


def _letter(letter: Letter, state: State) -> dict[str, Any]:
    origin = letter.origin
    return {
        "letter": letter.name,
        "state": state,
        "written": _iso(letter.written_ms),
        "form": letter.form,
        "error": letter.reason.error_class or UNKNOWN,
        "consumer": letter.reason.consumer or UNKNOWN,
        "type": letter.hints.event_type,
        "user": letter.hints.user_id,
        "event": letter.hints.event_id,
        "correlation": letter.hints.correlation_id,
        "origin": origin and f"{origin.topic}/{origin.partition}/{origin.offset}",
        "message": letter.reason.message,
    }


def _whole(at: options.At, letter: Letter, state: State, decision: Decision | None) -> dict[str, Any]:
    origin, topic = letter.origin, letter.origin.topic if letter.origin else ""
    original = None
    if origin and origin.partition is not None and origin.offset is not None and topic in at.desk.topic_ids:
        from todoctl.adapters.kafka import records

        ranges = records.watermarks(at.desk.broker, [topic])
        seen = find_originals(at.desk.broker, [origin], ranges).get((topic, origin.partition, origin.offset))
        original = seen if seen and is_original(letter, seen) else None
    value, headers = (original.value, original.headers) if original else (letter.value, letter.headers)
    return {
        **_letter(letter, state),
        "letter_id": letter.letter_id,
        "kind": letter.reason.kind,
        "attempts": letter.reason.attempts,
        "came_back": letter.came_back,
        "decision": asdict(decision) if decision else None,
        "code": _code(at, letter),
        "record_is_still_there": original is not None,
        "record_time": _iso(origin.timestamp_ms) if origin else None,
        "consumers": sorted(at.consumers.get(topic, {})),
        "key": _text(original.key if original else letter.key),
        "headers": [[name, _text(content)] for name, content in headers],
        "model": edits.problems(topic, value),
        "letter_headers": [[name, _text(content)] for name, content in letter.all_headers],
        "value": _text(value),
    }


def _code(at: options.At, letter: Letter) -> str | None:
    """The code that failed, as far as the letter tells: a stack, or the service."""
    if letter.reason.code:
        return letter.reason.code
    consumer = letter.reason.consumer
    return f"services/{consumer}/handlers.py" if consumer in at.desk.values.services else None


def _write_whole(whole: dict[str, Any]) -> None:
    apart = {"headers", "letter_headers", "model", "value", "code", "decision"}
    screen.pairs({name: _cell(value) for name, value in whole.items() if name not in apart})
    if whole["decision"]:
        screen.write(
            f"decided: {whole['decision']['action']} by {whole['decision']['by']} at {whole['decision']['at']}"
        )
    for title, lines in (
        ("code", (whole["code"] or "not known").splitlines()),
        ("headers", [f"{name}: {value}" for name, value in whole["headers"]] or ["none known"]),
        ("headers of the letter", [f"{name}: {value}" for name, value in whole["letter_headers"]] or ["none"]),
        ("against the model", whole["model"] or ["nothing: the record fits, or its topic has no model"]),
        ("record", edits.pretty(None if whole["value"] is None else whole["value"].encode())),
    ):
        screen.write(f"\n{title}:".lstrip("\n"))
        for line in lines:
            screen.write(f"  {line}")


def _write_stats(whole: dict[str, Any]) -> None:
    plain = {name: value for name, value in whole.items() if name not in {"letters", "plans", "operator"}}
    operator = whole["operator"]
    at_work = operator and not operator["is_done"]
    work = f"{operator['user']}@{operator['host']} since {operator['since']}" if at_work else "nobody"
    screen.pairs({**whole["letters"], **{name: _cell(value) for name, value in plain.items()}, "at work": work})


def _is_new(group: Group, now: datetime) -> bool:
    # A producer may write any time; one beyond the calendar is no datetime.
    return now.timestamp() - group.first_ms / 1000 < _NEW


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None or not 0 <= milliseconds < 253_402_300_800_000:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _ago(milliseconds: int, now: datetime) -> str:
    seconds = max(0, int(now.timestamp() - milliseconds / 1000))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{seconds}s ago"


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "backslashreplace")


def _in_table(value: Any) -> str:
    """A cell of a list: a letter may hold anything, and must not make a line endless, or a hundred of it."""
    return screen.cut(_cell(value), _WORD)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
