"""`todoctl install`: operators into the environment's cluster."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.core.operators import OPERATORS, Source, merged
from todoctl.errors import UsageError
from todoctl.screen import Output

if TYPE_CHECKING:
    from todoctl.operations.operators.planning import Plan
    from todoctl.operations.operators.sidecars import Older

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="OPERATOR", help=f"One of: {', '.join(OPERATORS)}.")],
    chart: Annotated[
        Path | None, typer.Option("--chart", metavar="PATH", help="A chart's folder or archive, for want of a network.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", metavar="PATH", help="A folder or archive that holds several charts, this one too."),
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Option("-f", "--values", metavar="FILE", help="Values for the chart, as YAML.")
    ] = None,
    settings_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One value, such as global.registry=registry.example/dapr."),
    ] = None,
    reset_values: Annotated[
        bool,
        typer.Option("--reset-values", help="Forget the values that the release has; only ours and those given count."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the checks and what it would do.")] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Make objects that are there already part of the release.")
    ] = False,
    unlock: Annotated[
        bool, typer.Option("--unlock", help="First forget an attempt that was killed and left the release pending.")
    ] = False,
    restart_sidecars: Annotated[
        bool,
        typer.Option("--restart-sidecars", help="Afterwards restart workloads whose sidecars are of another version."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to --take-over and --unlock without being asked.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the plan.")] = Output.table,
    timeout: timeouts.OF_ALL = 600,
) -> None:
    """Install or upgrade an operator in the environment's cluster, and prove that it works.

    Checks first whether the cluster can take it, applies its definitions, then its chart, and waits until definitions are
    established, pods are ready and webhooks answer. Run again it changes nothing. Exit 3 as soon as a pod can't get
    ready, 7 when time is up, 8 when a check refuses, 9 when rights, helm or the chart are missing.
    """
    from todoctl.operations.operators import installing, planning, sidecars
    from todoctl.operations.operators import site as sites

    current = context.settings(ctx)
    source = _source(chart, bundle)
    given = _values(files or [], settings_ or [])
    operator = sites.operator(name)
    with ExitStack() as stack:
        site = stack.enter_context(sites.opened(current, os.environ))
        if unlock and not dry_run:
            _unlock(site, operator, yes=yes)
        found = stack.enter_context(sites.chart(operator, source, sites.pulled(site.helm)))
        available = current.environment.kind == "kubernetes"
        wanted = planning.ask(site, name, source, found, given, fresh=reset_values, available=available)
        plan = planning.plan(site, planning.Asked(wanted, found, take_over))
        _tell(plan)
        if not dry_run:
            plan.require_free()
            if take_over and plan.changes:
                screen.confirm(f"take over what is there for {name}?", yes=yes)
            screen.follow(installing.carry_out(site, plan, seconds=timeout))
        older = sidecars.older(site.kube, operator) if operator.injects else []
        if older and restart_sidecars and not dry_run:
            screen.follow(sidecars.restart(site.kube, older, site.clock, now=datetime.now(UTC), seconds=timeout))
            older = sidecars.older(site.kube, operator)
    _tell_older(ctx, older, name)
    document = {**plan.document(), "done": not dry_run, "older_sidecars": [_row(item) for item in older]}
    screen.show(document, output, lambda: _table(plan))
    if dry_run:
        plan.require_free()


def _source(chart: Path | None, bundle: Path | None) -> Source:
    if chart and bundle:
        raise UsageError("--chart and --bundle both say where the chart is", hint="give one of them")
    if chart:
        return Source("chart", str(chart))
    return Source("bundle", str(bundle)) if bundle else Source("repository", "")


def _values(files: list[Path], settings: list[str]) -> dict[str, Any]:
    """The values that were given, single ones on top.

    Raises:
        UsageError: a file can't be read, or a setting is none.
    """
    import yaml

    documents: list[dict[str, Any]] = []
    for file in files:
        try:
            document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{file} can't be read: {error}", hint="mend the file") from error
        if not isinstance(document, dict):
            raise UsageError(f"{file} holds no values", hint="KEY: VALUE, one to a line")
        documents.append(document)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not all(path.split(".")):
            raise UsageError(f"{setting!r} is no setting", hint="--set KEY=VALUE, such as global.tag=1.16.0")
        value: Any = yaml.safe_load(text) if text else ""
        # A version such as 1.16 is no number.
        value = text if isinstance(value, float) else value
        for key in reversed(path.split(".")):
            value = {key: value}
        documents.append(value)
    return merged(*documents)


def _unlock(site: Any, operator: Any, *, yes: bool) -> None:
    from todoctl.operations.operators import installing

    release = site.helm.release(operator.release, operator.namespace)
    if release is not None and release.is_pending:
        screen.confirm(f"forget revision {release.revision}, {release.status} since {release.updated}?", yes=yes)
        screen.ok(f"forgotten: {installing.forget_attempt(site, release)}")


def _tell(plan: Plan) -> None:
    """The checks that deserve attention, and what changes, on stderr."""
    for check in plan.checks:
        say = {"ok": screen.ok, "warn": screen.warn, "fail": screen.bad}[check.verdict]
        say(f"{check.check}: {check.seen}")
    for action in plan.changes:
        screen.note(f"{action.change} {action.kind} {action.name}{': ' + action.detail if action.detail else ''}")


def _tell_older(ctx: typer.Context, older: list[Older], name: str) -> None:
    for item in older:
        screen.warn(
            f"{item.kind} {item.namespace}/{item.name}: {item.pods} pods with {item.image}, new ones get {item.wanted}"
        )
    if any(item.can_restart for item in older):
        said = f"todoctl install {name} --restart-sidecars makes these pods anew, one workload after the other"
        screen.note(context.aimed(ctx, said))


def _row(item: Older) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "namespace": item.namespace,
        "name": item.name,
        "pods": item.pods,
        "image": item.image,
        "wanted": item.wanted,
    }


def _table(plan: Plan) -> None:
    screen.table(
        ("CHANGE", "KIND", "NAME", "DETAIL"),
        [(action.change, action.kind, action.name, action.detail) for action in plan.actions],
    )
