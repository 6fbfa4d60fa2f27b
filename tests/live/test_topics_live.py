"""`todoctl topics` and `todoctl groups` on a real broker: lag, gates, moving groups, appending, agreeing with the chart."""

from __future__ import annotations

import getpass
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.live.broker import KafkaServer, kafka_server
from tests.live.kafka_program import for_server
from tests.program import Ended, Program, until
from todoctl.adapters.kafka import groups, topics
from todoctl.adapters.kafka.client import administrator
from todoctl.core.positions import Position
from todoctl.errors import RefusedError
from todoctl.operations.kafka import reset
from todoctl.operations.kafka.produce import OPERATOR_HEADER

EVENT: dict[str, Any] = {
    "event_type": "task.created",
    "user_id": 7,
    "task_id": 3,
    "user_seq": 1,
    "version": 1,
    "occurred_at": "2026-11-25T10:00:00Z",
    "correlation_id": "c-1",
    "payload": {
        "task": {
            "id": 3,
            "user_id": 7,
            "title": "t",
            "status": "open",
            "version": 1,
            "created_at": "2026-11-25T10:00:00Z",
            "updated_at": "2026-11-25T10:00:00Z",
        }
    },
}


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker of this module's own, with the chart's topics made by `topics apply`."""
    with kafka_server() as server:
        assert for_server(tmp_path_factory.mktemp("agreed"), server).inside("topics", "apply").code == 0
        yield server


@pytest.fixture
def todoctl(tmp_path: Path, agreed: KafkaServer) -> Program:
    """The program; the chart's topics are there."""
    return for_server(tmp_path, agreed)


def lines(ended: Ended) -> list[dict[str, Any]]:
    """The rows of a command's JSON lines."""
    return [json.loads(line) for line in ended.out.splitlines()]


@contextmanager
def member(server: KafkaServer, group: str, topic: str, *, read: int) -> Iterator[Consumer]:
    """A connected member that has read so many records and committed."""
    consumer = Consumer(
        {
            **server.librdkafka,
            "group.id": group,
            "client.id": "test-member",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "session.timeout.ms": 6000,
        }
    )
    consumer.subscribe([topic])
    try:
        for _ in range(read):
            until(lambda: consumer.poll(0.2), "a record", 60)
        if read:
            consumer.commit(asynchronous=False)
        else:
            until(lambda: consumer.poll(0.1) or consumer.assignment(), "an assignment", 60)
        yield consumer
    finally:
        consumer.close()


def append(server: KafkaServer, topic: str, count: int, *, at: int = 0) -> None:
    """`count` records on partition 0, all of the same time."""
    producer = Producer(server.librdkafka)
    for _ in range(count):
        producer.produce(topic, value=b"x", partition=0, timestamp=at)
    assert producer.flush(20) == 0


def test_lag_in_messages_and_seconds(agreed: KafkaServer, todoctl: Program) -> None:
    """What is unread, and how old the oldest of it is."""
    topic = agreed.topic("lagging")
    append(agreed, topic, 5, at=round(time.time() * 1000) - 60_000)
    with member(agreed, f"g-{topic}", topic, read=2):
        (row,) = lines(todoctl.inside("topics", "lag", topic, "-o", "jsonl"))
        assert (row["group"], row["committed"], row["end"], row["messages"], row["problem"]) == (
            f"g-{topic}",
            2,
            5,
            3,
            "",
        )
        assert 60 <= row["seconds"] < 300
        assert todoctl.inside("topics", "lag", topic, "--max", "3").code == 0
        assert todoctl.inside("topics", "lag", topic, "--max", "2").code == 3
        assert todoctl.inside("topics", "lag", topic, "--max", "59s").code == 3
        assert todoctl.inside("topics", "lag", topic, "--max", "2", "--wait", "1s").code == 7


def test_a_group_that_catches_up_opens_the_gate(agreed: KafkaServer, todoctl: Program) -> None:
    """The gate waits for the observed lag and passes as soon as it is low enough; markers are no lag."""
    topic = agreed.topic("gated")
    producer = Producer({**agreed.librdkafka, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, value=b"1", partition=0)
    producer.commit_transaction(20)
    with member(agreed, f"g-{topic}", topic, read=1):
        ended = todoctl.inside("topics", "lag", topic, "--max", "0", "--wait", "60s", "-o", "jsonl")
        assert (ended.code, [row["messages"] for row in lines(ended)]) == (0, [0])


def test_a_group_without_members_is_never_zero(agreed: KafkaServer, todoctl: Program) -> None:
    """It committed everything and left: nobody would read what comes."""
    topic = agreed.topic("left")
    append(agreed, topic, 1)
    with member(agreed, f"g-{topic}", topic, read=1):
        pass
    ended = todoctl.inside("topics", "lag", topic, "--max", "1000", "-o", "jsonl")
    (row,) = lines(ended)
    assert (ended.code, row["messages"], row["problem"]) == (3, None, "no member is connected")


def test_a_group_without_commits_and_an_unknown_one_are_never_zero(agreed: KafkaServer, todoctl: Program) -> None:
    """Both have no number and keep no limit; nor is a topic that nobody reads within one."""
    topic = agreed.topic("fresh")
    append(agreed, topic, 2)
    with member(agreed, f"g-{topic}", topic, read=0):
        ended = todoctl.inside("topics", "lag", topic, "--group", f"g-{topic}", "--max", "9", "-o", "jsonl")
        assert (ended.code, [row["messages"] for row in lines(ended)]) == (3, [None])
        assert "never committed; 2 records are there" in ended.err
    ended = todoctl.inside("topics", "lag", "--group", "nobody", "--max", "9", "-o", "jsonl")
    assert (ended.code, lines(ended)[0]["problem"]) == (3, "the broker knows no such group")
    assert todoctl.inside("topics", "lag", agreed.topic("unread"), "--max", "9").code == 3


def test_a_group_is_moved_when_nobody_reads(agreed: KafkaServer, todoctl: Program) -> None:
    """The plan is shown and waits for agreement; then the group reads on from there."""
    topic, other = agreed.topic("moved", count=2), agreed.topic("other")
    name = f"g-{topic}"
    append(agreed, topic, 5)
    with member(agreed, name, topic, read=5):
        busy = todoctl.inside("groups", "reset", name, "--topic", topic, "--to", "beginning", "--yes")
        assert (busy.code, "test-member at 127.0.0.1" in busy.err, busy.out) == (8, True, "")
    reset = ["groups", "reset", name, "--topic", topic]
    planned = todoctl.inside(*reset, "--to", "beginning", "-p", "0")
    assert (planned.code, "reads 5 records again" in planned.out) == (8, True)
    assert groups.committed(agreed.client, name, [(topic, 0)]) == {(topic, 0): 5}
    assert todoctl.inside(*reset, "--to", "beginning", "-p", "0", "--yes").code == 0
    assert groups.committed(agreed.client, name, [(topic, 0)]) == {(topic, 0): 0}
    assert todoctl.inside(*reset, "--to", "3", "-p", "0", "--yes").code == 0
    assert todoctl.inside(*reset, "--to", "1h", "-p", "0", "--yes").code == 0
    assert groups.committed(agreed.client, name, [(topic, 0)]) == {(topic, 0): 0}
    assert "is there already" in todoctl.inside(*reset, "--to", "beginning", "-p", "0", "--yes").err
    assert todoctl.inside("groups", "reset", "nobody", "--topic", other, "--to", "end", "--yes").code == 1


def test_a_group_that_moved_since_its_plan_is_left_alone(agreed: KafkaServer, todoctl: Program) -> None:
    """What was agreed to was said of where the group stood: commits of a consumer that came and went refuse it."""
    topic = agreed.topic("moving", count=2)
    name = f"g-{topic}"
    append(agreed, topic, 5)
    groups.commit(agreed.client, name, {(topic, 0): 5, (topic, 1): 0})
    with todoctl.asked("groups", "reset", name, "--topic", topic, "--to", "beginning") as (process, agree):
        groups.commit(agreed.client, name, {(topic, 0): 3})
        agree()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, "reads 5 records again" in out) == (8, True), err
    assert f"{topic}/0: at 5 in the plan, at 3 now" in err
    assert f"{topic}/1" not in err
    assert groups.committed(agreed.client, name, [(topic, 0), (topic, 1)]) == {(topic, 0): 3, (topic, 1): 0}


def test_a_member_that_joined_since_the_plan_is_named(agreed: KafkaServer, todoctl: Program) -> None:
    """Also one that has committed nothing yet."""
    topic = agreed.topic("joined")
    name = f"g-{topic}"
    append(agreed, topic, 5)
    groups.commit(agreed.client, name, {(topic, 0): 5})
    reset = ("groups", "reset", name, "--topic", topic, "--to", "beginning")
    with todoctl.asked(*reset) as (process, agree), member(agreed, name, topic, read=0):
        agree()
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "test-member at 127.0.0.1" in err) == (8, True), err
    assert groups.committed(agreed.client, name, [(topic, 0)]) == {(topic, 0): 5}


def test_a_topic_that_was_made_anew_since_the_plan_is_not_taken_for_the_old_one(agreed: KafkaServer) -> None:
    """The group never committed on either, and the offset of the plan is behind the end of the new one."""
    topic, name = agreed.topic("remade"), "g-remade"
    groups.commit(agreed.client, name, {(agreed.topic("other"), 0): 0})
    append(agreed, topic, 5)
    moves = reset.plan(agreed.client, name, [topic], Position("end", 0))
    admin = administrator(agreed.client)
    for future in admin.delete_topics([topic], operation_timeout=30).values():
        future.result(60)
    until(lambda: not topics.ids(agreed.client, [topic]), f"{topic} is gone", 60)
    topics.create(agreed.client, [topics.TopicSpec(topic, 1, 1, {})])
    until(lambda: topics.ids(agreed.client, [topic]), f"{topic} is there", 60)
    with pytest.raises(RefusedError, match="no longer fits") as refused:
        reset.execute(agreed.client, name, moves)
    assert refused.value.detail == (f"{topic}/0: was to 5, and has the offsets 0 to 0 now",)
    assert groups.committed(agreed.client, name, [(topic, 0)]) == {(topic, 0): None}


def test_the_broker_itself_refuses_a_move_under_a_member(agreed: KafkaServer) -> None:
    """A member that connects between the plan and the commit is safe, too."""
    topic = agreed.topic("raced")
    append(agreed, topic, 1)
    with member(agreed, f"g-{topic}", topic, read=1), pytest.raises(RefusedError, match=r"members of .* are connected"):
        groups.commit(agreed.client, f"g-{topic}", {(topic, 0): 0})


def test_groups_are_listed_and_described(agreed: KafkaServer, todoctl: Program) -> None:
    """Members with what they hold, commits and lag."""
    topic = agreed.topic("seen")
    append(agreed, topic, 2)
    with member(agreed, f"g-{topic}", topic, read=1):
        listed = {row["name"]: row for row in lines(todoctl.inside("groups", "list", "-o", "jsonl"))}
        assert listed[f"g-{topic}"] == {
            "name": f"g-{topic}",
            "state": "Stable",
            "members": 1,
            "holds": {topic: [0]},
        }
        found = todoctl.inside("groups", "describe", f"g-{topic}", "-o", "json").json()
        assert found["members"] == [{"client": "test-member", "host": "127.0.0.1", "holds": {topic: [0]}}]
        assert [row["messages"] for row in found["lag"]] == [1]
    assert todoctl.inside("groups", "describe", "nobody").code == 1


def test_topics_agree_with_the_chart(agreed: KafkaServer, todoctl: Program) -> None:
    """What loses nothing is done, what may waits for --yes, what can't be is said; --check changes nothing."""
    assert todoctl.inside("topics", "apply", "--check").code == 0
    topics.set_config(agreed.client, "reminders", {"retention.ms": "1000", "max.message.bytes": "9999999"})
    topics.add_partitions(agreed.client, "task-updates", 7)
    checked = todoctl.inside("topics", "apply", "--check", "-o", "json")
    verdicts = {(one["topic"], one["setting"]): one["verdict"] for one in checked.json()}
    assert (checked.code, verdicts) == (
        4,
        {
            ("reminders", "retention.ms"): "safe",
            ("reminders", "max.message.bytes"): "risky",
            ("task-updates", "partitions"): "impossible",
        },
    )
    done = todoctl.inside("topics", "apply")
    assert (done.code, "reminders: retention.ms 1000 → 604800000" in done.err) == (4, True)
    agreed_to = todoctl.inside("topics", "apply", "--yes")
    assert (agreed_to.code, "1 differences are left" in agreed_to.err) == (4, True)
    spec = topics.specs(agreed.client, ["reminders", "task-updates"])
    assert spec["reminders"].config["max.message.bytes"] == "1048576"
    assert spec["task-updates"].partitions == 7
    listed = {row["name"]: row["chart"] for row in lines(todoctl.inside("topics", "list", "-o", "jsonl"))}
    assert (listed["task-updates"], listed["reminders"]) == ("differs", "agrees")


def test_a_topic_is_described(agreed: KafkaServer, todoctl: Program) -> None:
    """Partitions with leader, replicas and offsets, and its own settings."""
    topic = agreed.topic("described", count=2, retention_ms="5000000")
    append(agreed, topic, 3)
    found = todoctl.inside("topics", "describe", topic, "-o", "json").json()
    first = {"number": 0, "leader": 1, "replicas": [1], "in_sync": [1], "start": 0, "end": 3}
    assert (found["partitions"][0], found["config"]) == (first, {"retention.ms": "5000000"})


def test_an_event_is_appended_as_the_services_do_it(agreed: KafkaServer, todoctl: Program) -> None:
    """Its envelope, its user's key, the partition that Dapr's client gives that key, and the operator's mark."""
    path = todoctl.folder / "events.jsonl"
    path.write_text("".join(json.dumps(EVENT | {"user_id": user}) + "\n" for user in (7, 8, 42)))
    rows = lines(todoctl.inside("topics", "produce", "task-events", str(path), "-o", "jsonl"))
    assert [(row["key"], row["partition"]) for row in rows] == [(key, _sarama(key, 6)) for key in ("7", "8", "42")]
    ended = todoctl.inside("topics", "tail", "task-events", "-n", "3", "-o", "jsonl", "--header", OPERATOR_HEADER)
    found = lines(ended)
    assert [one["value"]["data"]["user_id"] for one in found] == [7, 8, 42]
    assert {one["value"]["source"] for one in found} == {"/todoctl/operator"}


def _sarama(key: str, partitions: int) -> int:
    """Where Dapr's Kafka client puts a key: FNV-1a of 32 bits as a signed number, its remainder without the sign."""
    number = 0x811C9DC5
    for byte in key.encode():
        number = (number ^ byte) * 0x01000193 & 0xFFFFFFFF
    signed = number - 2**32 if number >= 2**31 else number
    return abs(signed) % partitions


@pytest.mark.parametrize(
    ("topic", "text", "said"),
    [
        ("task-events", "not json\n", "line 2: it is no event of task-events"),
        ("task-events", "[]\n", "line 2: it is no event of task-events: it is no JSON object"),
        ("task-events", '{"event_type":"task.created"}\n', "user_id: Field required"),
        ("task-events", json.dumps(EVENT | {"schema_version": "9.0"}) + "\n", "schema_version '9.0'"),
        ("reminders", "", "line 1: it does not fit the schema of reminders"),
        ("dlq-events", "", "dlq-events has no event schema to check against"),
    ],
    ids=str,
)
def test_one_bad_event_and_nothing_is_appended(
    agreed: KafkaServer, todoctl: Program, topic: str, text: str, said: str
) -> None:
    """Exit 2, the place in the input, and the topic as it was."""
    from todoctl.adapters.kafka import records

    before = records.end_offsets(agreed.client, topic)
    path = todoctl.folder / "events.jsonl"
    path.write_text(json.dumps(EVENT) + "\n" + text)
    ended = todoctl.inside("topics", "produce", topic, str(path))
    assert (ended.code, said in ended.err) == (2, True), ended.err
    assert records.end_offsets(agreed.client, topic) == before


def test_anything_is_appended_raw(agreed: KafkaServer, todoctl: Program) -> None:
    """Lines or a whole input with its bytes, headers, a key, a partition, and a tombstone."""
    topic = agreed.topic("raw", count=2)
    path = todoctl.folder / "bytes"
    path.write_bytes(b"\xff\x00\n\nsecond")
    where = ["topics", "produce", topic, "--raw", "-p", "1", "--key", "k"]
    assert todoctl.inside(*where, str(path)).code == 0
    assert todoctl.inside(*where, "--whole", str(path), "--header", "a=1").code == 0
    assert todoctl.inside(*where, "--tombstone").code == 0
    consumer = Consumer({**agreed.librdkafka, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 1, 0)])
    found: list[Any] = []
    until(lambda: found.extend(consumer.consume(4, 0.5)) or len(found) == 4, "four records", 30)
    consumer.close()
    assert [one.value() for one in found] == [b"\xff\x00", b"second", b"\xff\x00\n\nsecond", None]
    assert {one.key() for one in found} == {b"k"}
    assert [name for name, _ in found[2].headers()] == [OPERATOR_HEADER, "a"]


def test_no_batch_is_larger_than_the_topic_takes(agreed: KafkaServer, todoctl: Program) -> None:
    """Its setting is one for batches: many small records, and one that just fits behind others, go in several."""
    topic = agreed.topic(max_message_bytes="20000")
    largest = "x" * (20_000 - 61 - 30 - len(f"{OPERATOR_HEADER}{getpass.getuser()}@{socket.gethostname()}"))
    todoctl.work.mkdir()
    (todoctl.work / "alone").write_text(largest)
    (todoctl.work / "all").write_text("\n".join(["y" * 500] * 200 + [largest, "z", largest]))
    for name, count in (("alone", 1), ("all", 203)):
        appended = todoctl.run("topics", "produce", topic, "--raw", name, "-o", "json")
        assert (appended.code, len(appended.json() if appended.out else [])) == (0, count), appended.err


def test_events_come_through_a_pipe(agreed: KafkaServer, todoctl: Program) -> None:
    """Standard input is read where no file is named; --check appends nothing."""
    path = todoctl.folder / "one.json"
    path.write_text(json.dumps(EVENT))
    with path.open() as stream:
        ended = todoctl.run("topics", "produce", "task-events", "--check", stdin=stream)
    assert (ended.code, ended.out, "1 records fit task-events" in ended.err) == (0, "", True)
