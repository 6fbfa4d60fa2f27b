"""An environment of processes: up with what should run there, and down without a process left."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from todoctl.core.values import Values
from todoctl.errors import UsageError
from todoctl.operations.lifecycle import Asked, Stopped
from todoctl.operations.local import down, running, state, up
from todoctl.operations.local.up import Up
from todoctl.operations.steps import StepEvent
from todoctl.settings import Settings


@dataclass
class LocalLifecycle:
    """The environment on this machine; `values` gives those that it runs with, which `--checkout` changes."""

    settings: Settings
    values: Callable[[], Values]
    environ: Mapping[str, str]
    _run: Up | None = field(default=None)

    def alone(self, what: str, *, seconds: float) -> AbstractContextManager[None]:
        """One command at a time changes the environment."""
        return state.lock(self.settings, what, seconds=seconds)

    def up(self, asked: Asked, warn: Callable[[str], None]) -> Generator[StepEvent, None, None]:
        """Install what is missing, start every part as soon as what it needs is ready."""
        if asked.bundle:
            raise UsageError("--bundle has charts for a cluster; nothing here needs one", hint="leave it away")
        if asked.checkout:
            running.run_checkout(self.settings)
        if stuck := running.stuck(self.settings):
            warn(f"{stuck}; what ran before it is brought up, todoctl unlock writes it down as failed")
        self._run = run = up.begin(self.settings, self.values(), self.environ, seconds=asked.seconds)
        for name in run.moved_ports:
            warn(f"port of {name} was taken by another program; it is {run.state.ports[name]} now")
        yield from run.steps()

    def undo(self) -> Iterator[StepEvent]:
        """Stop what this `up` started, when nothing ran before it."""
        if self._run is not None and "supervisord" in self._run.started:
            for item in down.bring_down(self.settings, purge=False):
                yield StepEvent(item.name, "ready", item.how, 0.0)

    @property
    def has_changed(self) -> bool:
        """Whether anything was started."""
        return self._run is not None and bool(self._run.started)

    def words(self) -> str:
        """With the release, and the page's address."""
        what = running.words(self.settings)
        recorded = self._run.state if self._run else state.load(self.settings, self.values())
        return f"the platform is up{what and f' with {what}'}: http://127.0.0.1:{recorded.ports['api']}"

    def loses(self) -> str:
        """All data."""
        return f"all data of {self.settings.name!r} in {self.settings.state}" if self.settings.state.exists() else ""

    def down(self, *, purge: bool, foreign: bool) -> Iterator[Stopped]:
        """Consumers before what they read from."""
        if foreign:
            raise UsageError("--foreign is about Minikube profiles; here everything is ours", hint="leave it away")
        yield from down.bring_down(self.settings, purge=purge)
