"""Carrying an install out: definitions, release, then proof that everything of it works."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from todoctl.adapters.helm import Release
from todoctl.adapters.kube.kinds import SECRETS
from todoctl.errors import TodoctlError
from todoctl.operations.operators import waiting
from todoctl.operations.operators.planning import Plan
from todoctl.operations.operators.site import Site
from todoctl.operations.steps import StepEvent

PROBED_IN = "default"  # a namespace that every cluster has; nothing is made there


def carry_out(site: Site, plan: Plan, *, seconds: float) -> Iterator[StepEvent]:
    """Do what the plan says, and prove what is there then; without changes only the proof. Yields how far it is.

    Raises:
        UnhealthyError: a pod won't get ready.
        WaitTimeoutError: something was not ready in `seconds`; the same command goes on from there.
        RefusedError: Helm found something in the way.
    """
    wanted, upgrade = plan.asked.wanted, plan.asked.upgrade
    started = site.clock.now()
    deadline = started + seconds

    def told(name: str, state: str, detail: str) -> StepEvent:
        return StepEvent(name, state, detail, site.clock.now() - started)  # type: ignore[arg-type]

    def waited(name: str, look: Callable[[], str], seen: str) -> Iterator[StepEvent]:
        for missing in waiting.until(site.clock, deadline, look, f"{wanted.operator.name}: {name}"):
            yield told(name, "starting", missing)
        yield told(name, "ready", seen)

    changed = {action.name for action in plan.changes}
    names = [item["metadata"]["name"] for item in wanted.definitions]
    if names:
        yield told("definitions", "starting", f"{len(changed & set(names))} of {len(names)} change")
        for definition in wanted.definitions:
            if definition["metadata"]["name"] in changed:
                site.kube.apply(definition)
        yield from waited("definitions", lambda: waiting.definitions(site.kube, names), f"{len(names)} established")
    if f"{upgrade.namespace}/{upgrade.name}" in changed:
        yield told("release", "starting", f"chart {wanted.version}")
        release = site.helm.upgrade(upgrade)
        yield told("release", "ready", f"revision {release.revision} in {release.namespace}")
    parts = parts_of(site, upgrade.name, upgrade.namespace)
    yield from waited("pods", lambda: waiting.workloads(site.kube, parts), f"{len(parts)} workloads are ready")
    if wanted.operator.probes:
        answering = ", ".join(probe.webhook for probe in wanted.operator.probes)
        yield from waited(
            "webhooks",
            lambda: waiting.probes(site.kube, wanted.operator.probes, PROBED_IN),
            f"{answering} answers" if len(wanted.operator.probes) == 1 else f"{answering} answer",
        )


def parts_of(site: Site, release: str, namespace: str) -> tuple[tuple[str, str, str], ...]:
    """The workloads of a release: kind, namespace, name."""
    return tuple(
        (item["kind"], item["metadata"].get("namespace") or namespace, item["metadata"]["name"])
        for item in site.helm.objects(release, namespace)
        if item["kind"] in waiting.WORKLOADS
    )


def forget_attempt(site: Site, release: Release) -> str:
    """Forget the attempt that a release is pending in, so that the next one may begin; gives what was forgotten.

    Raises:
        TodoctlError: the release is in no attempt.
    """
    if not release.is_pending:
        raise TodoctlError(f"the release {release.name} is {release.status}, no attempt is to be forgotten")
    name = f"sh.helm.release.v1.{release.name}.v{release.revision}"
    site.kube.delete(SECRETS, name, namespace=release.namespace)
    return f"revision {release.revision}, which was {release.status}"
