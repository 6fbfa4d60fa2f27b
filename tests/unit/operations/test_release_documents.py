"""The JSON of releases and of what they would change: the same on every environment, documented, kept."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args

import jsonschema
import pytest

from tests.unit.core.test_release_diff import manifest
from tests.unit.core.test_releases import needs, release
from tests.unit.sites import ROOT
from todoctl.core.release_diff import Area, Change, Difference, differences
from todoctl.core.releases import Obstacle, Release, Risk, State
from todoctl.errors import RefusedError
from todoctl.operations.releases import Plan

RELEASE: dict[str, Any] = json.loads((ROOT / "docs" / "release.schema.json").read_text())
DIFF: dict[str, Any] = json.loads((ROOT / "docs" / "diff.schema.json").read_text())

FEARED = Obstacle("events", "task-events: 3 of version 2", "wait", can_be_forced=True)
CERTAIN = Obstacle("schema", "the database is at 0005", "todoctl history", can_be_forced=False)


def plan(*obstacles: Obstacle) -> Plan:
    """A rollback that changes two files."""
    found = differences(manifest(files={"a.py": "2"}), manifest(), head="0003")
    return Plan("rollback", 3, 1, tuple(found), obstacles)


def valid(document: Any, schema: dict[str, Any]) -> None:
    """Return when the document fits."""
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)


def test_every_field_of_a_release_is_documented() -> None:
    """Each is documented and always there; nothing is documented that is not there."""
    assert list(RELEASE["properties"]) == list(Release.model_fields) == RELEASE["required"]
    assert RELEASE["properties"]["state"]["enum"] == list(get_args(State))


@pytest.mark.parametrize(("kind", "name"), [(Difference, "differences"), (Obstacle, "obstacles")])
def test_every_field_of_a_plan_is_documented(kind: type, name: str) -> None:
    """So are those of what differs and what is in the way, with the words that they use."""
    section = DIFF["properties"][name]["items"]
    assert list(section["properties"]) == [item.name for item in fields(kind)] == section["required"]


def test_words_are_documented() -> None:
    """Areas, changes and risks are those of the code."""
    section = DIFF["properties"]["differences"]["items"]["properties"]
    assert section["area"]["enum"] == list(get_args(Area))
    assert section["change"]["enum"] == list(get_args(Change))
    assert section["risk"]["enum"] == list(get_args(Risk))


@pytest.mark.parametrize(
    "item",
    [
        release(1, "pending-install"),
        release(2, "deployed").model_copy(update={"finished_at": datetime.now(UTC), "returns_to": 1, "replaces": 1}),
    ],
    ids=["pending", "deployed"],
)
def test_releases_fit_their_schema(item: Release) -> None:
    """What history, deploy and rollback write."""
    valid(json.loads(json.dumps(item.model_dump(mode="json"))), RELEASE)


def test_plans_fit_their_schema() -> None:
    """What diff and rollback --dry-run write."""
    document = plan(FEARED, CERTAIN).document()
    valid(json.loads(json.dumps(document)), DIFF)
    assert list(document) == DIFF["required"]
    assert (document["from"], document["to"], document["risk"]) == (3, 1, "low")
    first = Plan("deploy", None, None, tuple(differences(None, manifest(database=needs(4)), head="0003")), ())
    valid(json.loads(json.dumps(first.document())), DIFF)


def test_what_is_in_the_way_stops() -> None:
    """Refused with the reason and what to do; force overrides what is feared, never what is certain."""
    plan().require_free(force=False)
    plan(FEARED).require_free(force=True)
    with pytest.raises(RefusedError, match="rollback refused: task-events: 3 of version 2") as feared:
        plan(FEARED, CERTAIN).require_free(force=False)
    assert feared.value.hint == "wait"
    assert feared.value.detail == ("schema: the database is at 0005 (todoctl history)",)
    with pytest.raises(RefusedError, match="the database is at 0005"):
        plan(FEARED, CERTAIN).require_free(force=True)
