"""A Minikube with the platform in it: from nothing, from half-way, or as it was, to one that is proven; and down again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from time import monotonic

from todoctl.adapters import api, chart
from todoctl.adapters.minikube import Minikube, Profile
from todoctl.core.releases import pending
from todoctl.core.values import Values
from todoctl.errors import RefusedError, TodoctlError, UsageError
from todoctl.operations import images as building
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.releases import ClusterReleases
from todoctl.operations.lifecycle import Asked, Stopped
from todoctl.operations.local import state
from todoctl.operations.minikube import access, loading, operators
from todoctl.operations.minikube.needs import Needs, minikube, profile_name, require
from todoctl.operations.operators import site as sites
from todoctl.operations.operators import waiting
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import State, StepEvent
from todoctl.settings import Settings

CPUS = 4
MEMORY = 8192  # MiB
_ENOUGH = 8000  # of a profile that is there: many take 8 GB for that
_OPERATOR_SECONDS = 600.0  # a first install fetches images
_ACCESS_SECONDS = 30.0


@dataclass
class MinikubeLifecycle:
    """The environment's profile; `files` are the environment's values, below what is loaded."""

    settings: Settings
    files: tuple[Path, ...]
    environ: Mapping[str, str]
    has_changed: bool = False
    _since: float = field(default_factory=monotonic)
    _releasing: float = 0.0
    _page: str = ""
    _holder: Popen[bytes] | None = None  # runs on when we have ended

    def alone(self, what: str, *, seconds: float) -> AbstractContextManager[None]:
        """One `up` or `down` at a time on this machine."""
        return state.lock(self.settings, what, seconds=seconds)

    def up(self, asked: Asked, warn: Callable[[str], None]) -> Generator[StepEvent, None, None]:
        """Profile, images, operators, release, access, in this order; each only as far as it is missing.

        Raises:
            MissingError: a tool or a driver is missing.
            RefusedError: the profile is too small, or the machine is.
            TodoctlError: something does not get ready.
        """
        if asked.checkout:
            raise UsageError("up on a Minikube always releases what is at hand", hint="leave --checkout away")
        self._since = monotonic()
        values, needs = self._values(), require(self.settings, self.environ)
        yield from self._profile(needs.minikube, warn)
        yield from self._images(values, needs)
        for name in operators.wanted(values):
            seconds = max(asked.seconds, _OPERATOR_SECONDS)
            yield from self._operator(name, asked.bundle, seconds)
        yield from self._release(asked.seconds, warn)
        yield from self._access(values, warn)

    def undo(self) -> Iterator[StepEvent]:
        """A release that was in the making goes back; everything else is gone on with by the next `up`."""
        if self._releasing:
            with self._releases(self._releasing) as releases, releases.alone("up"):
                if pending(releases.history()):
                    yield from releases.unlock()

    def words(self) -> str:
        """Where the page is."""
        where = self._page or f"todoctl -e {self.settings.name} open --forward leads to the page"
        return f"the platform is up in Minikube ({profile_name(self.settings)}): {where}"

    def loses(self) -> str:
        """The profile with all that is in it."""
        found = minikube(self.settings, self.environ).found()
        return f"the Minikube profile {found.name!r} with all that is in it" if found else ""

    def down(self, *, purge: bool, foreign: bool) -> Iterator[Stopped]:
        """Stop the profile, or with `purge` remove it.

        Raises:
            RefusedError: todoctl did not make it.
        """
        there = minikube(self.settings, self.environ)
        profile = there.found()
        if profile is not None:
            self._require_ours(profile, foreign=foreign)
        if access.release(self.settings):
            yield Stopped("the page's ports", "released")
        if profile is not None:
            name = f"Minikube profile {profile.name}"
            if purge:
                for _ in there.delete():
                    pass
                yield Stopped(name, "removed")
            elif there.runs():
                for _ in there.stop():
                    pass
                yield Stopped(name, "stopped")
        if purge and self.settings.state.exists():
            shutil.rmtree(self.settings.state)
            yield Stopped("data", f"removed {self.settings.state}")

    def _require_ours(self, profile: Profile, *, foreign: bool) -> None:
        if not profile.is_ours and not foreign:
            raise RefusedError(
                f"the Minikube profile {profile.name!r} was not made by todoctl: somebody may need it for something else",
                hint=f"minikube stop -p {profile.name}; or todoctl down --foreign, when it may go",
            )

    def _values(self) -> Values:
        return chart.read_values(self.settings.chart, self.files)

    def _profile(self, there: Minikube, warn: Callable[[str], None]) -> Iterator[StepEvent]:
        profile = there.found()
        if profile is None:
            yield from self._told("minikube", there.create(cpus=CPUS, memory=MEMORY))
            yield self._event("minikube", "ready", f"made {there.profile} with {CPUS} CPUs and {MEMORY} MiB")
            return
        if profile.cpus < CPUS or profile.memory < _ENOUGH:
            _refuse_small(self.settings, profile)
        if not profile.is_ours:
            warn(f"the Minikube profile {profile.name!r} was not made by todoctl; it is used, and not stopped by down")
        troubles = there.troubles()
        if troubles:
            yield from self._told("minikube", there.start())
        yield self._event(
            "minikube", "ready", f"{profile.name} on {profile.driver} {'started' if troubles else 'runs'}"
        )

    def _images(self, values: Values, needs: Needs) -> Iterator[StepEvent]:
        source = building.source()
        vendor = building.vendor(self.settings.cache, self.environ)
        tag = building.content_tag(source, vendor)
        sources = loading.Sources(source, vendor, self.environ.get("TODOCTL_BASE_IMAGE", ""), tag)
        yield from self._told(
            "images", loading.bring(self.settings, values, sources, needs.builder, needs.minikube, environ=self.environ)
        )
        loading.write_values(self.settings, values, tag)
        yield self._event("images", "ready", f"{tag} of {loading.registry_of(values)}")

    def _operator(self, name: str, bundle: Path | None, seconds: float) -> Iterator[StepEvent]:
        with sites.opened(self.settings, self.environ) as site:
            for words, is_change in operators.bring(site, name, bundle, seconds=seconds):
                self.has_changed |= is_change
                yield self._event(name, "starting", words)
        yield self._event(name, "ready", "runs")

    def _release(self, seconds: float, warn: Callable[[str], None]) -> Iterator[StepEvent]:
        with self._releases(seconds) as releases, releases.alone("deploy"):
            if stuck := pending(releases.history()):
                warn(f"release {stuck.revision} is {stuck.state}: what made it was killed, it goes back first")
                yield from releases.unlock()
            with releases.deploy() as change:
                count = len(change.plan.differences)
                if count:
                    change.plan.require_free(force=False)
                    yield self._event("release", "starting", f"{count} differences")
                    self.has_changed, self._releasing = True, seconds
                    yield from change.carry_out(None)
                    self._releasing = 0.0
                else:
                    yield from self._told("release", self._healthy(releases, seconds), is_change=False)
                yield self._event("release", "ready", f"release {change.outcome().revision} runs")

    def _access(self, values: Values, warn: Callable[[str], None]) -> Iterator[StepEvent]:
        """The page works only at the origin that the values tell it, which is a port of this machine."""
        page = values.kubernetes.urls.page if values.kubernetes else ""
        if not (access.is_held(self.settings) and api.answers(page)):
            yield self._event("access", "starting", page)
            try:
                self._holder = access.hold(
                    self.settings, self.environ, access.command(self.settings), seconds=_ACCESS_SECONDS
                )
            except TodoctlError as error:
                warn(f"no ports of this machine lead to the page: {error.message}")
                return
        self._page = page
        yield self._event("access", "ready", page)

    def _healthy(self, releases: ClusterReleases, seconds: float) -> Iterator[str]:
        """Wait until every part of what runs is well, as after a start of the machine."""
        platform = ClusterPlatform(self.settings, self._values(), self.environ)
        clock = Clock()

        def look() -> str:
            return "; ".join(f"{name}: {words}" for name, words in platform.ailing().items())

        try:
            yield from waiting.until(clock, clock.now() + seconds, look, f"the platform in {releases.kube.namespace}")
        finally:
            platform.close()

    @contextmanager
    def _releases(self, seconds: float) -> Iterator[ClusterReleases]:
        with sites.connected(self.settings, self.environ) as (kube, helm):
            files = (*self.files, loading.values_file(self.settings))
            yield ClusterReleases(self.settings, kube, helm, files, self.environ, seconds)

    def _told(self, name: str, lines: Iterable[str], *, is_change: bool = True) -> Iterator[StepEvent]:
        for line in lines:
            self.has_changed |= is_change
            yield self._event(name, "starting", line)

    def _event(self, name: str, now: State, detail: str) -> StepEvent:
        return StepEvent(name, now, detail, monotonic() - self._since)


def _refuse_small(settings: Settings, profile: Profile) -> None:
    raise RefusedError(
        f"the Minikube profile {profile.name!r} has {profile.cpus} CPUs and {profile.memory} MiB; the platform needs "
        f"{CPUS} and {MEMORY}, and Minikube can't change that",
        hint=f"minikube delete -p {profile.name}, or name another context in [environments.{settings.name}]; then up again",
    )
