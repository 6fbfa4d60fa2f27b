"""Dead letters on a real broker: read, planned, re-published once, whatever is killed and whoever else is at work."""

from __future__ import annotations

import base64
import gzip
import json
import random
import signal
import time
from collections import Counter, deque
from collections.abc import Sequence
from io import BytesIO
from itertools import repeat
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.live import replayer
from tests.live.broker import KafkaServer
from tests.live.desk import Desk, remake
from tests.live.letters import KINDS, WITH_ORIGIN, Dead, event, kill, make_topics
from tests.program import until
from tests.unit.sites import chart_values
from todoctl.adapters.kafka import client, records, topics
from todoctl.adapters.kafka.transactions import FencedError, Sends, Transactions, UnsettledError
from todoctl.core.dlq.decisions import read_decision
from todoctl.core.dlq.letters import MARK
from todoctl.core.dlq.plan import Entry
from todoctl.core.dlq.plan_line import pieces
from todoctl.errors import RefusedError
from todoctl.operations.dlq.desk import open_desk
from todoctl.operations.dlq.planned import with_letters

_SEED = 20261126


def committed(server: KafkaServer, topic: str = "task-events") -> list[records.Record]:
    """Everything on a topic that a reader of committed records sees."""
    ranges = records.watermarks(server.client, [topic])
    starts, stops = ({place: pair[side] for place, pair in ranges.items()} for side in (0, 1))
    return [record for batch in records.scan(server.client, starts, dict(stops)) for record in batch]


def assert_once(server: KafkaServer, dead: Sequence[Dead]) -> None:
    """Each record that can be re-published lies twice: as it died, and once more with nothing changed but the mark."""
    wanted = {item.event_id: item for item in dead if item.kind in WITH_ORIGIN}
    again = [record for record in committed(server) if any(name == MARK for name, _ in record.headers)]
    seen = Counter(json.loads(record.value or b"")["id"] for record in again)
    assert seen == Counter(dict.fromkeys(wanted, 1))
    for record in again:
        item = wanted[json.loads(record.value or b"")["id"]]
        assert (record.key, record.value, record.partition) == (item.key, item.value, item.partition)
        assert [header for header in record.headers if header[0] != MARK] == [
            ("partitionKey", item.key),
            ("odd", b"\xff\x00"),
        ]


def test_every_kind_is_listed_shown_and_planned(desk: Desk) -> None:
    """Ours, Dapr's, other tools' and garbage are groups; what can't be re-published is skipped, and the plan says why."""
    dead = kill(desk.server, 400)
    groups = desk.must("dlq", "list", "-o", "json").json()
    counts = {(group["error"], group["consumer"]): 0 for group in groups}
    for group in groups:
        counts[group["error"], group["consumer"]] += group["letters"]
    assert counts == {
        ("InvalidEventError", "recurring"): 100,
        ("ZeroDivisionError", "recurring"): 50,
        ("BrokenException", "billing"): 50,
        ("DataException", "warehouse"): 50,
        ("unknown", "unknown"): 150,
    }
    rows = desk.must("dlq", "list", "--letters", "-n", "1000", "-o", "json").json()
    assert Counter(row["form"] for row in rows) == {
        "todoctl": 150,
        "dapr": 50,
        "spring": 50,
        "connect": 50,
        "foreign": 100,
    }
    for row in {row["form"]: row for row in rows}.values():
        shown = desk.must("dlq", "show", row["letter"])
        assert "\x1b" not in shown.out
    header = desk.plan()
    assert header["counts"] == {"replay": 250, "cover": 0, "park": 0, "skip": 150}
    assert header["because"] == {"no origin": 100, "not whole": 50}
    result = desk.replay()
    assert result.code == 0, result.err
    assert result.json()["replayed"] == 250
    assert_once(desk.server, dead)
    assert desk.pending() == 150
    assert desk.replay().json()["decided_before"] == 250
    assert_once(desk.server, dead)


def test_a_replay_killed_at_random_points_loses_and_doubles_nothing(desk: Desk, pytestconfig: pytest.Config) -> None:
    """5,000 letters of eight kinds, SIGKILL in the middle of it again and again: each is re-published exactly once."""
    dead = kill(desk.server, 5000)
    assert {item.kind for item in dead} == set(KINDS)
    desk.plan()
    chance, kills, inside = random.Random(_SEED), pytestconfig.option.replay_kills, 0
    share = 3000 // kills
    for _ in range(kills):
        # So slowly that the letters last for every kill, however late each one is seen to be due.
        inside += _kill_inside(desk, chance.randint(1, share), batch=max(5, share // 5), rate=3 * share)
    assert inside == kills
    result = desk.replay()
    assert result.code == 0, result.err
    assert result.json()["decided_before"] > 0
    assert_once(desk.server, dead)
    assert desk.pending() == 5000 - sum(item.kind in WITH_ORIGIN for item in dead)


def _kill_inside(desk: Desk, records_later: int, *, batch: int, rate: float) -> bool:
    """Start a replay and kill it when so many records more lie on the broker; whether the kill found it at work.

    Those of open transactions count, so the kill falls inside of one as often as between two.
    """
    wanted = _published(desk.server) + records_later
    process = replayer.start(desk.server.address, desk.folder / "plan.jsonl", batch, rate)
    until(lambda: not process.is_alive() or _published(desk.server) >= wanted, "it publishes something", 120)
    process.kill()
    process.join(60)
    return process.exitcode == -signal.SIGKILL


def test_of_two_operators_one_ends_and_names_the_other(desk: Desk) -> None:
    """The second is refused while the first works; with --take-over the first ends with 8; nothing is published twice."""
    dead = kill(desk.server, 800)
    desk.plan()
    before = _published(desk.server)
    slow = ("dlq", "replay", "--plan", "plan.jsonl", "--yes", "--wait", "0", "--trial", "0", "--rate", "4")
    first = desk.start(*slow)
    until(lambda: _published(desk.server) > before + 10, "the first one works", 120)
    refused = desk.replay()
    assert refused.code == 8, refused.err
    assert f"pid {first.pid}" in refused.err
    second = desk.start(*slow[:-2], "--take-over", "-o", "json")
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    _, told = first.communicate(timeout=120)
    assert first.returncode == 8, told
    assert f"pid {second.pid}" in told
    assert json.loads(out)["decided_before"] > 0
    assert_once(desk.server, dead)


def test_two_operators_at_the_same_moment(desk: Desk) -> None:
    """However they meet, each letter is re-published once, and one of them did it or says that the other does."""
    dead = kill(desk.server, 400)
    desk.plan()
    both = [
        desk.start("dlq", "replay", "--plan", "plan.jsonl", "--yes", "--wait", "0", "--batch", "10", "--take-over")
        for _ in range(2)
    ]
    ends = [(process.communicate(timeout=300)[1], process.returncode) for process in both]
    codes = sorted(code for _, code in ends)
    assert codes in ([0, 0], [0, 8]), ends
    for (err, code), other in zip(ends, reversed(both), strict=True):
        assert code == 0 or f"pid {other.pid}" in err
    assert_once(desk.server, dead)


def test_a_broker_killed_in_the_middle_ends_clearly_and_is_resumed(own_kafka: KafkaServer, tmp_path: Path) -> None:
    """The replay ends with 6 and says how to go on; with the broker back the same command does the rest."""
    make_topics(own_kafka)
    desk = Desk(own_kafka, tmp_path)
    dead = kill(own_kafka, 800)
    desk.plan()
    command = ("dlq", "replay", "--plan", "plan.jsonl", "--yes", "--wait", "0", "-o", "json")
    before = _published(own_kafka)
    process = desk.start(*command, "--rate", "50")
    until(lambda: _published(own_kafka) > before + 60, "it works", 120)
    own_kafka.end(signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 6, err
    assert "run the same command again" in err
    own_kafka.start()
    until(lambda: client.cluster_id(own_kafka.client), "the broker answers", 60)
    result = desk.run(*command)
    assert result.code == 0, result.err
    assert result.json()["decided_before"] > 0
    assert_once(own_kafka, dead)


def test_records_that_the_broker_never_took_leave_their_transaction_unsettled(own_kafka: KafkaServer) -> None:
    """A commit that fails because the broker went away is no refusal: the next holder of the id settles it."""
    make_topics(own_kafka)
    broker = client.Broker(own_kafka.client.settings | {"message.timeout.ms": "1500"})
    with Transactions(broker, "todoctl-test") as transactions:
        transactions.begin()
        own_kafka.end(signal.SIGKILL)
        transactions.send("dlq-events", b"v", b"k")
        with pytest.raises(UnsettledError, match="timed out"):
            transactions.commit()


def test_who_is_fenced_while_sending_hears_it(desk: Desk) -> None:
    """Somebody else takes the id in the middle of a transaction: sending ends with that, not with a refusal."""
    with Transactions(desk.server.client, "todoctl-test") as first:
        first.begin()
        first.send("dlq-events", b"v", b"k")
        some = Sends(["dlq-events"] * 100, [b"v"] * 100, [b"k"] * 100, [-1] * 100, [[]] * 100)
        with Transactions(desk.server.client, "todoctl-test"), pytest.raises(FencedError):
            deque(map(first.send_all, repeat(some)), maxlen=0)
    assert committed(desk.server, "dlq-events") == []


def test_more_records_than_the_queue_takes_wait_for_room(desk: Desk) -> None:
    """All of them are sent once, in their order and with all that they have."""
    broker = client.Broker(desk.server.client.settings | {"queue.buffering.max.messages": "50"})
    numbers = [b"%d" % number for number in range(1000)]
    headers: list[list[tuple[str, bytes | None]]] = [[("n", number), ("none", None)] for number in numbers]
    with Transactions(broker, "todoctl-test") as transactions:
        transactions.begin()
        transactions.send_all(Sends(["dlq-events"] * 1000, [*numbers[:-1], None], [*numbers], [1] * 1000, headers))
        transactions.commit()
    until(lambda: len(committed(desk.server, "dlq-events")) == 1000, "the broker marked the transaction", 60)
    found = [(item.partition, item.key, item.value, item.headers) for item in committed(desk.server, "dlq-events")]
    values = [*numbers[:-1], None]
    assert found == [(1, key, value, tuple(own)) for key, value, own in zip(numbers, values, headers, strict=True)]


def test_no_batch_is_larger_than_a_topic_takes(own_kafka: KafkaServer) -> None:
    """The setting for a topic's messages is one for batches of them: many small records must not be sent as one."""
    topic = own_kafka.topic(max_message_bytes="20000")
    sends = Sends([topic] * 1000, [bytes(500)] * 1000, [None] * 1000, [0] * 1000, [[]] * 1000)
    with Transactions(own_kafka.client, "todoctl-test", batch_bytes=20_000) as transactions:
        transactions.begin()
        transactions.send_all(sends)
        transactions.commit()
    until(lambda: len(committed(own_kafka, topic)) == 1000, "the broker marked the transaction", 60)


def test_a_cluster_that_takes_less_than_the_chart_says_gets_smaller_batches(desk: Desk) -> None:
    """Somebody set a topic's limit lower: its records still go there, and one that doesn't fit is left out of the plan."""
    dead = kill(desk.server, 60, kinds=["dapr", "permanent"])
    large = event(1000, title="x" * 9000)[1]
    producer = Producer(desk.server.librdkafka)
    producer.produce("dlq-events", value=large, headers=[("__topic", b"task-events"), ("__offset", b"0")])
    assert producer.flush(30) == 0
    topics.set_config(desk.server.client, "task-events", {"max.message.bytes": "8000"})
    assert desk.plan()["because"] == {"too large": 1}
    result = desk.replay()
    assert (result.code, result.json()["replayed"] if result.out else 0) == (0, 60), result.err
    assert_once(desk.server, dead)


def test_letters_are_found_in_whatever_order_a_plan_names_them(desk: Desk) -> None:
    """All, with holes, far apart, backwards, twice, two partitions in turn; one that isn't there ends it."""
    producer = Producer(desk.server.librdkafka | {"linger.ms": "20"})
    for number in range(7000):
        producer.produce("dlq-events", b"%d" % number, partition=number % 7 // 6)
        producer.poll(0)
    assert producer.flush(60) == 0
    far = [*range(5), *range(5900, 6000)]
    ways: list[list[tuple[int, int]]] = [
        [*((0, at) for at in range(6000)), *((1, at) for at in range(1000))],
        [(0, at) for at in range(0, 6000, 7)],
        [(0, at) for at in [*far, *far, *reversed(far[-20:])]],
        [(at % 2, at) for at in range(10)],
    ]
    for places in ways:
        assert _found(desk, places) == places
    for gone in ((0, 6000), (7, 1)):
        with pytest.raises(RefusedError, match=f"the letter {gone[0]}/{gone[1]} is gone"):
            _found(desk, [(0, 1), gone])


def _found(desk: Desk, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Where the letters lie that are read for a plan which names these."""
    lines = b"".join(Entry(*place, "d", "park").encode() for place in places)
    parts = with_letters(open_desk(desk.server.client, chart_values(), "dlq-events"), pieces(BytesIO(lines)))
    return [(message.partition(), message.offset()) for part in parts if part for message in part[1]]


def test_a_topic_made_anew_hides_nothing(desk: Desk) -> None:
    """Decisions about letters of the old dlq-events say nothing about those of the new one, and go away."""
    kill(desk.server, 80)
    desk.plan()
    assert desk.replay().code == 0
    assert desk.pending() == 30
    remake(desk.server, "dlq-events")
    stale = desk.replay()
    assert stale.code == 8
    assert "dlq-events was made anew" in stale.err
    dead = kill(desk.server, 80, first=1000)
    assert desk.pending() == 80
    old = {
        record.key: len(decision.offsets) or 1
        for record in committed(desk.server, "dlq-decisions")
        if (decision := read_decision(record.value or b""))
    }
    desk.plan("new.jsonl")
    assert desk.replay("new.jsonl").code == 0
    newest = {record.key: record.value for record in committed(desk.server, "dlq-decisions")}
    assert sum(old.values()) == 50
    assert all(newest[key] is None for key in old)
    assert_once_of(desk.server, dead)


def assert_once_of(server: KafkaServer, dead: Sequence[Dead]) -> None:
    """Of these records each that can be re-published was, once."""
    wanted = {item.event_id for item in dead if item.kind in WITH_ORIGIN}
    marked = [record for record in committed(server) if any(name == MARK for name, _ in record.headers)]
    seen = Counter(json.loads(record.value or b"")["id"] for record in marked)
    assert {event_id: seen[event_id] for event_id in wanted} == dict.fromkeys(wanted, 1)


def test_a_letter_that_comes_back_again_and_again_is_parked(desk: Desk) -> None:
    """Replayed twice and dead again each time, it is parked instead of sent a third time, and a list leaves it out."""
    [letter] = kill(desk.server, 1, kinds=["dapr"])
    for number in range(2):
        desk.plan(f"{number}.jsonl", "--max-returns", "2")
        assert desk.replay(f"{number}.jsonl").json()["replayed"] == 1
        _die_again(desk.server, letter)
    header = desk.plan("last.jsonl", "--max-returns", "2")
    assert header["because"] == {"came back": 1}
    assert desk.replay("last.jsonl").json()["parked"] == 1
    assert desk.must("dlq", "list", "-o", "json").json() == []
    assert desk.must("dlq", "list", "--state", "parked", "-o", "json").json()[0]["letters"] == 1


def _die_again(server: KafkaServer, letter: Dead) -> None:
    """What Dapr does with the newest record: the same record on dlq-events, with its place in headers."""
    record = max(committed(server), key=lambda record: record.timestamp_ms)
    place = {"__topic": b"task-events", "__partition": str(record.partition), "__offset": str(record.offset)}
    producer = Producer(server.librdkafka)
    producer.produce("dlq-events", key=letter.key, value=record.value, headers=[*record.headers, *place.items()])
    assert producer.flush(30) == 0


def test_a_plan_that_was_changed_is_refused_until_somebody_accepts_it(desk: Desk) -> None:
    """A line cut from the plan is noticed; accepted, the letter of that line stays pending and the others are sent."""
    kill(desk.server, 40, kinds=["permanent"])
    desk.plan()
    path = desk.folder / "plan.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], *lines[6:]]))
    refused = desk.replay()
    assert refused.code == 8
    assert "was changed" in refused.err
    assert desk.pending() == 40
    assert desk.replay("plan.jsonl", "--accept-changes").json()["replayed"] == 39
    assert desk.pending() == 1


def test_a_letter_that_is_not_the_reviewed_one_stops_the_replay(desk: Desk) -> None:
    """A digest that doesn't fit the letter ends with 8, and nothing of its transaction is seen."""
    kill(desk.server, 5, kinds=["permanent"])
    desk.plan()
    path = desk.folder / "plan.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1]["digest"] = "0" * 64
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = desk.replay("plan.jsonl", "--accept-changes")
    assert refused.code == 8
    assert "not the one that was reviewed" in refused.err
    assert desk.pending() == 5


def test_what_is_sent_already_is_not_seen_when_a_later_letter_is_refused(desk: Desk) -> None:
    """The last of 1,200 letters isn't the reviewed one: nothing of the transaction is seen, and all stay pending."""
    dead = kill(desk.server, 1200, kinds=["permanent", "dapr"])
    desk.plan()
    path = desk.folder / "plan.jsonl"
    reviewed, before = path.read_bytes(), _published(desk.server)
    lines = [json.loads(line) for line in reviewed.splitlines()]
    lines[-1]["digest"] = "0" * 64
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    refused = desk.replay("plan.jsonl", "--accept-changes", "--trial", "0")
    assert refused.code == 8
    assert "not the one that was reviewed" in refused.err
    assert desk.pending() == 1200
    assert not [record for record in committed(desk.server) if any(name == MARK for name, _ in record.headers)]
    assert _published(desk.server) >= before
    path.write_bytes(reviewed)
    assert desk.replay().json()["replayed"] == 1200
    assert_once(desk.server, dead)


def test_a_plan_in_another_order_with_a_line_twice_sends_each_letter_once(desk: Desk) -> None:
    """Lines shuffled, cut and doubled by hand, and accepted: what is left is re-published once."""
    dead = kill(desk.server, 300, kinds=["permanent", "dapr"])
    desk.plan()
    path = desk.folder / "plan.jsonl"
    header, *lines = path.read_bytes().splitlines(keepends=True)
    random.Random(_SEED).shuffle(lines)
    path.write_bytes(b"".join([header, *lines, *lines[:20]]))
    result = desk.replay("plan.jsonl", "--accept-changes", "--batch", "70")
    assert result.code == 0, result.err
    assert (result.json()["replayed"], result.json()["decided_before"]) == (300, 20)
    assert_once(desk.server, dead)
    assert desk.pending() == 0


def test_letters_that_are_gone_refuse_the_plan(desk: Desk) -> None:
    """Retention took letters of the plan away meanwhile: it no longer fits."""
    kill(desk.server, 30, kinds=["permanent"])
    desk.plan()
    ends = {place: end for place, (_, end) in records.watermarks(desk.server.client, ["dlq-events"]).items()}
    topics.delete_before(desk.server.client, ends)
    refused = desk.replay()
    assert refused.code == 8
    assert "is gone" in refused.err


def test_edits_are_checked_and_shown(desk: Desk) -> None:
    """A jq expression that fits is sent as reviewed; one that doesn't fit, or makes another event, is skipped."""
    dead = kill(desk.server, 3, kinds=["permanent"])
    bad = desk.plan("bad.jsonl", "--jq", "del(.data.payload)")
    other = desk.plan("other.jsonl", "--jq", '.data.event_id = "00000000-0000-0000-0000-000000000000"')
    assert bad["because"] == other["because"] == {"edit refused": 3}
    planned = desk.must("dlq", "plan", "--out", "good.jsonl", "--jq", '.data.payload.task.title = "Read"', "-o", "json")
    assert (
        '+        "title": "Read"' in planned.err.replace("►  ", "► ").replace("► +", "+")
        or '"title": "Read"' in planned.err
    )
    assert desk.replay("good.jsonl").json()["replayed"] == 3
    values = [record.value for record in committed(desk.server) if any(name == MARK for name, _ in record.headers)]
    assert {json.loads(value or b"")["data"]["payload"]["task"]["title"] for value in values} == {"Read"}
    assert {json.loads(value or b"")["id"] for value in values} == {item.event_id for item in dead}


def test_two_consumers_letters_of_one_record_send_it_once(desk: Desk) -> None:
    """A record that two consumers refused has two letters; one replay covers both."""
    [letter] = kill(desk.server, 1, kinds=["unknown"])
    content = json.loads(letter.letter_value or b"")
    content["data"] |= {"consumer": "audit", "letter_id": "00000000-0000-4000-8000-000000000001"}
    producer = Producer(desk.server.librdkafka)
    producer.produce("dlq-events", key=letter.key, value=json.dumps(content).encode())
    assert producer.flush(30) == 0
    header = desk.plan()
    assert (header["counts"]["replay"], header["counts"]["cover"]) == (1, 1)
    assert desk.replay().json()["covered"] == 1
    assert_once(desk.server, [letter])
    assert desk.pending() == 0


def test_park_and_purge(desk: Desk) -> None:
    """Parked letters wait aside; purged ones are archived with all their bytes and gone from every list."""
    dead = kill(desk.server, 80)
    assert desk.run("dlq", "purge", "--yes").code == 2
    assert desk.run("dlq", "park", "--where", "form=foreign").code == 8
    assert desk.must("dlq", "park", "--where", "form=foreign", "--yes", "-o", "json").json() == {"parked": 20}
    assert desk.pending() == 60
    purged = desk.must(
        "dlq", "purge", "-w", "error=*", "--state", "pending,parked", "--archive", "a.gz", "--yes", "-o", "json"
    )
    assert purged.json()["purged"] == 80
    with gzip.open(desk.folder / "a.gz") as stream:
        kept = [json.loads(line) for line in stream]
    values = Counter(base64.b64decode(line["value"]) if line["value"] else None for line in kept)
    assert values == Counter(item.letter_value for item in dead)
    assert desk.must("dlq", "list", "--state", "all", "-o", "json").json() == []
    ranges = records.watermarks(desk.server.client, ["dlq-events"])
    assert all(start == end for start, end in ranges.values())
    newest = {record.key: record.value for record in committed(desk.server, "dlq-decisions")}
    assert all(value is None for key, value in newest.items() if b"/" in (key or b""))


def test_a_purge_that_is_killed_leaves_whole_archives(desk: Desk) -> None:
    """Each archive that is there is whole and no letter is in none; the same command goes on, by the same name."""
    dead = kill(desk.server, 4000)
    purge = ["dlq", "purge", "-w", "error=*", "--state", "pending,parked", "--yes", "--archive"]
    partial = desk.folder / ".a.gz.partial"
    for number in range(4):
        partial.unlink(missing_ok=True)
        with desk.start(*purge, "a.gz") as process:
            until(lambda: partial.exists() or process.poll() is not None, "the archive begins", 60)
            time.sleep(0.05 * number)  # at four moments
            process.kill()
        if (whole := desk.folder / "a.gz").exists():
            whole.rename(desk.folder / f"whole-{number}.gz")
    assert desk.run(*purge, "a.gz").code == 0
    kept: set[tuple[int, int]] = set()
    for path in desk.folder.glob("*.gz"):
        with gzip.open(path) as stream:
            kept |= {(line["partition"], line["offset"]) for line in map(json.loads, stream)}
    assert len(kept) == len(dead)
    assert desk.must("dlq", "list", "--state", "all", "-o", "json").json() == []


def test_topics_of_others_are_refused(desk: Desk) -> None:
    """A topic that the platform doesn't own is neither read as letters nor written to."""
    admin = client.administrator(desk.server.client)
    for future in admin.create_topics([client.api().NewTopic("billing", 1, 1)]).values():
        future.result(30)
    assert desk.run("dlq", "list", "--topic", "billing").code == 8
    [letter] = kill(desk.server, 1, kinds=["spring"])
    producer = Producer(desk.server.librdkafka)
    headers = [("kafka_dlt-original-topic", b"billing"), ("kafka_dlt-original-partition", bytes(4))]
    producer.produce("dlq-events", value=letter.value, headers=headers)
    assert producer.flush(30) == 0
    assert desk.plan()["because"] == {"not ours": 1}


def _published(server: KafkaServer) -> int:
    """How many records the topics of events ever got, those of open transactions included."""
    consumer, ends = Consumer(server.librdkafka | {"group.id": "test"}), 0
    try:
        for name in ("task-events", "reminders", "task-updates"):
            for partition in consumer.list_topics(name, timeout=30).topics[name].partitions:
                ends += int(consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=30)[1])
    finally:
        consumer.close()
    return ends
