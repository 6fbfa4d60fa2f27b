"""`todoctl verify`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from todoctl import screen
from todoctl.adapters.audit_log import Chain
from todoctl.commands import context
from todoctl.core.audit_chain import Head
from todoctl.core.parts import OPERATOR_ROLE
from todoctl.errors import UsageError, VerdictError
from todoctl.operations import audit_check
from todoctl.operations.audit_check import ChainVerdict
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def root() -> None:
    """Prove that what the platform keeps is whole."""


@app.command()
def audit(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
    known: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What an earlier run wrote with -o json: all of it must still be there."),
    ] = None,
) -> None:
    """Walk the audit log's hash chains and name the first bad row of each.

    Finds rows that were edited, deleted, added or moved, and a changed head, whoever did it. Somebody with all rights
    on the database can write a whole chain and its head anew: keep the -o json of a run elsewhere and give it as --known.
    Exit 5 when a chain is broken, or when there is nothing to verify.
    """
    heads = {} if known is None else _known(known)
    url, since = context.platform(ctx).database_url(OPERATOR_ROLE), time.monotonic()
    verdicts = []
    with screen.board() as board:
        for verdict in audit_check.examine(url, heads):
            verdicts.append(verdict)
            state_word = "failed" if verdict.broken else "ready"
            board.update(str(verdict.chain), state_word, f"{verdict.rows} rows", time.monotonic() - since)
    screen.show(_document(verdicts, output), output, lambda: _table(verdicts))
    _raise_if_broken(verdicts)


def _known(path: Path) -> dict[Chain, Head]:
    try:
        return audit_check.known_heads(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"--known: {path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f"--known: {path} is not what verify audit writes: {error}", hint="todoctl verify audit -o json > FILE"
        ) from error


def _document(verdicts: list[ChainVerdict], output: Output) -> object:
    chains = [verdict.document() for verdict in verdicts]
    if output is Output.jsonl:
        return chains
    whole = bool(verdicts) and not any(verdict.broken for verdict in verdicts)
    return {"whole": whole, "rows": sum(verdict.rows for verdict in verdicts), "chains": chains}


def _table(verdicts: list[ChainVerdict]) -> None:
    rows = [
        (
            verdict.chain,
            verdict.rows,
            "broken" if verdict.broken else "whole",
            f"row {verdict.broken.chain_seq} {verdict.broken.damage}: {verdict.broken.detail}"
            if verdict.broken
            else "",
        )
        for verdict in verdicts
    ]
    screen.table(("CHAIN", "ROWS READ", "VERDICT", "FIRST BAD ROW"), rows)


def _raise_if_broken(verdicts: list[ChainVerdict]) -> None:
    if not verdicts:
        raise VerdictError("the audit log is empty: nothing was verified", hint="todoctl smoke")
    bad = [verdict.words() for verdict in verdicts if verdict.broken]
    if bad:
        raise VerdictError(
            f"the audit log is not as it was written: {len(bad)} of {len(verdicts)} chains are broken; {bad[0]}",
            detail=tuple(bad[1:]),
            hint="copy the database before you change anything; the topics keep the events for a week",
        )
