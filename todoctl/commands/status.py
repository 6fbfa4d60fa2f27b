"""`todoctl status`."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.errors import UnhealthyError
from todoctl.operations.status import RunningRelease, Status
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds until interrupted.")] = False,
) -> None:
    """Show every part with its observed health, its lag and the age of the outbox.

    Exit 3 when anything is unhealthy.
    """
    there = context.platform(ctx)
    while True:
        seen = there.status()
        screen.show(seen.document(), output, partial(_table, seen))
        if not watch:
            break
        time.sleep(2)
    _tell_pending(seen.release)
    if not seen.healthy:
        sick = [f"{part.name}: {part.detail}" for part in seen.parts if not part.healthy]
        raise UnhealthyError(
            f"{len(sick)} of {len(seen.parts)} parts are not healthy", detail=tuple(sick), hint="todoctl up"
        )


def _tell_pending(release: RunningRelease) -> None:
    if release.idle:
        screen.note(f"{release.colour} runs, {release.idle} is idle beside it")
    if release.both_work:
        screen.note(f"{release.colour} runs, and the other colour takes events and jobs beside it")
    if release.pending is None:
        return
    if release.worked_on_by:
        screen.note(f"release {release.pending} is {release.pending_state}: {release.worked_on_by} works on it")
    else:
        screen.warn(
            f"release {release.pending} is {release.pending_state}, and nobody works on it: its deploy was killed; todoctl unlock"
        )


def _table(seen: Status) -> None:
    rows = [
        (
            part.name,
            part.state,
            part.version,
            part.address.rpartition(":")[2],
            part.pid,
            _age(part.uptime_seconds),
            f"{part.memory_bytes / 2**20:.0f} MiB" if part.memory_bytes else "",
        )
        for part in seen.parts
    ]
    screen.table(("PART", "STATE", "VERSION", "PORT", "PID", "UP", "MEMORY"), rows)
    lag = [(row.group, row.topic, "unknown" if row.messages is None else row.messages, row.detail) for row in seen.lag]
    screen.table(("GROUP", "TOPIC", "LAG", "DETAIL"), lag)
    outbox = seen.outbox
    entries = (
        "unknown" if outbox.entries is None else f"{outbox.entries} entries, oldest {outbox.oldest_age_seconds:.1f} s"
    )
    screen.write(f"outbox: {entries} {outbox.detail}".rstrip())
    runs = f"release {seen.release.revision}" if seen.release.revision is not None else "the checkout"
    screen.write(f"runs: {runs}")
    total = sum(part.memory_bytes or 0 for part in seen.parts)
    screen.write(f"memory: {total / 2**20:.0f} MiB resident in all")


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
