"""Where a trace looks on an environment of processes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from todoctl.adapters import sidecar
from todoctl.core.parts import MAIL_SECRET
from todoctl.core.ports import sidecar_port
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.local import readiness
from todoctl.operations.local.state import State


def intent(values: Values, recorded: State, key: str) -> Mapping[str, Any] | None:
    """The mail sender's note under `key`, as its sidecar has it; None where there is none."""
    sender = next((name for name, service in values.services.items() if MAIL_SECRET in service.secrets), None)
    if sender is None:
        raise TodoctlError("no service of the chart sends mails")
    port = recorded.ports[sidecar_port(sender, "http")]
    return sidecar.stored(port, recorded.secrets.dapr_token, values.dapr.statestore.name, key)


def ailing(values: Values, recorded: State) -> dict[str, str]:
    """Part → what it says is wrong with it, of those that are not well."""
    looks: dict[str, Callable[[], str | None]] = {}
    for name in values.services:
        looks[name] = partial(readiness.service_is_ready, recorded, name)
        looks[f"{name}-daprd"] = partial(sidecar.sidecar_is_ready, recorded.ports[sidecar_port(name, "http")], name)
    with ThreadPoolExecutor(max_workers=len(looks)) as pool:
        answers = {name: pool.submit(look) for name, look in looks.items()}
        return {name: answer for name, future in answers.items() if (answer := future.result()) is not None}
