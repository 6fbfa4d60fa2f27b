"""Status: its documented shape, the words for what was seen, and that a stopped platform is told at once."""

from __future__ import annotations

import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.program import Program
from tests.unit.operations.conftest import settings_in
from tests.unit.sites import ROOT, chart_values
from todoctl.adapters.kafka.groups import Lag
from todoctl.adapters.processes.identity import Usage
from todoctl.commands.status import _age
from todoctl.core.parts import make_parts
from todoctl.core.values import Subscription
from todoctl.operations.local import state, status, up
from todoctl.operations.status import GroupLag, Outbox, PartStatus, RunningRelease, Status, _sum
from todoctl.settings import Settings

SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "status.schema.json").read_text())
VALUES = chart_values()


def valid(document: Any) -> None:
    """Return when the document fits the documented schema."""
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(
    ("kind", "section"),
    [
        (Status, SCHEMA),
        (RunningRelease, SCHEMA["properties"]["release"]),
        (PartStatus, SCHEMA["properties"]["parts"]["items"]),
        (GroupLag, SCHEMA["properties"]["lag"]["items"]),
        (Outbox, SCHEMA["properties"]["outbox"]),
    ],
)
def test_the_schema_documents_every_field(kind: type, section: dict[str, Any]) -> None:
    """Each field is documented and always there; nothing is documented that is not there."""
    names = [item.name for item in fields(kind)]
    assert list(section["properties"]) == names
    assert section["required"] == names
    assert section["additionalProperties"] is False


def test_the_schema_is_one() -> None:
    """The file is a valid JSON Schema."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_kinds_are_those_of_the_parts(settings: Settings) -> None:
    """Every kind of part is documented."""
    recorded, _ = state.prepare(settings, VALUES, keep_ports=False)
    look = up.look(settings, VALUES, recorded, os.environ)
    kinds = {part.kind for part in make_parts(look.assembly.site)}
    assert set(SCHEMA["properties"]["parts"]["items"]["properties"]["kind"]["enum"]) == kinds


def test_a_stopped_platform_is_told_at_once(roomy: Path) -> None:
    """After `down` each part is stopped, lag and outbox can't be told, and the command ends with 3."""
    program = Program(roomy)
    settings = settings_in(roomy, "home")
    state.prepare(settings, VALUES, keep_ports=False)
    ended = program.run("status", "-o", "json")
    seen = ended.json()
    valid(seen)
    assert (ended.code, seen["healthy"]) == (3, False)
    assert {part["state"] for part in seen["parts"]} == {"stopped"}
    assert all(part["detail"] == "is not running" for part in seen["parts"])
    groups = sum(len(service.subscribes) for service in VALUES.services.values())
    assert [row["messages"] for row in seen["lag"]] == [None] * groups
    # Seen without asking Kafka's client, which answers only after its own deadline.
    assert all(row["detail"].startswith("Kafka does not listen on port") for row in seen["lag"])
    assert seen["outbox"]["entries"] is None
    assert f"{len(_names())} of {len(_names())} parts are not healthy" in ended.err
    assert "  │ api: is not running\n" in ended.err


def test_the_table_of_a_stopped_platform(roomy: Path) -> None:
    """The table has a row for each part and says what is unknown instead of guessing."""
    state.prepare(settings_in(roomy, "home"), VALUES, keep_ports=False)
    ended = Program(roomy).inside("status")
    assert ended.code == 3
    lines = ended.out.splitlines()
    assert lines[0].split()[:2] == ["PART", "STATE"]
    assert [line.split()[:2] for line in lines[1 : 1 + len(_names())]] == [[part, "stopped"] for part in _names()]
    assert any(line.startswith("outbox: unknown") for line in lines)


def _names() -> list[str]:
    services = [name for app in VALUES.services for name in (app, f"{app}-daprd")]
    return ["postgres", "kafka", "scheduler", "mailsink", *services]


@pytest.mark.parametrize(
    ("pid", "missing", "age", "word"),
    [
        (1, None, 5.0, "ready"),
        (None, "is not running", None, "stopped"),
        (1, "does not listen", 1.0, "starting"),
        (1, "does not listen", 60.0, "unhealthy"),
        (1, "does not listen", None, "unhealthy"),
    ],
)
def test_the_word_for_a_part(pid: int | None, missing: str | None, age: float | None, word: str) -> None:
    """Ready where nothing is missing; else stopped, starting in its first seconds, unhealthy after them."""
    usage = Usage(1, 0, time.time() - age) if age is not None else None
    assert status._word(pid, missing, usage) == word


def lag(partition: int, committed: int | None, start: int, end: int) -> Lag:
    """A partition's lag, as the adapter tells it."""
    return Lag("t", partition, committed, start, end, None if committed is None else end - committed)


@pytest.mark.parametrize(
    ("rows", "messages", "detail"),
    [
        ([], 0, ""),
        ([lag(0, 7, 0, 10), lag(1, 10, 0, 10)], 3, ""),
        ([lag(0, None, 0, 0)], 0, ""),
        ([lag(0, None, 4, 10), lag(1, 10, 0, 10)], 6, "1 partitions never committed"),
        ([lag(0, None, 4, 10), lag(1, None, 0, 1)], 7, "2 partitions never committed"),
    ],
)
def test_the_lag_of_a_group(rows: list[Lag], messages: int, detail: str) -> None:
    """Partitions add up; one that was never committed counts all that is in it and is told."""
    subscription = Subscription(topic="t", route="/events/t")
    assert _sum("audit", subscription, rows) == GroupLag("audit", "t", messages, detail)


def test_the_lag_of_a_replicas_own_group() -> None:
    """A group that starts at the newest record is not behind where it never committed."""
    subscription = Subscription(topic="t", route="/events/t", every_replica=True)
    rows = [lag(0, None, 4, 10), lag(1, 9, 0, 10)]
    assert _sum("sync-sync-0", subscription, rows) == GroupLag("sync-sync-0", "t", 1, "")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90_061, "25h01m")],
)
def test_ages_for_people(seconds: float | None, text: str) -> None:
    """Two units are enough."""
    assert _age(seconds) == text
