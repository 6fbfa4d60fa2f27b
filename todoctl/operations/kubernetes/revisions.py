"""A cluster's releases as Helm and our records have them, what one is to be, and bringing an earlier one back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from todoctl.adapters.helm import Helm, Object, Upgrade
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.sidecar import takes_calls
from todoctl.core.colours import Colour, active_colour, are_the_same
from todoctl.core.releases import Manifest, Release
from todoctl.core.values import Values
from todoctl.errors import RefusedError, TodoctlError
from todoctl.operations.kubernetes.colours import Colours, TakesCalls
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.pods import active
from todoctl.operations.kubernetes.records import Records, history
from todoctl.operations.kubernetes.rollout import Rollout
from todoctl.operations.operators.site import Clock
from todoctl.operations.releases import ended
from todoctl.operations.steps import StepEvent

RELEASE = "todo"  # the name of the chart's one release in a namespace


@dataclass(frozen=True)
class Candidate:
    """What a release is to be: values, the objects that Helm makes of them, and what its code says of itself.

    Without an `upgrade` it is an earlier revision that comes back. `beside` is what first makes the other colour ready.
    """

    values: Values
    objects: Sequence[Object]
    manifest: Manifest
    upgrade: Upgrade | None = None
    beside: Beside | None = None

    @property
    def colour(self) -> Colour:
        """The colour that Services lead to then."""
        return active_colour(self.objects)


@dataclass(frozen=True)
class Beside:
    """A step before a blue-green release: its pods beside those that run, idle."""

    upgrade: Upgrade
    objects: Sequence[Object]


@dataclass(frozen=True)
class Revisions:
    """A cluster's releases, and how they are seen and changed."""

    kube: Kube
    helm: Helm
    clock: Clock
    records: Records
    platform: Callable[[Values], ClusterPlatform]
    folder: Path  # where evidence is kept
    by: str
    seconds: float
    takes_calls: TakesCalls = takes_calls

    @property
    def namespace(self) -> str:
        """Where they are."""
        return self.kube.namespace

    def history(self) -> list[Release]:
        """Every release, oldest first."""
        return history(self.helm.history(RELEASE, self.namespace), self.records.all())

    def objects(self, revision: int) -> list[Object]:
        """The objects of a release as Helm keeps them."""
        return self.helm.objects(RELEASE, self.namespace, revision=revision)

    def values(self, revision: int) -> Values:
        """The values of a release, the chart's own below them.

        Raises:
            TodoctlError: they do not fit this todoctl's model.
        """
        found = self.helm.values(RELEASE, self.namespace, revision=revision, every=True)
        try:
            return Values.model_validate(found)
        except ValidationError as error:
            raise TodoctlError(
                f"the values of release {revision} do not fit this version of todoctl: {error.errors()[0]['msg']}",
                hint="use the todoctl that made it",
            ) from error

    def newest(self) -> int:
        """Helm's newest revision, 0 where there is none."""
        found = self.helm.release(RELEASE, self.namespace)
        return found.revision if found else 0

    @property
    def colours(self) -> Colours:
        """Both colours."""
        return Colours(self.kube, self.clock, self.platform, self.seconds, self.takes_calls)

    def crossing(self, objects: Sequence[Object], values: Values) -> Iterator[StepEvent]:
        """Switch the colour of these objects on where another one runs now; Services may lead to it then."""
        wanted, now = active_colour(objects), active(self.kube)
        if wanted != now:
            self.colours.as_many(objects, wanted, now)
            yield from self.colours.switch_on(wanted, values)

    def can_turn_to(self, objects: Sequence[Object]) -> bool:
        """Whether Services can be turned to these objects' colour: they lead there, or its pods wait, and are these objects' own.

        A colour may have pods of an older release than the one that comes back: they must not serve for a moment, either.
        """
        colour = active_colour(objects)
        if colour == active(self.kube):
            return True
        return are_the_same(self.objects(self.newest()), objects, colour) and self.colours.are_there(objects, colour)

    def settle(self, release: Release | None) -> Iterator[StepEvent]:
        """Have only the colour of a release work, after a switch that did not get to Helm."""
        if release is not None:
            objects = self.objects(release.revision)
            yield from self.colours.settle(objects, active_colour(objects), self.values(release.revision))

    def wait(self, objects: Sequence[Object]) -> Iterator[StepEvent]:
        """Wait until everything of a release is ready."""
        return Rollout(self.kube, self.clock, objects, self.clock.now()).wait(seconds=self.seconds)

    def return_to(self, revision: int, why: str) -> Iterator[StepEvent]:
        """Bring an earlier revision back as a new one, and wait for it.

        Whatever was in the middle of a switch between colours, only this one's works afterwards.

        Raises:
            RefusedError: it runs as a colour whose pods are gone.
        """
        objects, values = self.objects(revision), self.values(revision)
        if not self.can_turn_to(objects):
            raise RefusedError(
                f"release {revision} runs as {active_colour(objects)}, whose pods are gone", hint="todoctl unlock"
            )
        target = next(item for item in self.history() if item.revision == revision)
        made, now = self.newest() + 1, datetime.now(UTC)
        changed: dict[str, Any] = {
            "revision": made,
            "state": "pending-rollback",
            "created_at": now,
            "by": self.by,
            "replaces": made - 1,
            "returns_to": revision,
            "finished_at": None,
            "result": "",
        }
        back = target.model_copy(update=changed)
        self.records.write(back, self.records.manifest(revision))
        yield from self.crossing(objects, values)
        yield StepEvent("helm", "starting", f"back to revision {revision}", 0.0)
        self.helm.rollback(RELEASE, self.namespace, revision, seconds=int(self.seconds))
        yield StepEvent("helm", "ready", f"revision {made} is revision {revision} again", 0.0)
        yield from self.wait(objects)
        self._sweep(revision, objects)
        yield from self.colours.settle(objects, active_colour(objects), values)
        self.records.write(ended(back, "deployed", f"back to {revision}: {why}"))

    def _sweep(self, revision: int, objects: Sequence[Object]) -> None:
        """Remove what later revisions had and these objects have not.

        Helm removes what its newest revision had. One that was killed may have had less than there was, and what it did not
        get to is nobody's then, such as the pods of a colour.
        """
        left = {_key(item) for item in objects}
        for later in self.helm.history(RELEASE, self.namespace):
            for item in self.objects(later.revision) if later.revision > revision else ():
                if _key(item) not in left and not _stays(item):
                    left.add(_key(item))
                    kind = self.kube.kind(str(item["apiVersion"]), str(item["kind"]))
                    self.kube.delete(kind, str(item["metadata"]["name"]), namespace=item["metadata"].get("namespace"))

    def remove(self) -> Iterator[StepEvent]:
        """Remove a first release that failed; Helm keeps what must outlive it."""
        yield StepEvent("helm", "starting", "removes the first release", 0.0)
        self.helm.uninstall(RELEASE, self.namespace, seconds=int(self.seconds) + 60)
        yield StepEvent("helm", "ready", "the first release is removed", 0.0)


def _key(item: Object) -> tuple[str, ...]:
    return str(item["kind"]), str(item["metadata"].get("namespace", "")), str(item["metadata"]["name"])


def _stays(item: Object) -> bool:
    """Whether Helm leaves it where a release does not have it any more."""
    return (item["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"
