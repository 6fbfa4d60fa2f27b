"""A platform as commands ask for it, wherever it runs: the one seam between what is typed and where it happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from todoctl.adapters.api import Addresses
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.mails import Mail
from todoctl.core.logs import LogFilter, LogLine
from todoctl.core.values import Values
from todoctl.operations.checks import Check, Finding
from todoctl.operations.status import Status
from todoctl.operations.steps import StepEvent


class Platform(Protocol):
    """One environment, reached for the length of a command; `close` ends what was opened for it.

    Nothing is opened before it is asked for, and every call raises a TodoctlError that says what can't be reached.
    """

    @property
    def values(self) -> Values:
        """The values that it runs with."""

    def addresses(self) -> Addresses:
        """Where the public services answer to this machine."""

    def internal(self, service: str) -> str:
        """Where a service's internal routes answer to this machine, never by way of the public origin."""

    def broker(self) -> Broker:
        """How to reach Kafka."""

    def database_url(self, role: str) -> str:
        """The libpq URL by which this machine connects as `role`."""

    def app_token(self) -> str:
        """The token for the services' internal routes; a secret."""

    def replicas(self, app: str) -> Sequence[str] | None:
        """The replicas of an app that read for themselves, None where that can't be told."""

    def mails(self, *, since: datetime | None = None) -> list[Mail]:
        """The mails that the sink keeps, the oldest first; RefusedError where mails leave the platform."""

    def keeps_mails(self) -> bool:
        """Whether a sink keeps the mails, so that none leaves the platform."""

    def intent(self, key: str) -> Mapping[str, Any] | None:
        """The mail sender's note under `key`, None where there is none."""

    def ailing(self) -> Mapping[str, str]:
        """Part → what is wrong with it, of those that are not well."""

    def status(self) -> Status:
        """Everything that is observed now."""

    def log_parts(self) -> Mapping[str, Sequence[str]]:
        """Name as typed → the parts whose logs it means; a service means itself and its sidecar."""

    def logs(self, parts: Sequence[str], wanted: LogFilter, *, follow: bool = False) -> Iterator[LogLine]:
        """What the logs hold, merged in time order; with `follow` what is added later too, for ever."""

    def checks(self) -> Sequence[Check]:
        """What `doctor` looks at."""

    def mend(self, finding: Finding) -> str:
        """Do what is safe for a finding; gives what was done."""

    def restart(self, services: Sequence[str], *, seconds: float) -> Iterator[StepEvent]:
        """Restart services with their sidecars; yields until they prove themselves again."""

    def migrate(self, *arguments: str, seconds: float) -> dict[str, Any]:
        """Run `status`, `upgrade` or `downgrade REVISION` against the schema; gives the status after it."""

    def forward(self) -> Mapping[str, str]:
        """Ports of this machine that lead to the page and the sockets, until `close`; {} where they are here already."""

    def urls(self) -> Mapping[str, str]:
        """What can be reached → where."""

    def close(self) -> None:
        """End what was opened."""
