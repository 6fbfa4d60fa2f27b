"""The cluster that an operator goes into, and the chart that it comes from."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from todoctl.adapters import operator_charts
from todoctl.adapters.helm import Helm, Release, Upgrade
from todoctl.adapters.kube.access import access
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.operator_charts import ChartFolder
from todoctl.adapters.tools.pins import ChartPin, load
from todoctl.core.operators import OPERATORS, Operator, Source
from todoctl.errors import MissingError, RefusedError, UsageError
from todoctl.operations import tools
from todoctl.settings import Settings

Document = dict[str, Any]


class Releases(Protocol):
    """What is asked of Helm."""

    def release(self, name: str, namespace: str) -> Release | None:
        """The newest revision."""

    def values(self, name: str, namespace: str) -> Document:
        """The values that were given to it."""

    def rendered(self, wanted: Upgrade, *, is_upgrade: bool = False) -> list[Document]:
        """What it would make."""

    def upgrade(self, wanted: Upgrade) -> Release:
        """Install or upgrade."""

    def objects(self, name: str, namespace: str) -> list[Document]:
        """What it made."""

    def uninstall(self, name: str, namespace: str, *, seconds: int = 300) -> None:
        """Remove it."""

    def pull(self, chart: str, *, repository: str, version: str) -> Path:
        """Fetch a chart."""


@dataclass(frozen=True)
class Clock:
    """Time, as waiting uses it."""

    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class Site:
    """One cluster: its API, its releases, and the time that passes there."""

    kube: Kube
    helm: Releases
    clock: Clock = field(default_factory=Clock)


def operator(name: str) -> Operator:
    """The operator of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in OPERATORS:
        raise UsageError(
            f"no operator is called {name!r}; there are: {', '.join(OPERATORS)}", hint="todoctl install -h"
        )
    return OPERATORS[name]


@contextmanager
def opened(settings: Settings, environ: Mapping[str, str]) -> Iterator[Site]:
    """The environment's cluster, which has answered; raises what `connected` does."""
    with connected(settings, environ) as (kube, helm):
        yield Site(kube, helm)


@contextmanager
def connected(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[Kube, Helm]]:
    """The API and Helm of the environment's cluster, which has answered.

    Raises:
        RefusedError: the environment is none in a cluster.
        UsageError: it names no context, or one that the kubeconfig does not have.
        MissingError: helm or a library is not there, or the cluster does not know us.
        UnhealthyError: the cluster can't be reached.
    """
    environment = settings.environment
    if environment.kind == "local":
        raise RefusedError(
            f"operators live in clusters; {settings.name!r} is an environment of processes on this machine",
            hint="todoctl env list; todoctl -e NAME install …",
        )
    context = settings.require_context()
    found = access(environ, context, hint=settings.brings_context)
    program = tools.find("helm", settings.cache, environ=environ)
    if program is None:
        raise MissingError("helm is not on this machine", hint="todoctl tools install helm")
    with Kube(found, environment.namespace or "default") as kube:
        kube.version()
        yield kube, Helm(program.path, context)


@contextmanager
def chart(operator: Operator, source: Source, pull: Callable[[ChartPin], Path]) -> Iterator[ChartFolder]:
    """The operator's chart, unpacked for the length of a block.

    Raises:
        UsageError: there is none in that place, or it is another one.
        MissingError: it can't be fetched.
    """
    pin = pin_of(operator)
    if source.kind == "chart":
        with operator_charts.from_chart(Path(source.place)) as found:
            _require(found, pin, source)
            yield found
    elif source.kind == "bundle":
        with operator_charts.from_bundle(Path(source.place), pin.chart, pin.version) as found:
            yield found
    else:
        folder = pull(pin)
        try:
            yield ChartFolder(next(file.parent for file in folder.glob("*/Chart.yaml")))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def pin_of(operator: Operator) -> ChartPin:
    """The operator's pinned chart."""
    return load().charts[operator.name]


def pulled(helm: Releases) -> Callable[[ChartPin], Path]:
    """Fetches a pinned chart from its project's repository; without a network the error says what to bring."""

    def pull(pin: ChartPin) -> Path:
        try:
            return helm.pull(pin.chart, repository=pin.repository, version=pin.version)
        except MissingError as error:
            raise MissingError(
                error.message,
                detail=error.detail,
                hint=f"where there is a network: helm pull {pin.chart} --repo {pin.repository} --version {pin.version}; "
                "then --chart FILE, or --bundle FOLDER with all of them",
            ) from error

    return pull


def _require(found: ChartFolder, pin: ChartPin, source: Source) -> None:
    if found.about["name"] != pin.chart:
        raise UsageError(
            f"{source.place} is the chart {found.about['name']}, {pin.chart} is wanted", hint="name the right one"
        )
