"""A replay as a process of its own that starts at once: forked from a server which has everything imported."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from uuid import uuid4

from tests.unit.sites import chart_values
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.whoami import whoami
from todoctl.core.dlq.decisions import Operator
from todoctl.operations.dlq import running
from todoctl.operations.dlq.desk import open_desk
from todoctl.operations.dlq.replaying import check_plan, open_plan

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["confluent_kafka", "confluent_kafka.admin", "tests.live.replayer"])


def start(address: str, path: Path, batch: int, rate: float) -> ForkServerProcess:
    """The process, started."""
    process = _CONTEXT.Process(target=_replay, args=(address, path, batch, rate), daemon=True)
    process.start()
    return process


def me(command: str, plan: str = "") -> Operator:
    """This process as an operator."""
    who, now = whoami(), datetime.now(UTC).isoformat()
    return Operator(uuid4().hex, who.user, who.host, who.pid, who.started, command, plan, now, now)


def _replay(address: str, path: Path, batch: int, rate: float) -> None:
    desk = open_desk(Broker({"bootstrap.servers": address}), chart_values(), "dlq-events")
    header = open_plan(path, takes_changed=False)
    check_plan(desk, header)
    request = running.ReplayRequest(header, path, {}, rate=rate, batch=batch, trial=0)
    for _ in running.run(desk, request, me("replay", header.id), clock=lambda: datetime.now(UTC)):
        pass
