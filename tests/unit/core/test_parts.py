"""The parts of one machine: their ports and listeners, what they wait for, and where secrets may be."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.sites import chart_values, document, secrets, site
from todoctl.core.parts import Part, make_parts, roles, sidecar_name
from todoctl.core.ports import LOOPBACK, default_ports
from todoctl.core.site import Site
from todoctl.core.values import Values

VALUES = chart_values()
APPS = tuple(VALUES.services)
HERE = site(VALUES, Path("/srv/todoctl/local"))
PARTS = {part.name: part for part in make_parts(HERE)}


def option(part: Part, name: str) -> str:
    """The value of a command-line option that is given once."""
    assert part.argv.count(name) == 1, (part.name, name)
    return part.argv[part.argv.index(name) + 1]


def test_there_is_a_part_for_everything() -> None:
    """Database, broker, scheduler, a sink for mails, and each service with its sidecar."""
    assert set(PARTS) == {"postgres", "kafka", "scheduler", "mailsink", *APPS, *map(sidecar_name, APPS)}


def test_without_jobs_there_is_no_scheduler() -> None:
    """The scheduler runs only where a service sets jobs, and no sidecar is told of one."""
    values = Values.model_validate(document(api={"port": 8000}))
    parts = {part.name: part for part in make_parts(site(values, Path("/srv")))}
    assert "scheduler" not in parts
    assert "--scheduler-host-address" not in parts["api-daprd"].argv


def test_without_mails_there_is_no_sink() -> None:
    """The sink runs only where a service may read the mail account."""
    values = Values.model_validate(document(api={"port": 8000}))
    assert "mailsink" not in {part.name for part in make_parts(site(values, Path("/srv")))}


def test_default_ports_are_unique() -> None:
    """No two listeners ask for the same port, and a service asks for the chart's."""
    ports = default_ports(VALUES)
    assert len(set(ports.values())) == len(ports)
    assert ports["api"] == 8000
    assert all(ports[name] == service.port for name, service in VALUES.services.items())


def test_every_part_has_ports_of_its_own() -> None:
    """The parts' ports are all recorded ones, each used by one part only, and every recorded one is used."""
    used = [port for part in PARTS.values() for port in part.ports.values()]
    assert sorted(used) == sorted(HERE.ports.values())
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("app", APPS)
def test_every_listener_of_a_sidecar_is_on_loopback(app: str) -> None:
    """HTTP, gRPC, internal gRPC and metrics are bound to 127.0.0.1, as is the address that it tells others."""
    part = PARTS[sidecar_name(app)]
    for name in ("--dapr-listen-addresses", "--dapr-internal-grpc-listen-address", "--metrics-listen-address"):
        assert option(part, name) == LOOPBACK
    assert part.env["DAPR_HOST_IP"] == LOOPBACK
    listening = {"http": "--dapr-http-port", "grpc": "--dapr-grpc-port"}
    listening |= {"internal": "--dapr-internal-grpc-port", "metrics": "--metrics-port"}
    assert {kind: int(option(part, name)) for kind, name in listening.items()} == dict(part.ports)


def test_every_other_listener_is_on_loopback() -> None:
    """The scheduler and the services listen on 127.0.0.1; what 1.16's scheduler would open to the network is off."""
    scheduler = PARTS["scheduler"]
    assert option(scheduler, "--listen-address") == LOOPBACK
    assert option(scheduler, "--healthz-listen-address") == LOOPBACK
    assert "--enable-metrics=false" in scheduler.argv
    assert f"http://{LOOPBACK}:" in option(scheduler, "--etcd-initial-cluster")
    assert {PARTS[app].env["HOST"] for app in APPS} == {LOOPBACK}
    assert not [part.name for part in PARTS.values() if "0.0.0.0" in " ".join([*part.argv, *part.env.values()])]


def test_no_secret_is_in_a_command_line() -> None:
    """Every user of the machine can read a command line, so tokens and passwords go through the environment."""
    for part in PARTS.values():
        assert "secret-" not in " ".join(part.argv)


def test_secrets_go_only_to_those_that_need_them() -> None:
    """Each process has its own role's password and the tokens of its own kind."""
    held = {name: {value for value in part.env.values() if "secret-" in value} for name, part in PARTS.items()}
    assert held["postgres"] == held["kafka"] == held["scheduler"] == set()
    for app, service in VALUES.services.items():
        assert held[sidecar_name(app)] == {"secret-app-token", "secret-dapr-token"}
        tokens = {"secret-app-token", "secret-dapr-token", "secret-service-token"}
        passwords = {service.database.role} if service.database else set()
        urls = {HERE.secrets.database_url(role, HERE.ports["postgres"]) for role in passwords}
        assert held[app] == tokens | urls


@pytest.mark.parametrize("app", APPS)
def test_parts_wait_for_what_they_would_die_without(app: str) -> None:
    """A service waits for its database, a sidecar for the broker and the state store that it opens."""
    service = VALUES.services[app]
    database, broker = f"postgres:{LOOPBACK}:5432", f"tcp:{LOOPBACK}:9092"
    assert PARTS[app].needs == ((database,) if service.database else ())
    wanted = {database} if service.state else set()
    wanted |= {broker} if service.publishes or service.subscribes else set()
    assert set(PARTS[sidecar_name(app)].needs) == wanted


def test_each_part_stops_as_it_must() -> None:
    """PostgreSQL ends its sessions on SIGINT; everything else takes SIGTERM; only PostgreSQL changes the user."""
    assert PARTS["postgres"].stop_signal is signal.SIGINT
    assert {part.stop_signal for name, part in PARTS.items() if name != "postgres"} == {signal.SIGTERM}
    assert [name for name, part in PARTS.items() if part.drops_user] == ["postgres"]


def test_a_sidecar_knows_its_app_and_the_app_its_sidecar() -> None:
    """Ports and names on both sides are the same ones."""
    for app in APPS:
        side = PARTS[sidecar_name(app)]
        assert (option(side, "--app-id"), int(option(side, "--app-port"))) == (app, PARTS[app].port)
        assert int(PARTS[app].env["DAPR_HTTP_PORT"]) == side.port
        assert PARTS[app].env["SERVICE_NAME"] == app


def test_api_knows_what_the_page_needs() -> None:
    """The api service is told where sync is, where there is one, and where the page's module lies, where it is installed."""
    assert "WEB_VENDOR" not in PARTS["api"].env
    values = Values.model_validate(document(api={"port": 8000}, sync={"port": 8005}))
    there = site(values, Path("/srv"))
    there = replace(there, programs=replace(there.programs, web_vendor=Path("/cache/client")))
    env = {part.name: part.env for part in make_parts(there)}
    assert env["api"]["SYNC_URL"] == "http://127.0.0.1:8005"
    assert env["api"]["WEB_VENDOR"] == "/cache/client"
    assert "WEB_VENDOR" not in env["sync"]
    alone = Values.model_validate(document(api={"port": 8000}))
    assert "SYNC_URL" not in {part.name: part.env for part in make_parts(site(alone, Path("/srv")))}["api"]


def test_other_ports_move_everything() -> None:
    """With other ports recorded no part still names a default one."""
    moved: Site = replace(HERE, ports={name: port + 10_000 for name, port in HERE.ports.items()})
    text = json.dumps([[part.argv, dict(part.env), dict(part.ports), part.needs] for part in make_parts(moved)])
    assert not [port for port in HERE.ports.values() if f":{port}" in text or f'"{port}"' in text]


def test_every_role_that_logs_in_is_named() -> None:
    """Owner, operator, the state store's role and each service's own; recurring has none."""
    assert set(roles(VALUES)) == {"todo_owner", "todo_operator", "dapr_state", "auth", "api", "audit"}
    assert set(secrets(VALUES).passwords) >= set(roles(VALUES))
