"""One deploy at a time in a namespace, whoever starts it from wherever: a Lease that its holder renews."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime

from todoctl.adapters.kube.answers import KubeError
from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import LEASES
from todoctl.adapters.whoami import Whoami, is_running, whoami
from todoctl.errors import RefusedError, TodoctlError

_SECONDS = 30  # after which a holder that does not renew is gone
_RENEW = 8.0
_NOTE = "todoctl.dev/holder"
_CONFLICT = 409


@contextmanager
def held(kube: Kube, name: str, what: str, me: Whoami) -> Iterator[None]:
    """Hold the namespace's lease for the length of a block.

    Raises:
        RefusedError: somebody else has it; it says who, and what they do.
    """
    _take(kube, name, lease(name, what, me), me)
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(kube, name, ended), name="lease", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        # A cluster that is away now must not hide what happened; the lease ends by itself.
        with suppress(TodoctlError):
            kube.delete(LEASES, name)


def holder(kube: Kube, name: str) -> str | None:
    """Who holds it now, as far as can be told; None where nobody does."""
    there = kube.get(LEASES, name)
    return str(there["spec"].get("holderIdentity", "somebody")) if there and not _is_free(there, whoami()) else None


def _take(kube: Kube, name: str, mine: Object, me: Whoami) -> None:
    there = kube.get(LEASES, name)
    try:
        if there is None:
            kube.create(LEASES, mine)
            return
        _require_free(there, me)
        version = {"resourceVersion": there["metadata"]["resourceVersion"]}
        kube.patch(LEASES, name, {**mine, "metadata": {**mine["metadata"], **version}})
    except KubeError as error:
        if error.status != _CONFLICT:
            raise
        raise RefusedError("another todoctl began at the same moment", hint="todoctl history") from error


def _require_free(there: Object, me: Whoami) -> None:
    if not _is_free(there, me):
        raise RefusedError(
            f"{there['spec'].get('holderIdentity', 'somebody')} works on the environment",
            hint=f"wait for it; where it was killed, it is free {_SECONDS} s later",
        )


def _is_free(there: Object, me: Whoami) -> bool:
    """Whether its holder does not renew it any more, or was a process of this machine that is gone."""
    spec, said = there["spec"], _holder(there)
    renewed = datetime.fromisoformat(str(spec.get("renewTime", "1970-01-01T00:00:00+00:00")))
    if (datetime.now(UTC) - renewed).total_seconds() > int(spec.get("leaseDurationSeconds", _SECONDS)):
        return True
    return said.get("host") == me.host and not is_running(int(said.get("pid", 0)), str(said.get("started", "")))


def _holder(there: Object) -> Object:
    try:
        return dict(json.loads((there["metadata"].get("annotations") or {}).get(_NOTE, "{}")))
    except ValueError:
        return {}


def lease(name: str, what: str, me: Whoami) -> Object:
    """The Lease of who begins now."""
    now = _now()
    return {
        "apiVersion": LEASES.api,
        "kind": "Lease",
        "metadata": {"name": name, "annotations": {_NOTE: json.dumps(asdict(me))}},
        "spec": {
            "holderIdentity": f"{what} of {me.user}@{me.host}, process {me.pid}",
            "leaseDurationSeconds": _SECONDS,
            "acquireTime": now,
            "renewTime": now,
        },
    }


def _renew(kube: Kube, name: str, ended: threading.Event) -> None:
    while not ended.wait(_RENEW):
        with suppress(TodoctlError):
            kube.patch(LEASES, name, {"spec": {"renewTime": _now()}})


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
