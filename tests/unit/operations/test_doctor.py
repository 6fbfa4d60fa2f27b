"""Doctor: a check that could not look has failed, every finding names its fix, and only safe things are mended."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.program import Program
from tests.unit.operations.conftest import settings_in
from tests.unit.sites import chart_values
from todoctl.core.events import PROBE_TYPE
from todoctl.errors import TodoctlError
from todoctl.operations.checks import Check, Finding, run_all
from todoctl.operations.kafka import probe
from todoctl.operations.local import doctor, state, up
from todoctl.settings import Settings

VALUES = chart_values()


@pytest.fixture
def look(settings: Settings) -> up.Up:
    """An environment that was prepared and does not run."""
    recorded, _ = state.prepare(settings, VALUES, keep_ports=False)
    return up.look(settings, VALUES, recorded, os.environ)


@pytest.mark.parametrize("error", [TodoctlError("the broker is away"), PermissionError(13, "Permission denied")])
def test_a_check_that_could_not_look_has_failed(error: Exception) -> None:
    """The finding says why it could not look and what to do."""

    def fail() -> Finding:
        raise error

    finding = Check("clock", fail, fix="todoctl up").run()
    assert (finding.check, finding.verdict, finding.fix) == ("clock", "fail", "todoctl up")
    assert finding.seen == f"could not look: {error}"
    assert not finding.is_safe_to_fix


def test_a_bug_in_a_check_is_a_bug() -> None:
    """What is no known error is not taken for a finding."""

    def fail() -> Finding:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Check("clock", fail).run()


def test_what_a_stopped_platform_shows(look: up.Up) -> None:
    """Every part, topic and subscription has a check; what needs the platform has failed and names a command."""
    findings = {finding.check: finding for finding in run_all(doctor.checks(look))}
    wanted = {f"part {name}" for name in look.assembly.parts}
    wanted |= {f"topic {name}" for name in VALUES.topics}
    wanted |= {
        f"subscription {app} {item.topic}" for app, service in VALUES.services.items() for item in service.subscribes
    }
    wanted |= {"supervisor", "schema", "outbox", "clock"}
    assert {name for name, finding in findings.items() if finding.verdict == "fail"} >= wanted
    assert {"python", "disk"} <= {name for name, finding in findings.items() if finding.verdict == "ok"}
    for finding in findings.values():
        assert finding.seen
        assert finding.verdict == "ok" or "todoctl" in finding.fix, finding
        assert finding.verdict != "ok" or not finding.fix, finding


def test_findings_come_in_a_fixed_order(look: up.Up) -> None:
    """Two runs tell the same checks in the same order."""
    first, second = ([finding.check for finding in run_all(doctor.checks(look))] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first)


def test_every_tool_has_a_check(look: up.Up) -> None:
    """A tool that is missing is found missing, with the command that brings it."""
    missing = doctor._tool(look.settings.cache, look.assembly.environ, "daprd")
    assert (missing.verdict, missing.fix) in {("fail", "todoctl tools install daprd"), ("ok", ""), ("warn", "")}


def test_the_command_ends_with_3_and_names_the_first_fix(roomy: Path) -> None:
    """All findings are on stdout; stderr sums up what failed; the exit code is 3."""
    state.prepare(settings_in(roomy, "home"), VALUES, keep_ports=False)
    ended = Program(roomy).inside("doctor", "-o", "json")
    findings = ended.json()
    failed = [finding for finding in findings if finding["verdict"] == "fail"]
    assert ended.code == 3
    assert f"{len(failed)} of {len(findings)} checks failed" in ended.err
    assert set(findings[0]) == {"check", "verdict", "seen", "fix", "is_safe_to_fix"}


def test_before_the_first_up_the_machine_is_looked_at(roomy: Path) -> None:
    """Without a platform doctor tells about tools, Python and disk, and fails for what is not up."""
    ended = Program(roomy).inside("doctor", "-o", "json")
    findings = {finding["check"]: finding for finding in ended.json()}
    assert ended.code == 3
    assert {"tool jre", "tool daprd", "python", "disk", "platform"} <= set(findings)
    assert (findings["platform"]["verdict"], findings["platform"]["fix"]) == ("fail", "todoctl up")


def test_a_probe_is_an_event_of_its_own_type() -> None:
    """Consumers let a probe pass by its type; everything else about it is a valid envelope."""
    made = probe.probe(datetime(2026, 1, 1, tzinfo=UTC))
    assert made["type"] == PROBE_TYPE
    assert made["specversion"] == "1.0"
    assert probe.probe(datetime(2026, 1, 1, tzinfo=UTC))["id"] != made["id"]
