"""Helm releases of one cluster, through pyhelm3: plain values in and out, its errors in ours. The only user of pyhelm3.

Helm runs as a child that reads the process's own environment (KUBECONFIG, proxies); the context is always named.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError, UsageError, WaitTimeoutError

Object = dict[str, Any]
T = TypeVar("T")

PENDING = frozenset({"pending-install", "pending-upgrade", "pending-rollback", "uninstalling"})
_KEPT = 10  # revisions that Helm keeps
_LINES = 10  # of what Helm said, in an error
_SECONDS = 20.0  # how long Helm may look something up: on its own it waits for an API server for ever

# What Helm says, beyond what pyhelm3 tells apart: words, the error, the next step. The first that fits counts.
_WORDS: tuple[tuple[tuple[str, ...], type[TodoctlError], str], ...] = (
    (('" does not exist', "context was not found"), UsageError, "kubectl config get-contexts"),
    (('" not found', "chart.yaml file is missing"), UsageError, "name a chart that is there"),
    (
        ("cluster unreachable", "dial tcp", "i/o timeout", "tls handshake", "no route to host", "connection refused"),
        UnhealthyError,
        "todoctl env show",
    ),
    (("is forbidden", "unauthorized", "must be logged in"), MissingError, "kubectl auth can-i --list"),
    (("another operation (install/upgrade/rollback) is in progress",), RefusedError, "todoctl unlock"),
    (
        ("cannot be imported into the current release", "already exists"),
        RefusedError,
        "kubectl get -o yaml says whose it is",
    ),
    (("timed out waiting",), WaitTimeoutError, "todoctl status"),
    (
        (
            "don't meet the specifications of the schema",
            "failed to parse",
            "execution error",
            "parse error",
            "is invalid",
        ),
        UsageError,
        "mend the values",
    ),
)


@dataclass(frozen=True)
class Release:
    """A release as Helm keeps it: its newest revision, or one of its history."""

    name: str
    namespace: str
    revision: int
    status: str  # deployed, failed, superseded, pending-…, uninstalling
    chart: str  # NAME-VERSION
    app_version: str
    updated: str
    description: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether a client was, or is, in the middle of it."""
        return self.status in PENDING


@dataclass(frozen=True)
class Upgrade:
    """What a release is to become."""

    name: str
    namespace: str
    chart: Path
    values: Mapping[str, Any]
    description: str = ""
    seconds: int = 300  # for hooks; nothing else is waited for
    take_ownership: bool = False


class Helm:
    """Helm on one context of the kubeconfig."""

    def __init__(self, program: Path, context: str, *, seconds: float = _SECONDS) -> None:
        try:
            from pyhelm3.command import Command
        except ModuleNotFoundError as error:
            raise MissingError("pyhelm3 is not installed", hint="pip install 'todoctl[kubernetes]'") from error
        # It would tell every failed command on stderr once more.
        logging.getLogger("pyhelm3").addHandler(logging.NullHandler())
        self.context, self._seconds = context, seconds

        class Replacing(Command):  # type: ignore[misc,unused-ignore]
            """It starts Helm by a shell, and ends that shell when it has to; `exec` makes Helm of it."""

            async def run(self, command: list[str], input: bytes | None = None) -> bytes:  # noqa: A002 - pyhelm3's name
                return bytes(await super().run([str(program), *command], input))

        self._command = Replacing(
            executable="exec", kubecontext=context, history_max_revisions=_KEPT, default_timeout="5m"
        )

    def release(self, name: str, namespace: str) -> Release | None:
        """The release's newest revision in whatever state, None where there is none."""
        found = self.history(name, namespace)
        return found[-1] if found else None

    def history(self, name: str, namespace: str) -> list[Release]:
        """The kept revisions, the oldest first; [] where there is no such release."""
        from pyhelm3.errors import ReleaseNotFoundError

        try:
            rows = self._looked_up(f"history of {name}", lambda: self._command.history(name, namespace=namespace))
        except _NotFoundError as error:
            if isinstance(error.__cause__, ReleaseNotFoundError):
                return []
            raise
        return [_revision(name, namespace, row) for row in rows]

    def releases(self, namespace: str = "") -> list[Release]:
        """The newest revision of every release, of one namespace or of all."""
        where: dict[str, Any] = {"namespace": namespace} if namespace else {"all_namespaces": True}
        rows = self._looked_up("list", lambda: self._command.list(all=True, **where))
        return [_listed(row) for row in rows]

    def values(self, name: str, namespace: str, *, revision: int | None = None, every: bool = False) -> Object:
        """The values that were given to a release; with `every` the chart's own below them."""
        ask = functools.partial(self._command.get_values, name, namespace=namespace, revision=revision, computed=every)
        return dict(self._looked_up(f"values of {name}", ask))

    def objects(self, name: str, namespace: str, *, revision: int | None = None) -> list[Object]:
        """The objects of a release, hooks left out."""
        ask = functools.partial(self._command.get_resources, name, namespace=namespace, revision=revision)
        return [dict(item) for item in self._looked_up(f"objects of {name}", ask, read=list) if item]

    def rendered(self, wanted: Upgrade, *, is_upgrade: bool = False) -> list[Object]:
        """The objects that an upgrade would make, hooks included, resource definitions of `crds/` left out."""
        ask = functools.partial(
            self._command.template,
            wanted.name,
            wanted.chart,
            dict(wanted.values),
            namespace=wanted.namespace,
            is_upgrade=is_upgrade,
        )
        return [dict(item) for item in self._run(f"template of {wanted.chart}", ask, read=list) if item]

    def upgrade(self, wanted: Upgrade) -> Release:
        """Install or upgrade; returns when Helm has applied everything, whatever becomes of it.

        Raises:
            UsageError: the values do not fit the chart.
            RefusedError: another operation is in progress, or an object belongs to somebody else.
        """
        ask = functools.partial(
            self._command.install_or_upgrade,
            wanted.name,
            wanted.chart,
            dict(wanted.values),
            namespace=wanted.namespace,
            description=wanted.description or None,
            timeout=f"{wanted.seconds}s",
            take_ownership=wanted.take_ownership,
            skip_crds=True,
            # Without it Helm takes empty values for "as before".
            reset_values=True,
        )
        return _status(self._run(f"upgrade of {wanted.name}", ask))

    def rollback(self, name: str, namespace: str, revision: int | None, *, seconds: int = 300) -> None:
        """Make a revision the newest again, as a new one; returns when Helm has applied it."""
        ask = functools.partial(self._command.rollback, name, revision, namespace=namespace, timeout=f"{seconds}s")
        self._run(f"rollback of {name}", ask)

    def uninstall(self, name: str, namespace: str, *, seconds: int = 300) -> None:
        """Remove a release and its objects, and wait until they are gone."""
        ask = functools.partial(self._command.uninstall, name, namespace=namespace, wait=True, timeout=f"{seconds}s")
        self._run(f"uninstall of {name}", ask)

    def pull(self, chart: str, *, repository: str, version: str) -> Path:
        """Fetch a chart and unpack it; gives the folder that holds it, which the caller removes.

        Raises:
            MissingError: it can't be had from there.
        """
        given = {"repo": repository} if not chart.startswith("oci://") else {}
        ask = functools.partial(self._command.pull, chart, version=version, **given)
        try:
            return Path(self._run(f"pull of {chart} {version}", ask))
        except TodoctlError as error:
            raise MissingError(
                f"the chart {chart} {version} can't be fetched from {repository or chart}", detail=error.detail
            ) from error

    def _looked_up(self, what: str, ask: Any, read: Any = None) -> Any:
        return self._run(what, ask, read, seconds=self._seconds)

    def _run(self, what: str, ask: Any, read: Any = None, *, seconds: float | None = None) -> Any:
        """What a command of pyhelm3's says; `read` turns what is lazy into values while errors are still ours."""
        with _translated(what):
            answer = asyncio.run(_awaited(ask(), seconds))
            return read(answer) if read else answer


class _NotFoundError(TodoctlError):
    """There is no such release."""


async def _awaited(work: Coroutine[Any, Any, T], seconds: float | None) -> T:
    async with asyncio.timeout(seconds):
        return await work


@contextmanager
def _translated(what: str) -> Iterator[None]:
    from pyhelm3 import errors

    try:
        yield
    except errors.Error as error:
        said = error.stderr.decode(errors="replace").strip()
        kind, hint = _kind(error, said)
        lines = tuple(line for line in said.splitlines() if line.strip() and not line.startswith("WARNING:"))
        raise kind(f"helm: {what}: {_first(lines)}", hint=hint, detail=lines[-_LINES:]) from error
    except TimeoutError as error:
        raise UnhealthyError(
            f"helm: {what}: the cluster takes connections and does not answer", hint="kubectl version; todoctl doctor"
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise TodoctlError(f"helm: {what}: the answer can't be read: {error}", hint="todoctl tools list") from error


def _kind(error: Exception, said: str) -> tuple[type[TodoctlError], str]:
    from pyhelm3 import errors

    known: dict[type[Exception], tuple[type[TodoctlError], str]] = {
        errors.ConnectionError: (UnhealthyError, "todoctl env show"),
        errors.ReleaseNotFoundError: (_NotFoundError, "todoctl history"),
        errors.ChartNotFoundError: (MissingError, "name a chart that is there"),
        errors.FailedToRenderChartError: (UsageError, "mend the values"),
        errors.ResourceAlreadyExistsError: (RefusedError, "kubectl get -o yaml says whose it is"),
        errors.CommandCancelledError: (TodoctlError, "run the same command again"),
    }
    if type(error) in known:
        return known[type(error)]
    lowered = said.lower()
    for words, kind, hint in _WORDS:
        if any(word in lowered for word in words):
            return kind, hint
    return TodoctlError, "todoctl history"


def _first(lines: tuple[str, ...]) -> str:
    """Helm's own sentence, without the repetition of its wrapping."""
    found = next((line for line in lines if line.startswith("Error:")), lines[-1] if lines else "it says nothing")
    return found.removeprefix("Error:").strip()


def _revision(name: str, namespace: str, row: Mapping[str, Any]) -> Release:
    return Release(
        name,
        namespace,
        int(row["revision"]),
        str(row["status"]),
        str(row["chart"]),
        str(row.get("app_version", "")),
        str(row.get("updated", "")),
        str(row.get("description", "")),
    )


def _listed(row: Mapping[str, Any]) -> Release:
    return _revision(str(row["name"]), str(row["namespace"]), row)


def _status(found: Mapping[str, Any]) -> Release:
    info, metadata = found["info"], found["chart"]["metadata"]
    return Release(
        str(found["name"]),
        str(found["namespace"]),
        int(found["version"]),
        str(info["status"]),
        f"{metadata['name']}-{metadata['version']}",
        str(metadata.get("appVersion", "")),
        str(info.get("last_deployed", "")),
        str(info.get("description", "")),
    )
