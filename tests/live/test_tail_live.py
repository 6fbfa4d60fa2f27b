"""`todoctl topics tail` on a real broker, as its user runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.live.broker import KafkaServer
from tests.live.kafka_program import for_server, program
from tests.program import Program, until
from todoctl.adapters.kafka import client, topics

SECOND = 1_000


@pytest.fixture
def todoctl(tmp_path: Path, kafka: KafkaServer) -> Program:
    """The program with an environment whose broker is the shared one."""
    return for_server(tmp_path, kafka)


def put(server: KafkaServer, topic: str, *records: dict[str, Any]) -> None:
    """Records one after the other, each where it says."""
    producer = Producer({**server.librdkafka, "message.max.bytes": 11 * 2**20})
    for record in records:
        producer.produce(topic, **{"partition": 0, **record})
        assert producer.flush(20) == 0


def numbered(server: KafkaServer, topic: str, count: int, partitions: int) -> None:
    """`count` records a second apart, spread over the partitions; their values are their numbers."""
    producer = Producer(server.librdkafka)
    for number in range(count):
        at = 1_700_000_000_000 + number * SECOND
        producer.produce(
            topic, value=b"%d" % number, key=b"k%d" % (number % 3), partition=number % partitions, timestamp=at
        )
    assert producer.flush(20) == 0


def token(err: str) -> str:
    """The token that a reading printed."""
    found = re.search(r"--resume '([^']+)'", err)
    assert found, err
    return found[1]


def test_raw_is_exact_and_a_table_steers_no_terminal(kafka: KafkaServer, todoctl: Program) -> None:
    """The same poison: its own bytes in raw, made visible in a table, escaped in JSON."""
    topic = kafka.topic()
    poison = b"\x1b]0;owned\x07\x1b[2J\xff\xe2\x80\xae\r\n\x9b31m"
    put(kafka, topic, {"key": b"\x1b[31mkey", "value": poison, "headers": [("h\x1b[0m", b"\x1b")]}, {"value": None})
    with todoctl.start("topics", "tail", topic, "-o", "raw", text=False) as process:
        assert process.communicate(timeout=120)[0] == poison + b"\n\n"
    table = todoctl.inside("topics", "tail", topic).out
    assert "\\x1b[31mkey" in table
    assert "(tombstone)" in table
    rows = todoctl.inside("topics", "tail", topic, "-o", "json")
    assert [row["key"] for row in rows.json()] == ["\x1b[31mkey", None]
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", table + rows.out)


def test_an_outside_broker_is_read_without_the_rest_of_the_platform(kafka: KafkaServer, todoctl: Program) -> None:
    """Who names the broker in todoctl.toml waits for neither the chart nor Kubernetes: half of the start would be that."""
    topic = kafka.topic()
    put(kafka, topic, {"value": b"v"})
    code = """
import sys
from todoctl.__main__ import main
try:
    main()
finally:
    heavy = {"rich", "yaml", "httpx", "kubernetes", "todoctl.core.values", "todoctl.operations.kubernetes"}
    sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
"""
    ended = todoctl.run_python(code, "topics", "tail", topic, "-o", "raw")
    assert (ended.code, ended.out) == (0, "v\n"), ended
    assert ended.err.endswith("'\n"), ended.err


def test_topics_are_merged_by_time(kafka: KafkaServer, todoctl: Program) -> None:
    """Records of two topics and all their partitions come in the order of their times."""
    one, two = kafka.topic("one", count=3), kafka.topic("two", count=2)
    numbered(kafka, one, 60, 3)
    numbered(kafka, two, 60, 2)
    ended = todoctl.inside("topics", "tail", one, two, "--until", "end", "-o", "jsonl")
    times = [json.loads(line)["timestamp_ms"] for line in ended.out.splitlines()]
    assert len(times) == 120
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ([], range(20, 30)),
        (["-n", "3"], range(27, 30)),
        (["-n", "0"], ()),
        (["-n", "2", "--key", "k1"], (25, 28)),
        (["--from", "beginning"], range(30)),
        (["--from", "end"], ()),
        (["--from", "9"], (27, 28, 29)),
        (["--from", "8", "--to", "9"], (24, 25, 26)),
        (["--to", "1"], range(3)),
        (["--from", "2023-11-14T22:13:45Z", "--to", "2023-11-14T22:13:47Z"], (25, 26)),
        (["--from", "1h"], ()),
        (["--from", "36500d", "--limit", "4"], range(4)),
        (["--from", "beginning", "-p", "2"], range(2, 30, 3)),
        (["--from", "beginning", "--text", "7"], (7, 17, 27)),
    ],
    ids=str,
)
def test_where_a_reading_begins_and_ends(
    thirty: tuple[str, Program], options: list[str], numbers: range | tuple[int, ...]
) -> None:
    """Beginning, end, offsets, times, durations, the last few, and a number of records."""
    topic, todoctl = thirty
    ended = todoctl.inside("topics", "tail", topic, "--format", r"%s\n", *options)
    assert (ended.code, [int(line) for line in ended.out.split()]) == (0, list(numbers)), ended.err


@pytest.fixture(scope="module")
def thirty(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Program]:
    """Thirty records a second apart on three partitions, and the program to read them."""
    topic = kafka.topic(count=3)
    numbered(kafka, topic, 30, 3)
    return topic, for_server(tmp_path_factory.mktemp("thirty"), kafka)


def test_the_last_few_are_found_however_far_back(kafka: KafkaServer, todoctl: Program) -> None:
    """A filter that nothing of the newest thousands passes looks further back."""
    topic = kafka.topic(count=2)
    put(kafka, topic, {"key": b"rare", "value": b"1"}, {"key": b"rare", "value": b"2", "partition": 1})
    numbered(kafka, topic, 5_000, 2)
    ended = todoctl.inside("topics", "tail", topic, "-n", "5", "--key", "rare", "--format", r"%s\n")
    assert sorted(ended.out.split()) == ["1", "2"]


def test_a_reading_goes_on_where_it_ended(thirty: tuple[str, Program]) -> None:
    """Read in pieces, each record comes once, whatever the pieces are."""
    topic, todoctl = thirty
    found: list[int] = []
    where = ["--from", "beginning"]
    for _ in range(6):
        ended = todoctl.inside("topics", "tail", topic, "--format", r"%s\n", "--limit", "7", *where)
        found += [int(line) for line in ended.out.split()]
        where = ["--resume", token(ended.err)]
    assert found == list(range(30))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--resume", "x"], "--resume: it is not what an earlier reading printed"),
        (["--resume", "other@0:1#c"], "the token is of other, too"),
        (["--from", "soon"], "--from: 'soon' is no place in a topic"),
        (["--from", "1", "-n", "1"], "--from and -n both say where to begin"),
        (["-f", "--to", "end"], "-f has no end"),
        (["-f", "-o", "json"], "-o json is one array"),
        (["--json", "$.["], "is not a JSON path"),
        (["--format", "%x"], "--format: '%x' is not one of"),
        (["-p", "9"], "there is no partition 9"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(thirty: tuple[str, Program], options: list[str], said: str) -> None:
    """Exit 2 with the reason, and nothing on stdout."""
    topic, todoctl = thirty
    ended = todoctl.inside("topics", "tail", topic, *options)
    assert (ended.code, said in ended.err, ended.out) == (2, True, ""), ended


def test_a_token_of_another_cluster_is_refused(thirty: tuple[str, Program]) -> None:
    """The same offsets mean something else there."""
    topic, todoctl = thirty
    ended = todoctl.inside("topics", "tail", topic, "--resume", f"{topic}@0:1#elsewhere")
    assert (ended.code, "the token is of the cluster elsewhere" in ended.err) == (2, True)


def test_an_interrupted_reading_says_how_to_go_on(kafka: KafkaServer, todoctl: Program) -> None:
    """Ctrl-C ends with 130 after the token, and what it printed is exactly what the token leaves out."""
    topic = kafka.topic()
    put(kafka, topic, {"value": b"1"})
    process = todoctl.start("topics", "tail", topic, "-f", "--from", "beginning", "-o", "raw")
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    put(kafka, topic, {"value": b"2"})
    assert process.stdout.readline() == "2\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    put(kafka, topic, {"value": b"3"})
    assert todoctl.inside("topics", "tail", topic, "--format", "%s", "--resume", token(err)).out == "3"


def test_a_reader_that_goes_away_is_no_failure(kafka: KafkaServer, todoctl: Program) -> None:
    """`| head` ends the reading with 0 and without a word."""
    topic = kafka.topic()
    numbered(kafka, topic, 20_000, 1)
    process = todoctl.start("topics", "tail", topic, "--from", "beginning", "-o", "jsonl")
    head = subprocess.run(["head", "-n", "1"], stdin=process.stdout, stdout=subprocess.PIPE, check=True)
    assert process.stdout is not None
    process.stdout.close()
    assert json.loads(head.stdout)["offset"] == 0
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_ten_megabytes_pass(kafka: KafkaServer, todoctl: Program) -> None:
    """Exact in raw, cut in a table."""
    topic = kafka.topic(max_message_bytes=str(11 * 2**20))
    value = bytes(range(1, 256)).replace(b"\n", b"") * (40 * 1024)
    put(kafka, topic, {"value": value})
    with todoctl.start("topics", "tail", topic, "-o", "raw", text=False) as process:
        assert process.communicate(timeout=120)[0] == value + b"\n"
    assert len(todoctl.inside("topics", "tail", topic).out) < 20_000


def test_what_is_not_there_is_said(todoctl: Program) -> None:
    """A topic that the cluster doesn't have."""
    ended = todoctl.inside("topics", "tail", "nowhere")
    assert (ended.code, "there is no topic 'nowhere'" in ended.err, ended.out) == (1, True, "")


def test_an_unreachable_broker_ends_soon_and_is_named(tmp_path: Path) -> None:
    """Nobody listens there: exit 3, with the address."""
    ended = program(tmp_path, "127.0.0.1:1").inside("topics", "tail", "any")
    assert (ended.code, "127.0.0.1:1" in ended.err) == (3, True), ended.err


def test_a_broker_that_dies_while_followed_ends_the_reading(own_kafka: KafkaServer, tmp_path: Path) -> None:
    """The reading says which broker does not answer, and how to go on."""
    topic = own_kafka.topic()
    put(own_kafka, topic, {"value": b"1"})
    process = for_server(tmp_path, own_kafka).start("topics", "tail", topic, "-f", "--from", "beginning", "-o", "raw")
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    own_kafka.end(signal.SIGKILL)
    until(lambda: process.poll() is not None, "the end of the reading", 90)
    _, err = process.communicate()
    assert process.returncode == 3
    assert own_kafka.address in err
    assert token(err)


def _remake(server: KafkaServer, topic: str) -> None:
    """Another topic of this name."""
    admin = client.administrator(server.client)
    for future in admin.delete_topics([topic], operation_timeout=30).values():
        future.result(60)
    until(lambda: not topics.ids(server.client, [topic]), f"{topic} is gone", 60)
    topics.create(server.client, [topics.TopicSpec(topic, 1, 1, {})])
    until(lambda: topics.ids(server.client, [topic]), f"{topic} is there", 60)


def test_a_topic_that_is_made_anew_while_it_is_followed_ends_the_reading(kafka: KafkaServer, todoctl: Program) -> None:
    """As long as before, its offsets look right: records before them were passed over without a word. The token says so, too."""
    topic = kafka.topic()
    numbered(kafka, topic, 3, 1)
    process = todoctl.start("topics", "tail", topic, "-f", "--from", "beginning", "-o", "raw")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
    process.send_signal(signal.SIGSTOP)
    _remake(kafka, topic)
    numbered(kafka, topic, 8, 1)
    process.send_signal(signal.SIGCONT)
    until(lambda: process.poll() is not None, "the end of the reading", 90)
    _, err = process.communicate()
    assert (process.returncode, f"{topic} was made anew" in err) == (1, True), err
    assert f"next: todoctl topics tail {topic} --from beginning" in err
    resumed = todoctl.inside("topics", "tail", topic, "-o", "raw", "--resume", token(err))
    assert (resumed.code, resumed.out, "was made anew" in resumed.err) == (1, "", True)


@pytest.mark.parametrize("output", ["raw", "jsonl"])
def test_partitions_that_are_added_are_followed(kafka: KafkaServer, todoctl: Program, output: str) -> None:
    """From their beginning on, and the token has them."""
    topic = kafka.topic()
    put(kafka, topic, {"value": b"old"})
    process = todoctl.start("topics", "tail", topic, "-f", "--from", "beginning", "-o", output)
    assert process.stdout is not None
    assert "old" in process.stdout.readline()
    topics.add_partitions(kafka.client, topic, 3)
    until(lambda: len(topics.layout(kafka.client)[topic]) == 3, "three partitions", 60)
    put(kafka, topic, {"value": b"new", "partition": 2})
    assert "new" in process.stdout.readline()
    put(kafka, topic, {"value": b"newer"})
    assert "newer" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert f"{topic}@0:2,1:0,2:1~" in token(err)
