"""What every command does first: the settings of this call, the chart's values, and which environment it is for."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from todoctl import screen
from todoctl import settings as settings_module
from todoctl.errors import RefusedError, UsageError
from todoctl.screen import Output
from todoctl.settings import Settings

if TYPE_CHECKING:
    from todoctl.adapters.kafka.client import Broker
    from todoctl.core.values import Values
    from todoctl.operations.lifecycle import Lifecycle
    from todoctl.operations.platform import Platform
    from todoctl.operations.releases import Change, Plan, Proof, Releases
    from todoctl.operations.smoke import Link

_COUNTED = ("code", "manifests")
_PROCESSES_OVERLAY = "values-processes.yaml"
_PLATFORM = "todoctl.platform"  # the key of a call's platform in the root context
_CONTEXT = "todoctl.context"  # and of its cluster's context

# Commands that are for an environment, where a text names one to go on with; and those of kubectl that are for a cluster.
_OURS = re.compile(
    r"\btodoctl (?=(?:up|down|restart|status|doctor|logs|open|smoke|images|deploy|diff|history|rollback|unlock|topics|"
    r"groups|dlq|trace|db|mail|users|verify|install|uninstall|env show)\b)"
)
_KUBECTLS = re.compile(r"\bkubectl (?=(?!config\b)[a-z])")


def settings(ctx: typer.Context, *, environment: str | None = None) -> Settings:
    """The settings for this call; `environment` stands before the global option."""
    given = ctx.find_root().obj
    current = settings_module.load(
        os.environ, cwd=_folder(), environment=environment or given.environment, config=given.config
    )
    ctx.find_root().meta[_CONTEXT] = current.environment.context
    return current


def _folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise UsageError("the folder that this was called in is gone", hint="cd to another one") from error


def aimed(ctx: typer.Context, text: str) -> str:
    """`text` with its commands as they have to be typed for this call's environment.

    Whoever copies `todoctl unlock` after `todoctl -e cloud deploy` means the cloud, and kubectl's own context may be any.
    """
    given, context = ctx.find_root().obj, ctx.find_root().meta.get(_CONTEXT)
    options = f"--config {shlex.quote(str(given.config))} " if given and given.config else ""
    options += f"-e {given.environment} " if given and given.environment else ""
    text = _OURS.sub(lambda match: match[0] + options, text)
    return _KUBECTLS.sub(lambda match: f"{match[0]}--context {shlex.quote(context)} ", text) if context else text


def values(current: Settings) -> Values:
    """The values that the environment runs with: a release's own, else the chart's."""
    if current.environment.kind == "local":
        from todoctl.adapters.release_store import Store

        document = Store(current.state).running().values
        if document is not None:
            from todoctl.core.values import Values

            return Values.model_validate(document)
    return chart_values(current)


def chart_values(current: Settings, more: Sequence[Path] = ()) -> Values:
    """The chart's values with the environment's files over them, and `more` on top: what the next release gets."""
    from todoctl.adapters.chart import read_values

    return read_values(current.chart, (*_value_files(current), *more))


def _value_files(current: Settings) -> tuple[Path, ...]:
    """The environment's files, and on a Minikube the images that were loaded last."""
    if current.environment.kind != "minikube":
        return _own_files(current)
    from todoctl.operations.minikube.loading import values_file

    loaded = values_file(current)
    return (*_own_files(current), *([loaded] if loaded.is_file() else []))


def _own_files(current: Settings) -> tuple[Path, ...]:
    overlays = [_PROCESSES_OVERLAY] if current.environment.kind == "local" else []
    files = [current.chart / name for name in overlays]
    files += [path if path.is_absolute() else _beside(current, path) for path in current.environment.values]
    return tuple(files)


def platform(ctx: typer.Context) -> Platform:
    """The platform of this call's environment, as it runs; what is opened for it is closed when the command ends."""
    root = ctx.find_root()
    if _PLATFORM not in root.meta:
        current = settings(ctx)
        root.meta[_PLATFORM] = root.with_resource(opened(current, values(current)))
    found: Platform = root.meta[_PLATFORM]
    return found


def broker(ctx: typer.Context) -> Broker:
    """The broker of this call's environment; one that its own section describes, without the rest of the platform."""
    current = settings(ctx)
    if current.environment.kafka is None:
        return platform(ctx).broker()
    from todoctl.operations.kafka.outside import configured

    return configured(current, current.environment.kafka, os.environ)


@contextmanager
def opened(current: Settings, chart: Values, *, preview: bool = False) -> Iterator[Platform]:
    """The platform of an environment that runs with these values, for the length of a block.

    With `preview` its services are those of the idle colour, which only a cluster has.
    """
    found: Platform
    if current.environment.kind == "local":
        from todoctl.operations.local.platform import LocalPlatform

        found = LocalPlatform(current, chart)
    else:
        from todoctl.operations.kubernetes.platform import ClusterPlatform

        found = ClusterPlatform(current, chart, os.environ, preview=preview)
    try:
        yield found
    finally:
        found.close()


def lifecycle(ctx: typer.Context) -> Lifecycle:
    """The beginning and end of this call's environment.

    Raises:
        RefusedError: it is a cluster that others made.
    """
    current = settings(ctx)
    if current.environment.kind == "local":
        from todoctl.operations.local.lifecycle import LocalLifecycle

        return LocalLifecycle(current, lambda: values(current), os.environ)
    if current.environment.kind == "minikube":
        from todoctl.operations.minikube.lifecycle import MinikubeLifecycle

        return MinikubeLifecycle(current, _own_files(current), os.environ)
    name = current.name
    raise RefusedError(
        f"the cluster of {name!r} is not todoctl's to start or to stop",
        hint=f"todoctl -e {name} install dapr; todoctl -e {name} deploy",
    )


def _beside(current: Settings, path: Path) -> Path:
    """A values file that is named without a folder lies beside the configuration file, else in the chart."""
    origin = Path(current.origins.get(f"environments.{current.name}", ""))
    beside = origin.parent / path
    return beside if origin.is_file() and beside.is_file() else current.chart / path


def releases(ctx: typer.Context, *, seconds: float, files: Sequence[Path] = ()) -> Releases:
    """The environment's releases; `seconds` is how long one part may take to be ready, `files` are values on top.

    In a cluster it has answered by then; what is opened for it is closed when the command ends.
    """
    current = settings(ctx)
    if current.environment.kind == "local":
        from todoctl.operations.local.releases import LocalReleases

        return LocalReleases(current, lambda: chart_values(current, files), os.environ, seconds)
    from todoctl.operations.kubernetes.releases import ClusterReleases
    from todoctl.operations.operators import site

    kube, helm = ctx.find_root().with_resource(site.connected(current, os.environ))
    return ClusterReleases(current, kube, helm, (*_value_files(current), *files), os.environ, seconds)


def proof(current: Settings) -> Proof:
    """Plays the smoke chain against what runs by then, and says how it went."""

    def prove(values: Values, *, preview: bool = False) -> str:
        links = list(smoke_links(current, values, preview=preview))
        return f"{len(links)} links, {sum(link.seconds for link in links):.1f} s"

    return prove


def carry_out(change: Change, current: Releases, prove: Proof | None) -> None:
    """Carry a release out and show how it goes; interrupted, what ran before runs again."""
    from todoctl.core.releases import pending

    with screen.board() as board:
        try:
            screen.follow(change.carry_out(prove), board)
        except KeyboardInterrupt:
            if pending(current.history()) is None:
                # Nothing had been begun, or all of it was done.
                raise
            board.update("interrupted", "starting", "going back to what ran before", 0.0)
            screen.follow(current.unlock(), board)
            raise


def show_differences(plan: Plan) -> None:
    """Write the plan's differences as a table to stdout."""
    cells = [(item.area, item.change, item.name, item.risk, item.detail) for item in plan.differences]
    screen.table(("AREA", "CHANGE", "NAME", "RISK", "DETAIL"), cells)
    for item in plan.obstacles:
        screen.write(f"in the way: {item.about}: {item.reason}")


def narrate_differences(plan: Plan) -> None:
    """Say on stderr what a plan would change: files and objects without much risk by number, everything else one by one."""
    for area in _COUNTED:
        if several := [item for item in plan.differences if item.area == area and item.risk in {"none", "low"}]:
            named = ", ".join(item.name for item in several[:3]) + (", …" if len(several) > 3 else "")
            screen.note(f"{area}: {len(several)} {'change' if len(several) == 1 else 'changes'} ({named})")
    for item in plan.differences:
        if item.area not in _COUNTED or item.risk in {"medium", "high"}:
            say = screen.warn if item.risk in {"medium", "high"} else screen.note
            say(f"{item.area}: {item.name} {item.change}, risk {item.risk}{': ' + item.detail if item.detail else ''}")


def run_smoke(current: Settings, chart: Values, *, output: Output = Output.table, seconds: float = 30) -> None:
    """Play the smoke chain and show its timeline."""
    links = []
    for link in smoke_links(current, chart, seconds=seconds):
        links.append(link)
        if output is Output.table:
            screen.write(f"{link.seconds:7.3f}s  {link.name:<20} {link.seen}")
    rows = [{"link": link.name, "seconds": round(link.seconds, 3), "seen": link.seen} for link in links]
    screen.show(rows, output, lambda: None)


def smoke_links(current: Settings, chart: Values, *, seconds: float = 30, preview: bool = False) -> Iterator[Link]:
    """The links of the smoke chain, each as it is seen."""
    from todoctl.operations import smoke

    with opened(current, chart, preview=preview) as there, smoke.edges_of(there, seconds=seconds) as edges:
        yield from smoke.play(edges, deadline_seconds=seconds)
