"""The platform as its user meets it: up, status, smoke, doctor, logs, restart, a second up."""

from __future__ import annotations

import json
import re

import httpx

from tests.live.conftest import Platform


def test_a_second_up_changes_nothing(platform: Platform) -> None:
    """A second `up` leaves every process as it is."""
    before = {name: part["pid"] for name, part in platform.parts().items()}
    platform.must("up")
    assert {name: part["pid"] for name, part in platform.parts().items()} == before


def test_status_is_healthy_and_complete(platform: Platform) -> None:
    """`status -o json` has every part with its observed health, version, address, pid, uptime and memory."""
    status = platform.must("status", "-o", "json").json()
    assert status["environment"] == "local"
    assert status["healthy"] is True
    services = ("auth", "api", "recurring", "notification", "audit", "sync")
    wanted = {"postgres", "kafka", "scheduler", "mailsink", *services, *(f"{name}-daprd" for name in services)}
    assert {part["name"] for part in status["parts"]} == wanted
    for part in status["parts"]:
        assert part["healthy"] is True, part
        assert part["version"]
        assert re.fullmatch(r"127\.0\.0\.1:\d+", part["address"])
        assert part["pid"] > 0
        assert part["uptime_seconds"] > 0
        assert part["memory_bytes"] > 0


def test_the_platform_stays_under_two_gigabytes(platform: Platform) -> None:
    """All processes together stay under 2 GB resident."""
    total = sum(part["memory_bytes"] for part in platform.parts().values())
    assert total < 2 * 10**9


def test_smoke_tells_its_timeline(platform: Platform) -> None:
    """`smoke -o json` names each link with its time, in order."""
    links = platform.must("smoke", "-o", "json").json()
    assert [link["link"] for link in links] == [
        "account",
        "task created",
        "socket open",
        "request",
        "event on the topic",
        "socket",
        "next occurrence",
        "audit rows",
        "reminder mail",
    ]
    # The mail's seconds count from when it was due, all others from the completion.
    times = [link["seconds"] for link in links[3:-1]]
    assert times == sorted(times)


def test_doctor_finds_nothing_wrong(platform: Platform) -> None:
    """`doctor` on a healthy platform has no failed check, and a probe went through each subscription."""
    findings = platform.must("doctor", "-o", "json").json()
    assert not [finding for finding in findings if finding["verdict"] == "fail"]
    probes = [finding for finding in findings if finding["check"].startswith("subscription ")]
    assert len(probes) == 7
    assert all("probe record was consumed" in finding["seen"] for finding in probes)


def test_every_listener_is_on_loopback(platform: Platform) -> None:
    """No process listens on an address that others can reach, but for the scheduler's health, which 1.16 can't bind."""
    open_to_others = {
        connection.laddr.port
        for process in platform.processes()
        for connection in process.net_connections(kind="tcp")
        if connection.status == "LISTEN" and connection.laddr.ip not in {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    }
    assert open_to_others <= {platform.port("scheduler-health")}


def test_no_secret_is_in_argv_or_logs(platform: Platform) -> None:
    """Passwords and tokens are in no command line and in no log file."""
    stored = platform.secrets()
    secrets = [*stored["passwords"].values(), stored["app_token"], stored["dapr_token"], stored["service_token"]]
    lines = [" ".join(process.cmdline()) for process in platform.processes()]
    lines += [path.read_text(errors="replace") for path in (platform.home / "local" / "log").iterdir()]
    assert not [secret for secret in secrets for line in lines if secret in line]


def test_logs_follow_a_correlation_id(platform: Platform) -> None:
    """`logs --correlation` shows what the services logged about one request, in time order."""
    links = platform.must("smoke", "-o", "json").json()
    correlation = next(link["seen"] for link in links if link["link"] == "request").rpartition(" ")[2]
    lines = [
        json.loads(line) for line in platform.must("logs", "--correlation", correlation, "-o", "jsonl").out.splitlines()
    ]
    assert {"api", "recurring"} <= {line["part"] for line in lines}
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def test_restart_touches_only_the_service_and_its_sidecar(platform: Platform) -> None:
    """`restart recurring` replaces two processes and no other."""
    before = {name: part["pid"] for name, part in platform.parts().items()}
    platform.must("restart", "recurring")
    after = {name: part["pid"] for name, part in platform.parts().items()}
    assert {name for name in before if before[name] != after[name]} == {"recurring", "recurring-daprd"}


def test_metrics_have_templates_and_no_ids(platform: Platform) -> None:
    """`/metrics` counts requests by route template, never by id."""
    platform.must("smoke")
    text = httpx.get(f"{platform.url('api')}/metrics", trust_env=False).text
    assert "http_requests_total" in text
    assert "http_request_duration_seconds" in text
    assert "task_operations_total" in text
    assert "/api/tasks/{task_id}" in text
    assert not re.search(r'"/api/tasks/\d+', text)
