"""Values files: merged as Helm merges them, each mistake with its file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.sites import CHART, document
from todoctl.adapters.chart import read_values
from todoctl.errors import UsageError

BASE = """\
services:
  api:
    port: 8000
    publishes: [task-events]
  auth:
    port: 8001
topics:
  task-events: {partitions: 6, retentionHours: 1}
  letters: {partitions: 1, retentionHours: 1}
kafka:
  replication: 3
dapr:
  pubsub:
    name: pubsub
    metadata: {initialOffset: oldest, sessionTimeout: 6s}
  statestore: {name: store, role: dapr_state, tablePrefix: dapr_}
  secretstore: {name: secrets}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart with BASE as its values."""
    (tmp_path / "values.yaml").write_text(BASE)
    return tmp_path


def overlay(chart: Path, text: str, name: str = "over.yaml") -> Path:
    """A values file laid over the chart's."""
    path = chart / name
    path.write_text(text)
    return path


def refused(chart: Path, *overlays: Path) -> UsageError:
    """The error that the files end in."""
    with pytest.raises(UsageError) as caught:
        read_values(chart, overlays)
    return caught.value


def test_mappings_merge_key_by_key(chart: Path) -> None:
    """An overlay says only what differs; everything beside it stays."""
    values = read_values(
        chart, (overlay(chart, "services: {api: {port: 9000}}\ndapr: {pubsub: {metadata: {a: b}}}\n"),)
    )
    assert (values.services["api"].port, values.services["auth"].port) == (9000, 8001)
    assert values.services["api"].publishes == ("task-events",)
    assert values.dapr.pubsub.metadata == {"initialOffset": "oldest", "sessionTimeout": "6s", "a": "b"}


def test_null_removes_a_key(chart: Path) -> None:
    """As in Helm, null takes away what is below."""
    over = overlay(chart, "services: {auth: null}\ndapr: {pubsub: {metadata: {sessionTimeout: null}}}\n")
    values = read_values(chart, (over,))
    assert set(values.services) == {"api"}
    assert values.dapr.pubsub.metadata == {"initialOffset": "oldest"}


def test_null_for_a_key_that_is_not_there_is_nothing(chart: Path) -> None:
    """Taking away what was never there changes nothing, at any depth."""
    assert read_values(chart, (overlay(chart, "services: {sync: null}\nsurplus: null\n"),)) == read_values(chart)


def test_lists_are_replaced(chart: Path) -> None:
    """A list of an overlay stands in the place of the one below."""
    values = read_values(chart, (overlay(chart, "services: {api: {publishes: [letters]}}\n"),))
    assert values.services["api"].publishes == ("letters",)


def test_later_files_are_on_top(chart: Path) -> None:
    """Of two overlays the last one wins where both speak."""
    one = overlay(chart, "kafka: {replication: 1, minInSyncReplicas: 1}\n", "one.yaml")
    two = overlay(chart, "kafka: {replication: 2}\n", "two.yaml")
    kafka = read_values(chart, (one, two)).kafka
    assert (kafka.replication, kafka.min_in_sync_replicas) == (2, 1)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}\n", "null\n"])
def test_an_empty_overlay_changes_nothing(chart: Path, text: str) -> None:
    """A file that says nothing is allowed."""
    assert read_values(chart, (overlay(chart, text),)) == read_values(chart)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("port: 8000", "prot: 8000", ":3: services.api.prot: Extra inputs are not permitted"),
        ("port: 8000", "port: many", ":3: services.api.port: Input should be a valid integer"),
        ("    port: 8001", "    {}", ":5: services.auth.port: Field required"),
        ("[task-events]", "[task-events, 7]", ":4: services.api.publishes.1: Input should be a valid string"),
        ("[task-events]", "[absent]", ":1: : services.api: no such topic: absent"),
        ("replication: 3", "replication: 30", ":11: kafka.replication: Input should be less than or equal to 9"),
        ("retentionHours: 1}\n  letters", "retentionHours: 1, x: 2}\n  letters", ":8: topics.task-events.x: Extra"),
        ("kafka:\n  replication: 3\n", "kafka: 3\n", ":10: kafka: Input should be a valid dictionary"),
        ("role: dapr_state", "role: Dapr State", ":16: dapr.statestore.role: String should match pattern"),
        ("topics:", "topic:", ":7: topic: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(chart: Path, old: str, new: str, said: str) -> None:
    """`FILE:LINE: key: what is wrong`, at the line that makes the mistake."""
    assert BASE.count(old) == 1
    path = overlay(chart, BASE.replace(old, new), "values.yaml")
    detail = refused(chart).detail
    assert any(line.startswith(f"{path}{said}") for line in detail), detail


def test_a_mistake_of_an_overlay_is_named_there(chart: Path) -> None:
    """The file named is the last one that says something at the place; the hint names it too."""
    fine = overlay(chart, "kafka: {replication: 1}\n", "fine.yaml")
    wrong = overlay(chart, "\n\nkafka:\n  replication: 1\n  surplus: 1\n", "wrong.yaml")
    error = refused(chart, fine, wrong)
    assert error.detail == (f"{wrong}:5: kafka.surplus: Extra inputs are not permitted",)
    assert error.hint == f"mend {wrong}"
    assert refused(chart, wrong, fine).detail == error.detail


def test_what_an_overlay_took_away_is_named(chart: Path) -> None:
    """A required key that an overlay removed is missing, and the message says which."""
    (line,) = refused(chart, overlay(chart, "dapr: {secretstore: null}\n")).detail
    assert line.endswith("dapr.secretstore: Field required")


def test_all_mistakes_are_named(chart: Path) -> None:
    """Mending one mistake does not reveal the next."""
    overlay(chart, BASE.replace("8000", "x").replace("8001", "y"), "values.yaml")
    assert len(refused(chart).detail) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: [", "is not YAML"),
        (b"a: 1\n b: 2\n", "is not YAML"),
        (b"a: !!python/object:os.system {}\n", "is not YAML"),
        (b"a: 2026-99-99\n", "is not YAML"),
        (b"[" * 5000, "is not YAML"),
        (b"a: 1\n---\nb: 2\n", "is not YAML"),
        (b"\xff\xfe\xff", "can't be read"),
        (b"- a\n", "must hold a mapping, it holds a list"),
        (b"just text\n", "must hold a mapping, it holds a str"),
    ],
)
def test_a_file_that_is_no_values_file_is_said(chart: Path, content: bytes, said: str) -> None:
    """What is no YAML mapping is refused with the file's name."""
    path = chart / "over.yaml"
    path.write_bytes(content)
    error = refused(chart, path)
    assert error.message.startswith(f"values file {path}")
    assert said in error.message


def test_a_file_that_is_not_there_is_said(chart: Path) -> None:
    """A missing overlay is no empty overlay."""
    assert "can't be read" in refused(chart, chart / "absent.yaml").message


@pytest.mark.parametrize("key", ["1", "2026-01-01", "true", "~", "[a, b]", "{a: b}"])
def test_a_key_that_is_no_text_is_refused(chart: Path, key: str) -> None:
    """A number, a date or a list as a key is a mistake, not a crash."""
    assert refused(chart, overlay(chart, f"? {key}\n: 1\n")).exit_code == 2


def test_a_document_that_contains_itself_is_refused(chart: Path) -> None:
    """An anchor that refers to what it is in ends in a message."""
    assert refused(chart, overlay(chart, "topics: &t\n  again: *t\n")).exit_code == 2


def test_the_charts_own_files_fit() -> None:
    """values.yaml alone and with each overlay of the chart are accepted."""
    for path in [None, *CHART.glob("values-*.yaml")]:
        assert read_values(CHART, (path,) if path else ()).services


def test_a_document_from_python_reads_back(chart: Path) -> None:
    """What other tests build as a document is what a file would say."""
    overlay(chart, yaml.safe_dump(document(api={"port": 8000})), "values.yaml")
    assert read_values(chart).services["api"].port == 8000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must hold a mapping"),
        ("\x00", "is not YAML"),
        (None, "can't be read: Is a directory"),
    ],
)
def test_what_is_no_values_file_names_the_next_step(chart: Path, text: str | None, words: str) -> None:
    """Whatever it is."""
    path = chart if text is None else overlay(chart, text)
    error = refused(chart, path)
    assert words in error.message
    assert error.hint


def test_a_line_that_is_not_yaml_is_not_repeated(chart: Path) -> None:
    """It may hold a password; its number is enough."""
    error = refused(chart, overlay(chart, 'a: 1\npassword: "hidden\nb: 2\n'))
    assert any("line 2" in line for line in error.detail)
    assert "hidden" not in "".join(error.detail)
