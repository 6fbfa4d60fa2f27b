"""The parts of the platform on one machine: which process runs with what, and what it needs first."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from todoctl.core.dapr import replica_environ
from todoctl.core.ports import LOOPBACK, sidecar_port, sidecar_ports
from todoctl.core.site import Folders, Programs, Site
from todoctl.core.values import Values

Kind = Literal["database", "broker", "scheduler", "mail", "service", "sidecar"]

OWNER_ROLE = "todo_owner"
OPERATOR_ROLE = "todo_operator"
STATE_SECRET = "statestore-connection"  # noqa: S105 - the name of a secret
MAIL_SECRET = "smtp"  # noqa: S105 - the name of a secret
MAIL_SENDER = "Todo <todo@localhost>"
MAIL_CONNECTIONS = 40  # the sink of this machine is nobody else's


@dataclass(frozen=True)
class Part:
    """One process: its command, environment and ports, and the probes that must answer before it starts."""

    name: str
    kind: Kind
    argv: tuple[str, ...]
    ports: Mapping[str, int]
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: int = 5
    drops_user: bool = False

    @property
    def port(self) -> int:
        """The port that others reach it on."""
        return next(iter(self.ports.values()))


def sidecar_name(service: str) -> str:
    """The name of a service's sidecar part."""
    return f"{service}-daprd"


def roles(values: Values) -> tuple[str, ...]:
    """Every PostgreSQL role that logs in."""
    services = (service.database.role for service in values.services.values() if service.database)
    return (OWNER_ROLE, OPERATOR_ROLE, values.dapr.statestore.role, *services)


def make_parts(site: Site) -> tuple[Part, ...]:
    """All parts, those that others need first."""
    parts = [_postgres(site), _kafka(site)]
    if any(service.jobs for service in site.values.services.values()):
        parts.append(_scheduler(site))
    if sends_mail(site.values):
        parts.append(_mailsink(site))
    for name in site.values.services:
        parts += [_service(site, name), _sidecar(site, name)]
    return tuple(parts)


def sends_mail(values: Values) -> bool:
    """Whether a service may read the mail account: then this machine has a sink for its mails."""
    return any(MAIL_SECRET in service.secrets for service in values.services.values())


def _postgres(site: Site) -> Part:
    data = site.folders.data / "postgres"
    return Part(
        name="postgres",
        kind="database",
        argv=(str(site.programs.postgres / "postgres"), "-D", str(data), "-p", str(site.ports["postgres"])),
        ports={"sql": site.ports["postgres"]},
        env={"LC_ALL": "C.UTF-8", "PGDATA": str(data)},
        needs=(f"unlocked:{data}",),
        stop_signal=signal.SIGINT,
        drops_user=True,
    )


def _kafka(site: Site) -> Part:
    return Part(
        name="kafka",
        kind="broker",
        argv=(
            *java_command(site.folders, site.programs),
            "kafka.Kafka",
            str(site.folders.config / "kafka.properties"),
        ),
        ports={"kafka": site.ports["kafka"], "controller": site.ports["kafka-controller"]},
    )


def java_command(folders: Folders, programs: Programs) -> tuple[str, ...]:
    """Java with Kafka's class path: a small heap and the quick compiler, because a laptop shares its memory and cores.

    The class data archive is written at the first stop and halves later starts.
    """
    return (
        str(programs.java),
        "-Xms128m",
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:-UsePerfData",
        "-Xshare:auto",
        f"-Dlog4j2.configurationFile={folders.config / 'log4j2.properties'}",
        "-cp",
        str(programs.kafka_jars / "*"),
    )


def _scheduler(site: Site) -> Part:
    peer = f"dapr-scheduler-server-0=http://{LOOPBACK}:{site.ports['scheduler-etcd-peer']}"
    return Part(
        name="scheduler",
        kind="scheduler",
        argv=(
            str(site.programs.scheduler),
            *("--mode", "standalone"),
            *("--listen-address", LOOPBACK),
            *("--port", str(site.ports["scheduler"])),
            *("--healthz-port", str(site.ports["scheduler-health"])),
            *("--healthz-listen-address", LOOPBACK),
            # 1.16 ignores the metrics' listen address and would open them to the network.
            "--enable-metrics=false",
            *("--etcd-data-dir", str(site.folders.data / "scheduler")),
            *("--etcd-client-port", str(site.ports["scheduler-etcd-client"])),
            *("--etcd-initial-cluster", peer),
            *("--override-broadcast-host-port", f"{LOOPBACK}:{site.ports['scheduler']}"),
            "--log-as-json",
        ),
        ports={
            "grpc": site.ports["scheduler"],
            "health": site.ports["scheduler-health"],
            "etcd-client": site.ports["scheduler-etcd-client"],
            "etcd-peer": site.ports["scheduler-etcd-peer"],
        },
    )


def _mailsink(site: Site) -> Part:
    """A mail server for this machine alone: it keeps every mail and sends none on."""
    return Part(
        name="mailsink",
        kind="mail",
        argv=(str(site.programs.python), "-P", "-m", "services.mailsink"),
        ports={"smtp": site.ports["mailsink"]},
        env={"HOST": LOOPBACK, "PORT": str(site.ports["mailsink"]), "MAIL_FOLDER": str(site.folders.mails)},
    )


def _service(site: Site, name: str) -> Part:
    service = site.values.services[name]
    env = {
        "SERVICE_NAME": name,
        "HOST": LOOPBACK,
        "PORT": str(site.ports[name]),
        "DAPR_HTTP_PORT": str(site.ports[sidecar_port(name, "http")]),
        "DAPR_API_TOKEN": site.secrets.dapr_token,
        "APP_API_TOKEN": site.secrets.app_token,
        "SERVICE_TOKEN": site.secrets.service_token,
        "PUBSUB_NAME": site.values.dapr.pubsub.name,
        "STATE_STORE_NAME": site.values.dapr.statestore.name,
        "SECRET_STORE_NAME": site.values.dapr.secretstore.name,
        # A newer process takes the port over from an older one without a gap; those who wait move on meanwhile.
        "SHARE_PORT": "yes",
        "DRAIN_SECONDS": "1",
        # For whoever writes a client; off where it is not asked for.
        "OPENAPI": "on",
    }
    if "api" in site.values.services and service.secrets:
        # Where the links in its mails lead.
        env["PUBLIC_URL"] = f"http://{LOOPBACK}:{site.ports['api']}"
    env |= replica_environ(site.values, name)
    if service.sockets_for:
        port = site.ports[service.sockets_for]
        env["ALLOWED_ORIGINS"] = f"http://{LOOPBACK}:{port},http://localhost:{port}"
    needs: tuple[str, ...] = ()
    if service.database:
        env["DATABASE_URL"] = site.secrets.database_url(service.database.role, site.ports["postgres"])
        needs = (f"postgres:{LOOPBACK}:{site.ports['postgres']}",)
    if name == "api":
        env |= _page(site)
    return Part(
        name=name,
        kind="service",
        argv=(str(site.programs.python), "-P", "-m", f"services.{name}"),
        ports={"http": site.ports[name]},
        env=env,
        needs=needs,
    )


def _page(site: Site) -> dict[str, str]:
    """What api, which serves the page, tells it: where sync is, and the folder with the client for it."""
    sync = {"SYNC_URL": f"http://{LOOPBACK}:{site.ports['sync']}"} if "sync" in site.values.services else {}
    vendor = {"WEB_VENDOR": str(site.programs.web_vendor)} if site.programs.web_vendor else {}
    return sync | vendor


def _sidecar(site: Site, name: str) -> Part:
    service = site.values.services[name]
    own = sidecar_ports(name, site.ports)
    folder = site.folders.config / "dapr" / name
    return Part(
        name=sidecar_name(name),
        kind="sidecar",
        argv=(
            str(site.programs.daprd),
            *("--app-id", name),
            *("--app-port", str(site.ports[name])),
            *("--app-protocol", "http"),
            *("--mode", "standalone"),
            *("--dapr-listen-addresses", LOOPBACK),
            *("--dapr-http-port", str(own["http"])),
            *("--dapr-grpc-port", str(own["grpc"])),
            *("--dapr-internal-grpc-port", str(own["internal"])),
            *("--dapr-internal-grpc-listen-address", LOOPBACK),
            *("--metrics-port", str(own["metrics"])),
            *("--metrics-listen-address", LOOPBACK),
            *("--resources-path", str(folder / "resources")),
            *("--config", str(folder / "configuration.yaml")),
            *("--max-body-size", "16Mi"),
            *("--dapr-graceful-shutdown-seconds", "2"),
            *(("--scheduler-host-address", f"{LOOPBACK}:{site.ports['scheduler']}") if service.jobs else ()),
            *("--log-level", site.values.dapr.log_level),
            "--log-as-json",
        ),
        ports=own,
        env={
            "DAPR_API_TOKEN": site.secrets.dapr_token,
            "APP_API_TOKEN": site.secrets.app_token,
            # Without it daprd asks the network for its own address, which fails offline.
            "DAPR_HOST_IP": LOOPBACK,
            "NAMESPACE": "default",
            **replica_environ(site.values, name),
        },
        needs=_sidecar_needs(site, name),
    )


def _sidecar_needs(site: Site, name: str) -> tuple[str, ...]:
    """What daprd would die without: it ends when a component can't be opened."""
    service = site.values.services[name]
    needs = []
    if service.state:
        needs.append(f"postgres:{LOOPBACK}:{site.ports['postgres']}")
    if service.publishes or service.subscribes:
        needs.append(f"tcp:{LOOPBACK}:{site.ports['kafka']}")
    return tuple(needs)
