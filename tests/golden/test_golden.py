"""What users see, compared with files: `pytest --update-golden` writes them anew."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.program import Ended, Program
from todoctl import screen, settings
from todoctl.commands import doctor as doctor_command
from todoctl.commands import status as status_command
from todoctl.commands import trace as trace_command
from todoctl.core.trace import Step, Subject, Trace
from todoctl.errors import UnhealthyError
from todoctl.operations.checks import Finding
from todoctl.operations.status import GroupLag, Outbox, PartStatus, RunningRelease, Status
from todoctl.screen import Output

FILES = Path(__file__).parent / "files"

READY = PartStatus(
    name="postgres",
    kind="database",
    healthy=True,
    state="ready",
    detail="",
    version="18.0",
    address="127.0.0.1:5432",
    pid=101,
    uptime_seconds=3725.4,
    memory_bytes=48 * 2**20,
    early_deaths=0,
)
SEEN = Status(
    environment="local",
    healthy=False,
    release=RunningRelease(2, "0.1.0", "0003", None, None, None),
    parts=(
        READY,
        replace(
            READY,
            name="kafka",
            kind="broker",
            version="4.1.2",
            address="127.0.0.1:9092",
            pid=102,
            memory_bytes=330 * 2**20,
        ),
        replace(
            READY, name="api", kind="service", version="0.1.0", address="127.0.0.1:8000", pid=103, uptime_seconds=61.0
        ),
        PartStatus(
            name="api-daprd",
            kind="sidecar",
            healthy=False,
            state="unhealthy",
            detail="healthz/outbound says 500",
            version=None,
            address="127.0.0.1:3500",
            pid=104,
            uptime_seconds=12.0,
            memory_bytes=None,
            early_deaths=2,
        ),
        PartStatus(
            name="recurring",
            kind="service",
            healthy=False,
            state="stopped",
            detail="is not running",
            version="0.1.0",
            address="127.0.0.1:8002",
            pid=None,
            uptime_seconds=None,
            memory_bytes=None,
            early_deaths=0,
        ),
    ),
    lag=(
        GroupLag("recurring", "task-events", 12, "2 partitions never committed"),
        GroupLag("audit", "task-events", 0, ""),
        GroupLag("audit", "reminders", None, "Kafka: could not read the offsets of audit: no answer in 5 s"),
    ),
    outbox=Outbox(3, 4.25, ""),
)
FINDINGS = [
    Finding("tool daprd", "warn", "1.16.0 from build: a known fault"),
    Finding("disk", "ok", "76296 MiB free in /home/me/todoctl"),
    Finding("topic reminders", "fail", "partitions is 1, the chart says 3", "change the chart, or plan the change"),
    Finding("topic dlq-events", "fail", "is missing", "todoctl doctor --fix", is_safe_to_fix=True),
]

_BEGAN = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)
_EVENT = "3b2f6c1e-0d57-4c39-9d0e-5a6a3f1f7d10"
TRACE = Trace(
    Subject("task", "42"),
    "broken",
    (
        Step(_BEGAN, "api", "done", "task.completed of task 42, user 7, seq 3", _EVENT),
        Step(_BEGAN, "topic task-events", "done", "task.completed published: task-events/0@100", _EVENT),
        Step(
            None,
            "recurring",
            "gap",
            "task.completed published, not consumed by recurring, lag 12; group recurring is stable, next retry within 1s",
            _EVENT,
        ),
        Step(_BEGAN + timedelta(seconds=1.5), "audit", "done", "task.completed stored as row 9\x1b[31m", _EVENT),
        Step(None, "group audit", "blind", "could not look: no answer in 5 s"),
        Step(_BEGAN + timedelta(days=1), "reminder", "ahead", "reminder 9 of task 42 is due then"),
    ),
    7,
)


class Golden:
    """Compares texts with the golden files, or writes them."""

    def __init__(self, *, update: bool, hidden: dict[str, str]) -> None:
        self._update, self._hidden = update, hidden

    def check(self, name: str, text: str) -> None:
        """Fail with the difference where `text` is not what the file says."""
        for value, placeholder in self._hidden.items():
            text = text.replace(value, placeholder)
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        path = FILES / name
        if self._update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        known = path.read_text(encoding="utf-8") if path.exists() else ""
        changes = difflib.unified_diff(known.splitlines(), text.splitlines(), str(path), "now", lineterm="")
        assert known == text, "\n".join([*changes, "", "as it should be? pytest --update-golden"])

    def check_table(self, name: str, text: str) -> None:
        """The same for a table whose columns are as wide as the hidden names, with where the chart came from."""
        for value, placeholder in self._hidden.items():
            text = text.replace(value, placeholder)
        text = re.sub(rf"(?<=CHART) +{settings._chart()[1]} *$", "  ORIGIN", text, flags=re.MULTILINE)
        self.check(name, re.sub(r" {2,}", "  ", text))

    def check_command(self, name: str, ended: Ended) -> None:
        """The same for a whole command: exit code, stdout, stderr."""
        parts = [f"exit code {ended.code}\n"]
        parts += [f"--- {stream}\n{text}" for stream, text in (("stdout", ended.out), ("stderr", ended.err)) if text]
        self.check(name, "".join(parts))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in folders of this test's own."""
    return Program(tmp_path)


@pytest.fixture
def golden(request: pytest.FixtureRequest, program: Program) -> Golden:
    """The golden files; names of this run's folders are replaced."""
    # The chart of a checkout or of the installed package, whichever is under test.
    chart, _ = settings._chart()
    hidden = {str(program.folder): "FOLDER", str(chart): "CHART"}
    return Golden(update=request.config.option.update_golden, hidden=hidden)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("help.txt", ["--help"]),
        ("nothing.txt", []),
        ("help-up.txt", ["up", "--help"]),
        ("help-db.txt", ["db", "--help"]),
        ("env-list-json.txt", ["env", "list", "-o", "json"]),
        ("env-list-yaml.txt", ["env", "list", "-o", "yaml"]),
        ("unknown-command.txt", ["stauts"]),
        ("unknown-environment.txt", ["-e", "nowhere", "status"]),
        ("not-up.txt", ["status"]),
        ("refused-environment.txt", ["-e", "cloud", "up"]),
        ("refused-without-agreement.txt", ["db", "downgrade", "base"]),
    ],
)
def test_commands(golden: Golden, program: Program, name: str, arguments: list[str]) -> None:
    """Help, lists and errors look as they are known to look."""
    golden.check_command(name, program.inside(*arguments))


CONFIG = """\
default_environment = "team"

[environments.team]
kind = "kubernetes"
context = "team-aks"
namespace = "todo-app"
values = ["values-cloud.yaml"]

[environments.team.kafka]
bootstrap = "broker:9092"
sasl_mechanism = "SCRAM-SHA-512"
username = { env = "KAFKA_USER" }
password = { kubernetes = "kafka/password" }
"""


def test_environments_of_a_project(golden: Golden, program: Program) -> None:
    """`env list` and `env show` say what is defined, what counts, and where each setting comes from."""
    program.work.mkdir()
    (program.work / "todoctl.toml").write_text(CONFIG)
    golden.check_table("env-list.txt", program.inside("env", "list").out)
    golden.check_table("env-show.txt", program.inside("env", "show").out)
    golden.check_table("env-show-local.txt", program.inside("env", "show", "local").out)


def test_mistakes_in_a_configuration_file(golden: Golden, program: Program) -> None:
    """Every mistake is named with its line."""
    program.work.mkdir()
    broken = (
        CONFIG.replace('"kubernetes"', '"moon"')
        .replace("namespace", "namespcae")
        .replace('{ env = "KAFKA_USER" }', '"me"')
    )
    (program.work / "todoctl.toml").write_text(broken)
    golden.check_command("mistakes.txt", program.inside("env", "list"))


def test_status_for_people(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """The tables of `status`."""
    status_command._table(SEEN)
    golden.check("status.txt", capsys.readouterr().out)


@pytest.mark.parametrize("output", [Output.json, Output.yaml])
def test_status_for_programs(golden: Golden, capsys: pytest.CaptureFixture[str], output: Output) -> None:
    """The documents of `status`: keys and their order are a promise."""
    screen.show(SEEN.document(), output, lambda: None)
    golden.check(f"status.{output}", capsys.readouterr().out)


def test_doctor_for_people(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """The findings of `doctor`."""
    doctor_command._table(FINDINGS)
    golden.check("doctor.txt", capsys.readouterr().out)


def test_trace_for_people(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """The timeline of `trace`, and the error that names the gap."""
    trace_command._table(TRACE)
    with pytest.raises(UnhealthyError) as caught:
        trace_command._raise_if_broken(TRACE, "1h")
    screen.fail(caught.value)
    written = capsys.readouterr()
    golden.check("trace.txt", written.out + written.err)


def test_trace_for_programs(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """The document of `trace`: keys and their order are a promise."""
    screen.show(TRACE.document(), Output.json, lambda: None)
    golden.check("trace.json", capsys.readouterr().out)


def test_a_part_that_died(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress without a terminal, and the error that `up` ends with."""
    with screen.board() as board:
        board.update("postgres", "waiting", "for tool postgresql", 0.0)
        board.update("postgres", "starting", "", 0.1)
        board.update("api", "starting", "does not listen on port 8000 yet", 0.2)
        board.update("postgres", "ready", "port 5432, pid 101", 1.25)
        board.update("api", "failed", "api died 3 times in a row after its start", 12.5)
    lines = ("Traceback (most recent call last):", "ModuleNotFoundError: No module named 'x'")
    screen.fail(UnhealthyError("api died 3 times in a row after its start", detail=lines, hint="mend it"))
    golden.check("part-died.txt", capsys.readouterr().err)
