"""The platform in a Kubernetes cluster, as commands ask for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

from todoctl.adapters import mails, migrations, sidecar
from todoctl.adapters.api import Addresses
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.kube.access import Access, access
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.streams import Streams
from todoctl.adapters.mails import Mail
from todoctl.core.cluster_values import Cluster
from todoctl.core.logs import LogFilter, LogLine
from todoctl.core.parts import MAIL_SECRET, OPERATOR_ROLE, OWNER_ROLE, sidecar_name
from todoctl.core.values import Values
from todoctl.errors import RefusedError, TodoctlError, UnhealthyError, UsageError
from todoctl.operations import checks as shared
from todoctl.operations.checks import Check, Finding, Stores
from todoctl.operations.kafka.outside import configured
from todoctl.operations.kubernetes import addresses, broker, doctor, logs, restart, status
from todoctl.operations.kubernetes import mails as sink
from todoctl.operations.kubernetes.pods import Place, Pods, cluster_values, places, ready_pod
from todoctl.operations.kubernetes.reach import Reach
from todoctl.operations.status import Status
from todoctl.operations.steps import StepEvent
from todoctl.settings import Settings

_PUBLIC = ("auth", "api", "audit", "sync")
_DAPR_PORT = 3500


class ClusterPlatform:
    """An environment in a cluster; the cluster is asked, and ports into it are opened, when something needs them."""

    def __init__(
        self,
        settings: Settings,
        values: Values,
        environ: Mapping[str, str],
        make_kube: Callable[[Access, str], Kube] = Kube,
        *,
        preview: bool = False,
    ) -> None:
        # Whether services are the idle colour's.
        self._suffix = "-preview" if preview else ""
        self._settings, self.values, self._environ, self._make_kube = settings, values, environ, make_kube
        # Several threads of one command may be the first to need something.
        self._guard = RLock()
        self._open: list[Kube | Streams] = []
        self._broker: Broker | None = None
        self._urls: dict[str, str] = {}

    @cached_property
    def kube(self) -> Kube:
        """The environment's namespace, which is there.

        Raises:
            UnhealthyError: the cluster does not answer, or has no such namespace.
            ForbiddenError: we may not look.
        """
        doctor.require_namespace(self._unchecked, self._settings.name)
        return self._unchecked

    @cached_property
    def _unchecked(self) -> Kube:
        with self._guard:
            found = self._make_kube(
                access(self._environ, self._settings.require_context(), hint=self._settings.brings_context),
                self._settings.environment.namespace or "default",
            )
            self._open.append(found)
            return found

    @cached_property
    def reach(self) -> Reach:
        """Ports into the cluster."""
        with self._guard:
            streams = Streams(self.kube.access)
            self._open.append(streams)
            return Reach(self.kube, streams)

    @property
    def _cluster(self) -> Cluster:
        return cluster_values(self.values)

    def addresses(self) -> Addresses:
        """The environment's public origin where it names one, else ports of this machine that lead to the services."""
        if (origin := self._settings.environment.url) and not self._suffix:
            return Addresses(**dict.fromkeys(_PUBLIC, origin.rstrip("/")))
        return Addresses(**{name: self.internal(name) for name in _PUBLIC})

    def internal(self, service: str) -> str:
        """A port of this machine that leads to the service."""
        return f"http://{self.reach.service(f'{service}{self._suffix}')}"

    def broker(self) -> Broker:
        """As the environment's own section says, else as the chart's values do."""
        with self._guard:
            if self._broker is None:
                section = self._settings.environment.kafka
                self._broker = (
                    self._broker_of_chart() if section is None else configured(self._settings, section, self._environ)
                )
            return self._broker

    def _broker_of_chart(self) -> Broker:
        try:
            reach = self.reach
        except UsageError as error:
            name = self._settings.name
            hint = f'{error.hint}; or add [environments.{name}.kafka] with bootstrap = "HOST:PORT" to todoctl.toml'
            raise UsageError(error.message, hint=hint) from error
        return broker.of_chart(self._cluster, reach, self._settings.name)

    def database_url(self, role: str) -> str:
        """From the database's Secret; by a port into the cluster where the server is there."""
        with self._guard:
            if role not in self._urls:
                self._urls[role] = self.reach.url(self._held_url(role))
            return self._urls[role]

    def _held_url(self, role: str) -> str:
        """The URL by which pods connect as a role."""
        name = self._cluster.secrets.database.name
        held = self.kube.secret(name)
        if role not in held:
            raise UnhealthyError(f"the Secret {name} has no key {role}", hint="todoctl doctor")
        return held[role]

    def app_token(self) -> str:
        """From its Secret."""
        return self._token(self._cluster.secrets.app_token.name)

    def replicas(self, app: str) -> Sequence[str] | None:
        """The pods of the app; not known where only the broker can be reached."""
        try:
            return status.replicas(Pods(self.kube), self._places, app)
        except TodoctlError:
            return None

    def mails(self, *, since: datetime | None = None) -> list[Mail]:
        """Those that the sink's pod keeps, copied to the environment's folder."""
        if not self.keeps_mails():
            raise RefusedError(
                f"the environment {self._settings.name!r} hands its mails to a provider: nobody keeps them",
                hint="todoctl trace ID says what became of a reminder's mail",
            )
        place = self._place("mailsink")
        pod = ready_pod(Pods(self.kube).of(place), place)
        if pod is None:
            raise UnhealthyError("no pod of the mail sink runs", hint="todoctl status")
        folder = self._settings.state / "mails"
        with self._guard:
            sink.copy(self.reach.streams, self.kube.namespace, pod, folder)
        return mails.read(folder, since=since)

    def keeps_mails(self) -> bool:
        """Where the values have a sink."""
        return self._cluster.mail.development.enabled

    def intent(self, key: str) -> Mapping[str, Any] | None:
        """By the sender's sidecar, through a port into its pod."""
        sender = next((name for name, service in self.values.services.items() if MAIL_SECRET in service.secrets), None)
        if sender is None:
            raise TodoctlError("no service of the chart sends mails")
        place = self._place(sidecar_name(sender))
        pod = ready_pod(Pods(self.kube).of(place), place)
        if pod is None:
            raise UnhealthyError(f"no pod of {sender} runs", hint=f"todoctl logs {sender}")
        port = int(self.reach.pod(pod, _DAPR_PORT).rpartition(":")[2])
        token = self._token(self._cluster.secrets.dapr_token.name)
        return sidecar.stored(port, token, self.values.dapr.statestore.name, key)

    def ailing(self) -> Mapping[str, str]:
        """By what the kubelet sees of services and sidecars."""
        pods = Pods(self.kube)
        seen = [status.part(place, pods) for place in self._places if place.kind in {"service", "sidecar"}]
        return {part.name: part.detail for part in seen if not part.healthy}

    def status(self) -> Status:
        """Every pod, what lies outside, lag and outbox."""
        return status.observe(self._settings.name, self.values, self.kube, self)

    def log_parts(self) -> Mapping[str, Sequence[str]]:
        """What runs in the cluster; what lies outside has its logs there."""
        names = [place.name for place in self._places]
        return {name: tuple(part for part in (name, sidecar_name(name)) if part in names) for name in names}

    def logs(self, parts: Sequence[str], wanted: LogFilter, *, follow: bool = False) -> Iterator[LogLine]:
        """From the API server."""
        return logs.read(self.kube, [self._place(name) for name in parts], wanted, follow=follow)

    def checks(self) -> Sequence[Check]:
        """Of cluster, rights, control plane, Secrets, pods, topics, subscriptions, schema, outbox and clocks."""
        return doctor.checks(self._unchecked, self.values, self._stores)

    def mend(self, finding: Finding) -> str:
        """Topics that are missing or have other settings."""
        return shared.mend(self._stores, finding)

    def restart(self, services: Sequence[str], *, seconds: float) -> Iterator[StepEvent]:
        """New pods beside the old ones, one by one."""
        return restart.restart(self.kube, self.values, services, seconds=seconds)

    def migrate(self, *arguments: str, seconds: float) -> dict[str, Any]:
        """From this machine, as the schema's owner."""
        url = self.database_url(OWNER_ROLE)
        return migrations.run(Path(sys.executable), self._environ, url, *arguments, seconds=seconds)

    def forward(self) -> Mapping[str, str]:
        """On the ports at which the values tell browsers to look, where these are this machine's."""
        wanted = {"api": self._cluster.urls.page, "sync": self._cluster.urls.sockets}
        for name, url in wanted.items():
            parts = urlsplit(url)
            if parts.hostname not in {"localhost", "127.0.0.1"}:
                raise RefusedError(
                    f"the page of {self._settings.name!r} is made for {url}: it would not work from this machine's ports",
                    hint=f"open {self._cluster.urls.page}",
                )
            self.reach.service(name, at=parts.port or 80)
        return {"page": wanted["api"], "sockets": wanted["sync"]}

    def urls(self) -> Mapping[str, str]:
        """What the cluster offers to the outside, and the addresses inside of it."""
        # Only the place of the URL: what stands before it is a secret.
        database = urlsplit(self._held_url(OPERATOR_ROLE)).netloc.rpartition("@")[2]
        return addresses.urls(self.kube, self.values, self._places, database)

    def close(self) -> None:
        """End every port, and the connections to the API server."""
        while self._open:
            self._open.pop().close()

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return places(self.values, self._settings.environment.namespace or "default")

    def _place(self, name: str) -> Place:
        found = next((place for place in self._places if place.name == name), None)
        if found is None:
            raise UsageError(f"{name} is not in the cluster", hint="todoctl status")
        return found

    @property
    def _stores(self) -> Stores:
        return Stores(
            values=self.values,
            broker=self.broker,
            database=lambda: self.database_url(OPERATOR_ROLE),
            schema=lambda: self.migrate("status", seconds=30),
        )

    def _token(self, secret: str) -> str:
        held = self.kube.secret(secret)
        if "token" not in held:
            raise UnhealthyError(f"the Secret {secret} has no key token", hint="todoctl doctor")
        return held["token"]
