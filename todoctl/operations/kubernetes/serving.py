"""Which colour serves now, by what the cluster does: where Services lead, and which colours are switched on."""

from __future__ import annotations

from dataclasses import dataclass

from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, SERVICES
from todoctl.core.colours import CONFIG, LABEL, Colour, other, said_active
from todoctl.operations.kubernetes.pods import CHART

_PREVIEW = "-preview"


@dataclass(frozen=True)
class Serving:
    """The colour that Services lead to, and what the other one does.

    A switch that was killed leaves both at work: `both_work` then, and Services may even lead to either (`is_split`).
    """

    colour: Colour
    both_work: bool
    is_split: bool
    has_other: bool

    @property
    def idle(self) -> Colour | None:
        """The colour that waits beside it, None where there is none."""
        return other(self.colour) if self.has_other and not self.both_work else None

    def words(self) -> str:
        """For who reads why a release is in the way."""
        if self.is_split:
            return f"some Services lead to {self.colour}, some to {other(self.colour)}; both take events and jobs"
        if self.both_work:
            return f"Services lead to {self.colour}; {other(self.colour)} takes events and jobs beside it"
        return f"{self.colour} serves" + (f", {self.idle} is idle beside it" if self.idle else "")


def serving(kube: Kube) -> Serving:
    """Look at the namespace's Services, its switch and its Deployments."""
    config = kube.get(CONFIG_MAPS, CONFIG)
    led = _led(kube)
    colour = led.pop() if len(led) == 1 else said_active(config)
    beside = other(colour)
    is_on = config is not None and config.get("data", {}).get(beside) == "on"
    there = bool(kube.names(DEPLOYMENTS, selector=f"{LABEL}={beside}"))
    return Serving(colour, there and (is_on or len(led) > 1), len(led) > 1, there)


def _led(kube: Kube) -> set[Colour]:
    """The colours that Services lead to, without those that are only there for a look."""
    found = kube.items(SERVICES, selector=f"app.kubernetes.io/name={CHART}")
    said = {
        (item["spec"].get("selector") or {}).get(LABEL)
        for item in found
        if not str(item["metadata"]["name"]).endswith(_PREVIEW)
    }
    colours: tuple[Colour, ...] = ("blue", "green")
    return {colour for colour in colours if colour in said}
