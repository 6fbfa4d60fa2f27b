"""What differs between two releases, the risk of each change, and that no secret shows."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from services.contracts.generate import schemas_by_file
from tests.unit.core.test_releases import needs
from tests.unit.sites import chart_values
from todoctl.core.release_diff import Difference, differences, highest_risk
from todoctl.core.releases import EventNeeds, LockRisk, Manifest

VALUES = chart_values().model_dump(mode="json", by_alias=True)
EVENTS = EventNeeds(writes="1.0", reads=("1",), schemas=schemas_by_file())


def manifest(**fields: Any) -> Manifest:
    """A release with three migrations and two files."""
    given = {
        "files": {"a.py": "1", "b.py": "1", "a.pyc": "1"},
        "values": VALUES,
        "database": needs(3),
        "events": EVENTS,
    }
    return Manifest(app_version="0.1.0", **given | fields)


def found(before: Manifest | None, after: Manifest, head: str | None = "0003") -> list[tuple[str, str, str, str]]:
    """Area, name, change and risk of each difference."""
    return [(d.area, d.name, d.change, d.risk) for d in differences(before, after, head=head)]


def changed(path: str, value: Any) -> dict[str, Any]:
    """The chart's values with one changed."""
    values = copy.deepcopy(VALUES)
    *way, last = path.split(".")
    section = values
    for key in way:
        section = section[key]
    section[last] = value
    return values


def test_a_release_does_not_differ_from_itself() -> None:
    """Nothing changed, nothing is told."""
    assert differences(manifest(), manifest(), head="0003") == []
    assert highest_risk([]) == "none"


def test_the_first_release() -> None:
    """Without one that runs only its size is told, and the migrations that it brings."""
    assert found(None, manifest(), head="0002") == [
        ("code", "2 files", "added", "none"),
        ("migrations", "0003 m3", "added", "low"),
    ]


def test_code_is_told_by_file() -> None:
    """Added, removed and changed files; byte code only repeats its source."""
    after = manifest(files={"a.py": "2", "c.py": "1", "a.pyc": "2"})
    assert found(manifest(), after) == [
        ("code", "a.py", "changed", "low"),
        ("code", "b.py", "removed", "low"),
        ("code", "c.py", "added", "low"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("services.api.port", 8100, ("values", "services.api.port", "changed", "low")),
        ("dapr.logLevel", "debug", ("values", "dapr.logLevel", "changed", "medium")),
        ("topics.reminders.partitions", 6, ("topics", "reminders", "changed", "high")),
        ("topics.reminders.retentionHours", 1, ("topics", "reminders", "changed", "high")),
        ("topics.reminders.retentionHours", 9999, ("topics", "reminders", "changed", "low")),
        ("topics.more", {"partitions": 1, "retentionHours": 1}, ("topics", "more", "added", "low")),
    ],
    ids=str,
)
def test_values_and_topics(path: str, value: Any, expected: tuple[str, str, str, str]) -> None:
    """A changed value is told by its path; of a topic what Kafka would be told. What loses or moves records is high."""
    assert found(manifest(), manifest(values=changed(path, value))) == [expected]


def test_a_service_that_goes_away_is_a_high_risk() -> None:
    """Whoever calls it meets nobody."""
    values = copy.deepcopy(VALUES)
    del values["services"]["recurring"]
    assert ("values", "services.recurring.port", "removed", "high") in found(manifest(), manifest(values=values))


def test_secrets_are_masked() -> None:
    """Whatever is named like a secret is told as changed, never shown."""
    values = changed("dapr.pubsub.metadata", VALUES["dapr"]["pubsub"]["metadata"] | {"saslPassword": "hunter2"})
    [difference] = differences(manifest(), manifest(values=values), head="0003")
    assert difference == Difference("values", "dapr.pubsub.metadata.saslPassword", "added", "medium", "not set → •••")


def test_migrations_have_the_risk_of_their_statements() -> None:
    """The worst statement counts; a contract is high whatever it locks; unknown SQL is not called harmless."""
    risk = LockRisk(rule="require-concurrent-index-creation", risk="medium", words="CREATE INDEX x: blocks writes")
    [difference] = differences(manifest(), manifest(database=needs(4, risks=(risk,), sql="x")), head="0003")
    assert (difference.area, difference.risk) == ("migrations", "medium")
    assert "CREATE INDEX x: blocks writes" in difference.detail
    assert found(manifest(), manifest(database=needs(4, phase="contract", sql="x")))[0][3] == "high"
    assert found(manifest(), manifest(database=needs(4)))[0][3] == "medium"


def test_event_versions() -> None:
    """Writing what the running release can't read is high; so is no longer reading what it wrote."""
    writes = manifest(events=EVENTS.model_copy(update={"writes": "2.0", "reads": ("1", "2")}))
    assert found(manifest(), writes) == [
        ("events", "version written", "changed", "high"),
        ("events", "versions read", "changed", "none"),
    ]
    assert found(writes, manifest())[1] == ("events", "versions read", "changed", "high")
    minor = manifest(events=EVENTS.model_copy(update={"writes": "1.1"}))
    assert found(manifest(), minor) == [("events", "version written", "changed", "low")]


def test_event_schemas() -> None:
    """A new field is low, a field that may be missing is high and named."""
    name = "task-event-schema.json"
    more, less = copy.deepcopy(EVENTS.schemas), copy.deepcopy(EVENTS.schemas)
    more[name]["properties"]["color"] = {"type": "string"}
    less[name]["required"].remove("user_id")
    assert found(manifest(), manifest(events=EVENTS.model_copy(update={"schemas": more})))[0][3] == "low"
    [difference] = differences(manifest(), manifest(events=EVENTS.model_copy(update={"schemas": less})), head="0003")
    assert difference.risk == "high"
    assert "$.user_id: may be missing now" in difference.detail
