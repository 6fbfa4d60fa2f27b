"""`todoctl doctor`."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.errors import UnhealthyError
from todoctl.operations.checks import Finding, run_all
from todoctl.operations.platform import Platform
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the findings.")] = Output.table,
    fix: Annotated[
        bool, typer.Option("--fix", help="Also do what is safe: make missing topics, set their settings.")
    ] = False,
) -> None:
    """Check everything that can be wrong and name the command that fixes it.

    A check that could not look has failed. Exit 3 when any check failed.
    """
    there = context.platform(ctx)
    findings = [_mended(there, finding) if fix else finding for finding in run_all(there.checks())]
    findings = [replace(finding, fix=context.aimed(ctx, finding.fix)) for finding in findings]
    screen.show([asdict(finding) for finding in findings], output, lambda: _table(findings))
    failed = [finding for finding in findings if finding.verdict == "fail"]
    if failed:
        raise UnhealthyError(
            f"{len(failed)} of {len(findings)} checks failed",
            detail=tuple(f"{finding.check}: {finding.seen}" for finding in failed),
            hint=next((finding.fix for finding in failed if finding.fix), ""),
        )


def _mended(there: Platform, finding: Finding) -> Finding:
    if not (finding.verdict == "fail" and finding.is_safe_to_fix):
        return finding
    done = there.mend(finding)
    screen.ok(f"{finding.check}: {done}")
    return Finding(finding.check, "ok", done)


def _table(findings: list[Finding]) -> None:
    for finding in findings:
        screen.verdict(finding.verdict, finding.check, finding.seen, finding.fix)
