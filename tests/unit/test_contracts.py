"""The contracts: up to date with the code, true of what is written, and readable by older consumers."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contracts.__main__ import HERE, main
from services.contracts.generate import SCHEMAS, schemas_by_file, topic_specification, values_file
from todoctl.core.compatibility import UnknownKeywordError, breaking_changes, shape
from todoctl.core.dead_letters import DeadLetter
from todoctl.core.events import (
    SCHEMA_VERSION,
    ReminderDetail,
    ReminderEvent,
    SeriesSnapshot,
    TaskChange,
    TaskEvent,
    TaskSnapshot,
    TaskUpdateEvent,
)
from todoctl.core.values import Values

Schema = dict[str, Any]

_FROZEN = sorted(path for path in (HERE / "frozen").iterdir() if path.is_dir())
_MAJOR = SCHEMA_VERSION.partition(".")[0]


def read(path: Path) -> Schema:
    """A schema file."""
    schema: Schema = json.loads(path.read_text())
    return schema


# Up to date


def test_the_files_are_what_the_code_says() -> None:
    """A change of the models or of the chart's topics without `python -m services.contracts` fails here."""
    check = subprocess.run(
        [sys.executable, "-m", "services.contracts", "--check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stderr


def test_a_stale_file_is_named(tmp_path: Path) -> None:
    """--check writes nothing and says which file to write."""
    assert main([], folder=tmp_path) == 0
    assert main(["--check"], folder=tmp_path) == 0
    (tmp_path / "kafka-topics.yaml").write_text("topics: {}\n")
    (tmp_path / "task-event-schema.json").unlink()
    assert main(["--check"], folder=tmp_path) == 1
    assert not (tmp_path / "task-event-schema.json").exists()


def test_the_names_of_the_task_list_are_there() -> None:
    """One schema per topic, and the topics' specification."""
    names = {"task-event-schema.json", "reminder-event-schema.json", "task-update-event-schema.json"}
    assert {path.name for path in HERE.glob("*.*") if path.suffix != ".py"} == {
        *names,
        "dead-letter-schema.json",
        "kafka-topics.yaml",
    }


def test_the_topics_are_those_of_the_chart() -> None:
    """Partitions, retention, writers and readers, as the chart has them."""
    topics = topic_specification(Values.model_validate(yaml.safe_load(values_file().read_text())))["topics"]
    assert [name for name, topic in topics.items() if topic["schema"]] == list(SCHEMAS)
    assert {name: topic["partitions"] for name, topic in topics.items()} == {
        "task-events": 6,
        "reminders": 3,
        "task-updates": 6,
        "dlq-events": 3,
        "dlq-decisions": 1,
    }
    assert topics["dlq-decisions"]["config"]["cleanup.policy"] == "compact"
    assert topics["dlq-events"]["config"]["retention.ms"] == 30 * 24 * 3_600_000
    assert {"api", "audit"} <= {*topics["task-events"]["producers"], *topics["task-events"]["consumers"]}


# Frozen versions


def test_this_version_is_frozen_and_unchanged() -> None:
    """A changed schema needs a higher SCHEMA_VERSION, and a new version its frozen copy (--freeze)."""
    for name, schema in schemas_by_file().items():
        assert shape(read(HERE / "frozen" / SCHEMA_VERSION / name)) == shape(schema), name


@pytest.mark.parametrize("frozen", [path for path in _FROZEN if path.name.partition(".")[0] == _MAJOR], ids=str)
def test_older_consumers_can_read_what_is_written_now(frozen: Path) -> None:
    """Nothing that a reader of an older version of this major line would stumble over."""
    for name, schema in schemas_by_file().items():
        assert breaking_changes(read(frozen / name), schema) == [], name


def test_a_frozen_version_is_not_written_over(tmp_path: Path) -> None:
    """--freeze refuses to change what readers already rely on; words for people may change."""
    assert main(["--freeze"], folder=tmp_path) == 0
    path = tmp_path / "frozen" / SCHEMA_VERSION / "task-event-schema.json"
    schema = read(path)
    schema["description"] = "other words"
    path.write_text(json.dumps(schema))
    assert main(["--freeze"], folder=tmp_path) == 0
    schema["required"].remove("user_seq")
    path.write_text(json.dumps(schema))
    assert main(["--freeze"], folder=tmp_path) == 1
    assert "user_seq" not in read(path)["required"]


# Planted changes: what the comparison must find, and what it must let pass

Change = Callable[[Schema], Any]


def _task(schema: Schema) -> Schema:
    found: Schema = schema["$defs"]["TaskSnapshot"]
    return found


def _drop(part: Schema, name: str) -> None:
    del part["properties"][name]
    part["required"].remove(name)


_BREAKING: dict[str, tuple[Change, str]] = {
    "a field is gone": (lambda s: _drop(s, "user_seq"), "$.user_seq"),
    "a nested field is gone": (lambda s: _drop(_task(s), "title"), "$.payload.task.title"),
    "a field may be missing": (lambda s: s["required"].remove("version"), "$.version"),
    "a number became text": (lambda s: s["properties"]["user_id"].update(type="string"), "$.user_id"),
    "a whole number may be a fraction": (lambda s: s["properties"]["user_id"].update(type="number"), "$.user_id"),
    "any type": (lambda s: s["properties"]["user_id"].pop("type"), "$.user_id"),
    "a value may be null": (
        lambda s: s["properties"].update(user_id={"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        "$.user_id",
    ),
    "a new event type": (lambda s: s["properties"]["event_type"]["enum"].append("task.moved"), "$.event_type"),
    "any event type": (lambda s: s["properties"]["event_type"].pop("enum"), "$.event_type"),
    "a new priority": (
        lambda s: _task(s)["properties"]["priority"]["enum"].append("whenever"),
        "$.payload.task.priority",
    ),
    "a lower bound": (lambda s: s["properties"]["user_seq"].update(minimum=0), "$.user_seq"),
    "no lower bound": (lambda s: s["properties"]["user_seq"].pop("minimum"), "$.user_seq"),
    "another format": (lambda s: s["properties"]["occurred_at"].pop("format"), "$.occurred_at"),
    "other items": (
        lambda s: _task(s)["properties"]["tags"].update(items={"type": "integer"}),
        "$.payload.task.tags[]",
    ),
    "an optional value has another type": (
        lambda s: _task(s)["properties"]["due_date"].update(anyOf=[{"type": "integer"}, {"type": "null"}]),
        "$.payload.task.due_date",
    ),
    "an object became a list": (
        lambda s: s["properties"].update(payload={"type": "array", "items": {"type": "object"}}),
        "$.payload",
    ),
}

_HARMLESS: dict[str, Change] = {
    "nothing": lambda _: None,
    "other words": lambda s: s.update(description="other", title="Other"),
    "a new field": lambda s: s["properties"].update(mood={"type": "string"}),
    "a new field that is always there": lambda s: (
        s["properties"].update(mood={"type": "string"}),
        s["required"].append("mood"),
    ),
    "a new nested field": lambda s: _task(s)["properties"].update(mood={"type": "string"}),
    "fewer event types": lambda s: s["properties"]["event_type"]["enum"].pop(),
    "a higher lower bound": lambda s: s["properties"]["user_seq"].update(minimum=5),
    "a new upper bound": lambda s: s["properties"]["user_id"].update(maximum=2**63 - 1),
    "an optional value that is always there": lambda s: _task(s)["properties"].update(
        due_date={"type": "string", "format": "date-time"}
    ),
    "a definition by another name": lambda s: (
        s["$defs"].update(Task=_task(s)),
        s["$defs"]["TaskChange"]["properties"].update(task={"$ref": "#/$defs/Task"}),
    ),
}


@pytest.mark.parametrize("name", _BREAKING)
def test_a_breaking_change_is_found(name: str) -> None:
    """Each is named with its place."""
    change, place = _BREAKING[name]
    old = schemas_by_file()["task-event-schema.json"]
    new = copy.deepcopy(old)
    change(new)
    found = breaking_changes(old, new)
    assert {line.partition(":")[0] for line in found} == {place}


@pytest.mark.parametrize("name", _HARMLESS)
def test_a_harmless_change_passes(name: str) -> None:
    """Older readers ignore what they don't know and take what is narrower."""
    old = schemas_by_file()["task-event-schema.json"]
    new = copy.deepcopy(old)
    _HARMLESS[name](new)
    assert breaking_changes(old, new) == []


def test_a_reader_that_takes_no_more_fields_is_respected() -> None:
    """Where an older schema is closed, a new field breaks it."""
    old = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    new = {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert breaking_changes(old, new) == ["$.b: a new field, and older readers take none"]


def test_a_word_without_a_rule_is_an_error() -> None:
    """The comparison never lets pass what it does not understand."""
    with pytest.raises(UnknownKeywordError, match="not"):
        breaking_changes({"type": "string"}, {"type": "string", "not": {"const": "x"}})


# True of what is written

_TIME = st.datetimes(timezones=st.just(UTC))
_COUNT = st.integers(min_value=1, max_value=2**63 - 1)
_COMMON = {"user_seq": _COUNT, "version": _COUNT, "occurred_at": _TIME}
_SERIES = st.builds(
    SeriesSnapshot,
    rule=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text())),
    anchor=st.datetimes(),
    due_local=st.datetimes(),
    index=_COUNT,
)
_TASK = st.builds(
    TaskSnapshot,
    tags=st.lists(st.text()).map(tuple),
    due_date=st.none() | _TIME,
    series=st.none() | _SERIES,
    version=_COUNT,
    created_at=_TIME,
    updated_at=_TIME,
    completed_at=st.none() | _TIME,
)
_CHANGE = st.builds(TaskChange, task=_TASK, changed=st.lists(st.text()).map(tuple))
_REMINDER = st.builds(ReminderDetail, trigger_at=_TIME, due_date=_TIME, message_id=st.none() | st.text())
_EVENTS = st.one_of(
    st.builds(TaskEvent, payload=_CHANGE, **_COMMON),
    st.builds(TaskUpdateEvent, payload=_CHANGE, **_COMMON),
    st.builds(ReminderEvent, payload=_REMINDER, **_COMMON),
    st.builds(DeadLetter, failed_at=_TIME, event_id=st.none() | st.text(), user_id=st.none() | st.integers()),
)
_FILE_OF = {model: name for name, model in SCHEMAS.values()}


@settings(max_examples=150, deadline=None)
@given(_EVENTS)
def test_whatever_the_models_write_fits_current_and_frozen_schemas(event: Any) -> None:
    """A validator in another language agrees with our models, in every version of this line."""
    name, document = _FILE_OF[type(event)], json.loads(event.model_dump_json())
    for folder in (HERE, *_FROZEN):
        jsonschema.Draft202012Validator(read(folder / name)).validate(document)


@pytest.mark.parametrize("name", _FILE_OF.values())
def test_the_schemas_are_sound(name: str) -> None:
    """Each is a valid JSON Schema that says which topic it is for."""
    schema = read(HERE / name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert SCHEMAS[schema["x-topic"]][0] == name == schema["$id"]
