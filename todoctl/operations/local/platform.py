"""The platform of processes on this machine, as commands ask for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from todoctl.adapters import mails, migrations
from todoctl.adapters.api import Addresses
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.mails import Mail
from todoctl.core.dapr import replica_name
from todoctl.core.logs import LogFilter, LogLine
from todoctl.core.parts import OWNER_ROLE, sends_mail, sidecar_name
from todoctl.core.ports import LOOPBACK, sidecar_port
from todoctl.core.site import Folders
from todoctl.core.values import Values
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.checks import Check, Finding
from todoctl.operations.local import doctor, logs, looking, readiness, restart, state, status, up
from todoctl.operations.local.state import State
from todoctl.operations.status import Status
from todoctl.operations.steps import StepEvent
from todoctl.settings import Settings


class LocalPlatform:
    """An environment on this machine; what it records is read when it is first asked for."""

    def __init__(self, settings: Settings, values: Values) -> None:
        self._settings, self.values = settings, values

    @cached_property
    def _recorded(self) -> State:
        return state.load(self._settings, self.values)

    @cached_property
    def _look(self) -> up.Up:
        return up.look(self._settings, self.values, self._recorded, os.environ)

    def addresses(self) -> Addresses:
        """The recorded ports on the loopback."""
        return state.addresses(self._recorded)

    def internal(self, service: str) -> str:
        """The service's own port."""
        return f"http://{LOOPBACK}:{self._recorded.ports[service]}"

    def broker(self) -> Broker:
        """The environment's own broker."""
        return readiness.broker(self._recorded)

    def database_url(self, role: str) -> str:
        """The environment's own database."""
        return self._recorded.secrets.database_url(role, self._recorded.ports["postgres"])

    def app_token(self) -> str:
        """From the environment's secrets."""
        return self._recorded.secrets.app_token

    def replicas(self, app: str) -> Sequence[str]:
        """The one that a machine has."""
        return [replica_name(app)]

    def mails(self, *, since: datetime | None = None) -> list[Mail]:
        """From the sink's folder, which outlives the sink."""
        self._require_ever_up()
        return mails.read(Folders(self._settings.state).mails, since=since)

    def keeps_mails(self) -> bool:
        """A machine always has a sink."""
        return True

    def intent(self, key: str) -> Mapping[str, Any] | None:
        """By the sender's sidecar."""
        return looking.intent(self.values, self._recorded, key)

    def ailing(self) -> Mapping[str, str]:
        """By what the services and their sidecars answer."""
        return looking.ailing(self.values, self._recorded)

    def status(self) -> Status:
        """Every process, lag and outbox."""
        run = self._look
        return status.observe(self._settings, self.values, self._recorded, run.assembly.parts, run.versions())

    def log_parts(self) -> Mapping[str, Sequence[str]]:
        """Each process is a part."""
        single = ["postgres", "kafka", "scheduler", *(["mailsink"] if sends_mail(self.values) else [])]
        services = {name: (name, sidecar_name(name)) for name in self.values.services}
        sidecars = {side: (side,) for _, side in services.values()}
        return {name: (name,) for name in single} | services | sidecars

    def logs(self, parts: Sequence[str], wanted: LogFilter, *, follow: bool = False) -> Iterator[LogLine]:
        """From the files that supervisord writes."""
        self._require_ever_up()
        return logs.read(Folders(self._settings.state), parts, wanted, follow=follow)

    def checks(self) -> Sequence[Check]:
        """Of the whole platform; of the machine alone where it was never brought up."""
        if not state.exists(self._settings):
            return doctor.machine_checks(self._settings, self.values, os.environ)
        return doctor.checks(self._look)

    def mend(self, finding: Finding) -> str:
        """Topics that are missing or have other settings."""
        return doctor.mend(self._look, finding)

    def restart(self, services: Sequence[str], *, seconds: float) -> Iterator[StepEvent]:
        """By supervisord, while nobody else changes the environment."""
        with state.lock(self._settings, "restart", seconds=seconds):
            state.load(self._settings, self.values)
            run = up.begin(self._settings, self.values, os.environ, seconds=seconds)
            if run.started:
                raise TodoctlError("the platform was not running", hint="todoctl up")
            run.find_programs()
            yield from restart.restart(run, services)

    def migrate(self, *arguments: str, seconds: float) -> dict[str, Any]:
        """As the schema's owner."""
        return migrations.run(
            Path(sys.executable), os.environ, self.database_url(OWNER_ROLE), *arguments, seconds=seconds
        )

    def forward(self) -> Mapping[str, str]:
        """Everything is on this machine."""
        return {}

    def urls(self) -> Mapping[str, str]:
        """Every service with its metrics and sidecar, Kafka, PostgreSQL and the mail sink."""
        ports, names = self._recorded.ports, list(self.values.services)
        found = {name: f"http://{LOOPBACK}:{ports[name]}" for name in names}
        found |= {f"{name} metrics": f"{found[name]}/metrics" for name in names}
        found |= {f"{name} sidecar": f"http://{LOOPBACK}:{ports[sidecar_port(name, 'http')]}" for name in names}
        found |= {"kafka": f"{LOOPBACK}:{ports['kafka']}", "postgres": f"{LOOPBACK}:{ports['postgres']}"}
        return found | ({"mail sink": f"{LOOPBACK}:{ports['mailsink']}"} if sends_mail(self.values) else {})

    def close(self) -> None:
        """Nothing was opened."""

    def _require_ever_up(self) -> None:
        if not state.exists(self._settings):
            raise UnhealthyError(f"the environment {self._settings.name!r} was never up here", hint="todoctl up")
