"""Planning: what is done with each letter, and why not; the plan's file and what proves it unchanged."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import pytest

from tests.live.letters import event
from todoctl.core.dlq import edits, plan_line
from todoctl.core.dlq.foreign import UNREADABLE, Place, Reason
from todoctl.core.dlq.letters import MARK, Hints, Letter
from todoctl.core.dlq.plan import Entry, PlanHeader, Target, check_fits, lines_digest, read_header
from todoctl.core.dlq.planning import Planner
from todoctl.errors import RefusedError, UsageError

EVENT_ID, VALUE = event(1)
LETTER = Letter(
    partition=0,
    offset=5,
    written_ms=1,
    form="dapr",
    letter_id=None,
    origin=Place("task-events", 2, 40, 1000),
    reason=Reason("recurring", "Bad"),
    hints=Hints(EVENT_ID, "task.completed"),
    key=b"2",
    value=VALUE,
    headers=(("a", b"1"),),
    all_headers=(),
    has_headers=True,
    is_whole=True,
    digest="d" * 32,
)
TARGET = Target(topic_id="T", partitions=6, ends={2: 100}, consumers=("audit",))


@dataclass(frozen=True)
class Original:
    """The record at the letter's origin."""

    value: bytes | None = VALUE
    key: bytes | None = b"\xff"
    headers: tuple[tuple[str, bytes | None], ...] = (("b", b"2"),)
    partition: int = 2
    offset: int = 40
    timestamp_ms: int = 1000


def planner(**fields: Any) -> Planner:
    """A planner that knows one topic."""
    return Planner({"task-events": TARGET}, {"task-events": 10_000}, 3, **fields)


def decided(letter: Letter, original: Original | None = None, **fields: Any) -> Entry:
    """What a fresh planner does with a letter."""
    return planner(**fields).entry(letter, original)


def test_a_letter_goes_back_to_where_its_record_lay() -> None:
    """Its partition, key and headers; without a value, which is the letter's."""
    entry = decided(LETTER)
    assert (entry.act, entry.topic, entry.to, entry.key) == ("replay", "task-events", 2, b"2")
    assert (entry.headers, entry.count, entry.has_value) == ((("a", b"1"),), 1, False)


def test_the_original_knows_key_and_headers_better() -> None:
    """Where it still lies there they are taken from it, but for an older mark."""
    original = replace(Original(), headers=(("b", b"2"), (MARK, b"p/0/1/1")))
    entry = decided(replace(LETTER, has_headers=False, headers=()), original)
    assert (entry.key, entry.headers, entry.count) == (b"\xff", (("b", b"2"),), 2)


@pytest.mark.parametrize("original", [Original(value=b"other"), Original(value=None), Original(timestamp_ms=7)])
def test_another_record_at_the_same_place_is_not_the_original(original: Original) -> None:
    """A topic that was made anew has others there."""
    assert decided(LETTER, original).key == b"2"


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"origin": None}, "no origin"),
        ({"origin": Place("billing", 0, 1)}, "not ours"),
        ({"is_whole": False}, "not whole"),
        ({"value": b"{}"}, "does not fit"),
        ({"value": None}, "does not fit"),
        ({"value": b"x" * 10_001}, "too large"),
    ],
)
def test_what_cannot_go_is_skipped_with_its_reason(changed: dict[str, Any], because: str) -> None:
    """Each reason is counted by its name."""
    made = planner()
    entry = made.entry(replace(LETTER, **changed), None)
    assert entry.act == "skip"
    assert (entry.because or "").startswith(because)
    assert dict(made.because) == {because: 1}


def test_what_the_model_refuses_goes_when_asked_for() -> None:
    """`--invalid` is for consumers that are not todoctl's own."""
    assert decided(replace(LETTER, value=b"{}"), takes_invalid=True).act == "replay"


def test_a_cut_letter_is_sent_whole_when_its_record_is_still_there() -> None:
    """The plan then has the value, since the letter hasn't."""
    entry = decided(replace(LETTER, value=VALUE[:9], is_whole=False), Original())
    assert (entry.act, entry.has_value, entry.value, entry.is_edited) == ("replay", True, VALUE, False)


def test_a_partition_that_is_not_there_leaves_it_to_the_key() -> None:
    """Unknown or beyond what the topic has; the plan counts it among its risks."""
    for partition in (None, 6):
        made = planner()
        assert made.entry(replace(LETTER, origin=Place("task-events", partition, 40)), None).to is None
        assert any("where their key belongs" in risk for risk in made.risks)


def test_the_third_return_parks() -> None:
    """How often it came back is in the letter's headers or the original's."""
    assert decided(replace(LETTER, headers=((MARK, b"p/0/1/2"),))).act == "replay"
    assert decided(replace(LETTER, headers=((MARK, b"p/0/1/3"),))).act == "park"
    assert decided(LETTER, Original(headers=((MARK, b"p/0/1/3"),))).act == "park"


def test_two_letters_of_one_record_send_it_once() -> None:
    """The second is covered by the first; another value at that place is another record."""
    made = planner()
    assert made.entry(LETTER, None).act == "replay"
    second = made.entry(replace(LETTER, offset=6), None)
    assert (second.act, second.same_as) == ("cover", "0/5")
    assert made.entry(replace(LETTER, offset=7, value=event(2)[1]), None).act == "replay"


def test_a_key_whose_earlier_letter_is_held_back_is_a_risk() -> None:
    """The later record then comes before the earlier one ever does."""
    made = planner()
    made.entry(replace(LETTER, value=b"{}"), None)
    made.entry(replace(LETTER, offset=6), None)
    assert any(risk.startswith("1 keys have a letter that is held back") for risk in made.risks)


def edited(**fields: Any) -> bytes:
    """The event with other data."""
    whole = json.loads(VALUE)
    whole["data"] |= fields
    return json.dumps(whole).encode()


def test_an_edit_that_fits_is_in_the_plan() -> None:
    """With the whole new value, and what it was for the reader's diff."""
    new = edited(correlation_id="new")
    entry = decided(LETTER, edit=lambda *_: new)
    assert (entry.act, entry.value, entry.is_edited, entry.before) == ("replay", new, True, VALUE)
    assert '+    "correlation_id": "new",' in edits.difference("0/5", VALUE, new)
    assert not decided(LETTER, edit=lambda _, value: value).is_edited


@pytest.mark.parametrize("new", [edited(user_id="x"), edited(event_id="00000000-0000-0000-0000-000000000000"), b"{"])
def test_an_edit_that_may_not_be_is_skipped(new: bytes) -> None:
    """What the model refuses, or what would be another event for every consumer."""
    entry = decided(LETTER, edit=lambda *_: new)
    assert entry.act == "skip"
    assert (entry.because or "").startswith("edit refused")


def test_an_edit_that_fails_is_skipped() -> None:
    """With the editor's words."""

    def fails(*_: object) -> bytes:
        raise ValueError("no such field")

    assert decided(LETTER, edit=fails).because == "edit failed: no such field"


HEADER = PlanHeader(
    id="p",
    made_at="t",
    made_by="me",
    environment="e",
    cluster="C",
    topic="dlq-events",
    topic_id="D",
    ends={0: 9},
    states=("pending",),
    max_returns=3,
    targets={"task-events": TARGET},
    counts={"replay": 1, "cover": 0, "park": 0, "skip": 0},
    digest="x",
)


def test_a_header_is_read_as_it_was_written() -> None:
    """And what is none, or is newer, says what does not fit."""
    assert read_header(HEADER.encode()) == HEADER
    for line in (b"", b"[]", b"{}"):
        with pytest.raises(UsageError, match="no plan that can be read"):
            read_header(line)


@pytest.mark.parametrize("version", [b"1", b"3", b"null"])
def test_a_plan_of_another_version_is_refused(version: bytes) -> None:
    """Plans of version 1 had digests of another kind; its lines would all seem to be about other letters."""
    line = HEADER.encode().replace(b'"todoctl_plan":2', b'"todoctl_plan":' + version)
    with pytest.raises(UsageError, match="another todoctl's version made it") as raised:
        read_header(line)
    assert raised.value.hint == "make a new one: todoctl dlq plan"


def test_lines_that_change_change_the_digest() -> None:
    """A line cut, added or edited is noticed, and an empty one."""
    lines = [decided(LETTER).encode(), decided(replace(LETTER, offset=6)).encode()]
    changed = (lines, lines[:1], lines[::-1], [*lines, b"\n"])
    assert len({lines_digest(BytesIO(b"".join(some))) for some in changed}) == 4


@pytest.mark.parametrize(
    ("cluster", "ids", "words"),
    [
        ("D", {"dlq-events": "D", "task-events": "T"}, "Kafka cluster C, this is D"),
        ("C", {"dlq-events": "E", "task-events": "T"}, "dlq-events was made anew"),
        ("C", {"dlq-events": "D", "task-events": "U"}, "task-events was made anew"),
        ("C", {"dlq-events": "D"}, "task-events is gone"),
    ],
)
def test_a_plan_for_something_else_is_refused(cluster: str, ids: dict[str, str], words: str) -> None:
    """Another cluster, or a topic that was made anew: the places of the plan mean other records now."""
    with pytest.raises(RefusedError, match=words):
        check_fits(HEADER, cluster=cluster, topic_ids=ids)


def test_a_plan_that_fits_passes() -> None:
    """Same cluster, same topics."""
    check_fits(HEADER, cluster="C", topic_ids={"dlq-events": "D", "task-events": "T", "more": "M"})


def test_a_header_that_changes_breaks_the_seal() -> None:
    """It says, too, which letters are sent: states that were added would send letters again."""
    sealed = HEADER.model_copy(update={"digest": HEADER.seal("lines")})
    assert read_header(sealed.encode()).seal("lines") == sealed.digest
    assert sealed.model_copy(update={"states": ("pending", "parked")}).seal("lines") != sealed.digest
    assert sealed.seal("other lines") != sealed.digest


def test_a_plan_never_takes_letters_that_are_decided_for_good() -> None:
    """Not even one that somebody edited, and agreed to."""
    line = HEADER.encode().replace(b'"pending"', b'"replayed"')
    with pytest.raises(UsageError, match="states"):
        read_header(line)


@pytest.mark.parametrize("partition", [-1, 6, 2**70])
def test_a_partition_that_no_topic_has_makes_no_plan_that_cannot_be_read(partition: int) -> None:
    """One letter with nonsense in it stood in the way of all others."""
    entry = decided(replace(LETTER, origin=Place("task-events", partition, 1)))
    assert entry.to is None
    [piece] = plan_line.pieces(BytesIO(entry.encode()))
    assert [line.partition for line in piece.lines if isinstance(line, plan_line.Replay)] == [None]


def test_headers_that_cannot_be_read_are_not_sent_as_something_else() -> None:
    """Their record is skipped: it would go without what it had."""
    assert decided(replace(LETTER, headers=((UNREADABLE, None),))).because == (
        "headers not readable: one has a name that is not UTF-8"
    )
