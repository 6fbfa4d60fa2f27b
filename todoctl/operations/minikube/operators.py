"""The operators that a Minikube needs: installed where they are missing, awaited where they are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from todoctl.adapters.helm import Release
from todoctl.adapters.tools.pins import ChartPin
from todoctl.core.operators import Operator, Source
from todoctl.core.values import Values
from todoctl.operations.operators import installing, planning, waiting
from todoctl.operations.operators import site as sites
from todoctl.operations.operators.site import Site


def wanted(values: Values) -> tuple[str, ...]:
    """Dapr, and Strimzi where Kafka is in the cluster."""
    cluster = values.kubernetes
    is_inside = cluster is not None and cluster.kafka.strimzi.enabled and not cluster.kafka.brokers
    return ("dapr", "strimzi") if is_inside else ("dapr",)


def bring(site: Site, name: str, bundle: Path | None, *, seconds: float) -> Iterator[tuple[str, bool]]:
    """See that an operator of the pinned line runs; yields what happens, and whether it was a change.

    One that is there is not upgraded: that is what `todoctl install` is for.

    Raises:
        RefusedError: a check refuses.
        MissingError: its chart can't be had.
        TodoctlError: it does not get ready.
    """
    operator, pin = sites.operator(name), sites.pin_of(sites.operator(name))
    release = site.helm.release(operator.release, operator.namespace)
    if release is not None and release.is_pending:
        # Only one `up` works here at a time, so nobody is in the middle of it.
        yield f"forgets what did not end: {installing.forget_attempt(site, release)}", True
        release = site.helm.release(operator.release, operator.namespace)
    if release is not None and _fits(release, pin):
        yield from ((missing, False) for missing in _awaited(site, operator, seconds))
        return
    source = Source("bundle", str(bundle)) if bundle else Source("repository", "")
    yield f"fetching the chart {pin.chart} {pin.version}", True
    with sites.chart(operator, source, sites.pulled(site.helm)) as found:
        wanted = planning.ask(site, name, source, found, {}, fresh=False, available=False)
        plan = planning.plan(site, planning.Asked(wanted, found))
        plan.require_free()
        for event in installing.carry_out(site, plan, seconds=seconds):
            yield f"{event.name}: {event.detail}", True


def _fits(release: Release, pin: ChartPin) -> bool:
    """Whether it stands, and is of the line that this todoctl was made for."""
    line = ".".join(pin.version.split(".")[:2])
    return release.status == "deployed" and release.chart.startswith((f"{pin.chart}-{line}.", f"{pin.chart}-v{line}."))


def _awaited(site: Site, operator: Operator, seconds: float) -> Iterator[str]:
    parts = installing.parts_of(site, operator.release, operator.namespace)
    deadline = site.clock.now() + seconds
    yield from waiting.until(
        site.clock, deadline, lambda: waiting.workloads(site.kube, parts), f"{operator.name}: its pods"
    )
