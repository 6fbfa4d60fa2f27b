"""Turns values, state and programs into files: supervisord's configuration, specs, Kafka's and Dapr's settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from todoctl.adapters import postgres, release_store
from todoctl.adapters.processes import identity, supervisor
from todoctl.core import dapr
from todoctl.core.parts import MAIL_CONNECTIONS, MAIL_SECRET, MAIL_SENDER, STATE_SECRET, Part, make_parts
from todoctl.core.ports import LOOPBACK
from todoctl.core.site import Programs, Site
from todoctl.core.values import Values
from todoctl.operations.local.state import State

_UNKNOWN = Path("/not-installed-yet")
_PASSED_ON = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "PYTHONPATH")


@dataclass
class Assembly:
    """One environment on this machine, ready to be started; programs become known while tools are installed.

    The services run from `code`, a release's folder; where it is None they run from the checkout.
    """

    values: Values
    state: State
    environ: Mapping[str, str]
    python: Path
    code: Path | None = None
    programs: dict[str, Path] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """The site with the programs known by now."""
        known = {
            name: self.programs.get(name, _UNKNOWN) for name in ("java", "kafka_jars", "postgres", "daprd", "scheduler")
        }
        programs = Programs(**known, python=self.python, web_vendor=self.programs.get("web_vendor"))
        return Site(self.values, self.state.folders, self.state.ports, programs, self.state.secrets)

    @property
    def parts(self) -> dict[str, Part]:
        """Every part by name."""
        return {part.name: part for part in make_parts(self.site)}

    @property
    def base_environ(self) -> dict[str, str]:
        """What every process gets: little of the caller's environment, and the mark by which `down` finds it."""
        kept = {name: self.environ[name] for name in _PASSED_ON if name in self.environ}
        return kept | {identity.INSTANCE_VARIABLE: str(self.state.folders.root), "PYTHONUNBUFFERED": "1"}

    @property
    def code_environ(self) -> dict[str, str]:
        """What every process of ours gets, with the code that it runs."""
        return self.base_environ | release_store.environ(self.code, self.base_environ)

    def write_supervisor_config(self, others: Iterable[Part] = ()) -> tuple[Path, bool]:
        """supervisord.conf for our parts and those of `others` that we don't have; and whether it changed."""
        path = self.state.folders.config / "supervisord.conf"
        parts = {part.name: part for part in others} | self.parts
        return path, write_if_changed(path, supervisor.render_config(self.state.folders, parts.values()), mode=0o600)

    def write_part(self, name: str) -> bool:
        """The part's spec and configuration files; whether anything changed since it was last written."""
        part = self.parts[name]
        changed = False
        if part.kind == "broker":
            changed |= self._write_kafka()
        elif part.kind == "sidecar":
            changed |= self._write_dapr(name.removesuffix("-daprd"))
        path = supervisor.spec_path(self.state.folders, name)
        return write_if_changed(path, self._spec_text(name), mode=0o600) or changed

    def spec_differs(self, name: str) -> bool:
        """Whether the part was last written with another spec."""
        path = supervisor.spec_path(self.state.folders, name)
        return not path.is_file() or path.read_text(encoding="utf-8") != self._spec_text(name)

    def _spec_text(self, name: str) -> str:
        return json.dumps(self.spec(name), indent=1)

    def spec(self, name: str) -> dict[str, Any]:
        """What the launcher of the part reads."""
        folders, part = self.state.folders, self.parts[name]
        base = self.code_environ if part.kind in {"service", "mail"} else self.base_environ
        return {
            "name": part.name,
            "argv": list(part.argv),
            "env": base | dict(part.env),
            "cwd": "/" if part.drops_user else str(folders.root),
            "needs": list(part.needs),
            "user": postgres.server_user() if part.drops_user else None,
            "parent_death_signal": int(part.stop_signal),
            "identity": str(folders.run / f"{part.name}.json"),
        }

    def _write_kafka(self) -> bool:
        folders, ports = self.state.folders, self.state.ports
        address = f"{LOOPBACK}:{ports['kafka']}"
        controller = f"{LOOPBACK}:{ports['kafka-controller']}"
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{address},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(folders.data / "kafka"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            # Fifty partitions, the default, are what makes a first group's join slow.
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "6000",
            "message.max.bytes": str(self.values.largest_message_bytes),
            "log.cleaner.dedupe.buffer.size": "16777216",
            # A broker that was killed registers again only after its old session: 9 s by default.
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "3000",
        }
        changed = write_if_changed(
            folders.config / "kafka.properties", "".join(f"{key}={value}\n" for key, value in lines.items()), mode=0o644
        )
        return write_if_changed(folders.config / "log4j2.properties", _LOG4J, mode=0o644) or changed

    def _write_dapr(self, app: str) -> bool:
        folders, ports, secrets = self.state.folders, self.state.ports, self.state.secrets
        folder = folders.config / "dapr" / app
        resources = folder / "resources"
        resources.mkdir(parents=True, exist_ok=True)
        store, service = self.values.dapr.statestore, self.values.services[app]
        content: dict[str, Any] = {}
        if service.state:
            content[STATE_SECRET] = secrets.database_url(store.role, ports["postgres"])
        if MAIL_SECRET in service.secrets:
            sink = {"host": LOOPBACK, "port": str(ports["mailsink"]), "tls": "none", "sender": MAIL_SENDER}
            content[MAIL_SECRET] = sink | {"connections": str(MAIL_CONNECTIONS)}
        changed = write_if_changed(folder / "secrets.json", json.dumps(content), mode=0o600)
        documents = dapr.resources(
            self.values,
            app,
            brokers=f"{LOOPBACK}:{ports['kafka']}",
            secrets_file=str(folder / "secrets.json"),
            state_connection=STATE_SECRET,
        )
        for stale in {path.name for path in resources.iterdir()} - set(documents):
            (resources / stale).unlink()
            changed = True
        for name, document in documents.items():
            changed |= write_if_changed(resources / name, yaml.safe_dump(document, sort_keys=False), mode=0o600)
        names = str(folders.data / "names.sqlite")
        text = yaml.safe_dump(dapr.configuration(self.values, app, names_database=names), sort_keys=False)
        return write_if_changed(folder / "configuration.yaml", text, mode=0o600) or changed


def write_if_changed(path: Path, text: str, *, mode: int) -> bool:
    """Write `text` whole or not at all; whether the file held something else before."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)
    return True


_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSX}{UTC} %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""
