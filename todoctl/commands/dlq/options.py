"""What the commands about dead letters share: their options, the filter that these say, who is at work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args
from uuid import uuid4

import typer

from todoctl.adapters.whoami import whoami
from todoctl.commands import context
from todoctl.core.dlq.decisions import STATES, Operator, State
from todoctl.core.dlq.filters import Filter, read_name
from todoctl.core.dlq.foreign import Form
from todoctl.core.events import DEAD_LETTERS
from todoctl.core.positions import parse_moment
from todoctl.errors import UsageError
from todoctl.operations.dlq.desk import Desk, open_desk
from todoctl.operations.dlq.watching import Consumers, consumers_of
from todoctl.screen import Output
from todoctl.settings import Settings

OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
LETTERS = Annotated[
    list[str] | None,
    typer.Argument(metavar="LETTER", help="Only these: PARTITION/OFFSET, a letter's id or an event's id."),
]
WHERE = Annotated[
    list[str] | None,
    typer.Option(
        "-w",
        "--where",
        metavar="FIELD=GLOB",
        help="Only letters whose field fits, more than once for several: error, consumer, type, origin (the topic), "
        "form (todoctl, dapr, spring, connect, foreign), user, correlation, text (anywhere in reason or record).",
    ),
]
SINCE = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only letters written since: a duration such as 2h, or an ISO time.")
]
UNTIL = Annotated[str | None, typer.Option(metavar="TIME", help="Only letters written before that.")]
STATE = Annotated[
    str, typer.Option(metavar="STATE", help=f"By what was decided: {', '.join(STATES)}, several with commas, or all.")
]
TOPIC = Annotated[str, typer.Option(metavar="TOPIC", help="The topic that the letters lie on.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Agree beforehand.")]
TAKE_OVER = Annotated[bool, typer.Option("--take-over", help="Stop another operator's run and go on instead.")]


@dataclass(frozen=True)
class At:
    """Where a command works: settings, the letters, and who reads each topic."""

    settings: Settings
    desk: Desk
    consumers: Consumers


def at(ctx: typer.Context, topic: str = DEAD_LETTERS) -> At:
    """The letters of this call's environment."""
    settings, there = context.settings(ctx), context.platform(ctx)
    desk = open_desk(there.broker(), there.values, topic)
    return At(settings, desk, consumers_of(there.values, is_local=settings.environment.kind == "local"))


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def operator(command: str, plan: str = "") -> Operator:
    """Who is at work, with what."""
    who, since = whoami(), now().isoformat(timespec="seconds")
    return Operator(uuid4().hex, who.user, who.host, who.pid, who.started, command, plan, since, since)


def read_filter(
    letters: Sequence[str] | None, where: Sequence[str] | None, since: str | None, until: str | None, state: str
) -> Filter:
    """The filter that the options say.

    Raises:
        UsageError: a field, a time, a state or a letter that there is not.
    """
    for name in letters or ():
        read_name(name)
    return Filter(
        states=_states(state),
        since_ms=_moment("--since", since),
        until_ms=_moment("--until", until),
        names=tuple(letters or ()),
        **_fields(where or ()),
    )


def is_everything(wanted: Filter) -> bool:
    """Whether the filter leaves nothing out but by state."""
    return set(wanted.stated) == {"state"}


def _fields(where: Sequence[str]) -> dict[str, Any]:
    names = {
        "error": "error",
        "consumer": "consumer",
        "type": "event_type",
        "origin": "topic",
        "form": "form",
        "user": "user_id",
        "correlation": "correlation_id",
        "text": "text",
    }
    found: dict[str, Any] = {}
    for item in where:
        field, equals, glob = item.partition("=")
        if not equals or field not in names:
            raise UsageError(f"--where: {item!r} is not FIELD=GLOB with a field of {', '.join(names)}")
        if names[field] in found:
            raise UsageError(f"--where: {field} is given twice")
        found[names[field]] = _value(field, glob)
    return found


def _value(field: str, glob: str) -> str | int:
    if field == "user":
        if not (glob.isascii() and glob.isdigit()) or len(glob) > 18:
            raise UsageError(f"--where: user={glob} is no number")
        return int(glob)
    if field == "form" and glob not in get_args(Form):
        raise UsageError(f"--where: form={glob} is not one of {', '.join(get_args(Form))}")
    return glob


def _states(text: str) -> tuple[State, ...]:
    if text == "all":
        return STATES
    wanted = text.split(",")
    if unknown := [word for word in wanted if word not in STATES]:
        raise UsageError(f"--state: {', '.join(unknown)} is not one of {', '.join(STATES)}, all")
    return tuple(state for state in STATES if state in wanted)


def _moment(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = parse_moment(text, now())
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from error
    return int(moment.timestamp() * 1000)


def archive_folder(settings: Settings) -> Path:
    """Where archives of purged letters go."""
    return settings.state / "archive"
