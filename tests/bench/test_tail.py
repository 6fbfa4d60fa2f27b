"""`topics tail` beside kcat on one topic of two million records: as many bytes, in less time."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.bench.paired import command, compare
from tests.live.broker import KafkaServer, kafka_server

_RECORDS, _SIZE, _PARTITIONS, _ROUNDS = 2_000_000, 256, 8, 5


@pytest.fixture(scope="module")
def full() -> Iterator[tuple[KafkaServer, str]]:
    """A broker with nothing else to do, and the full topic."""
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed: there is nothing to compare with")
    with kafka_server() as server:
        topic = server.topic("bench", count=_PARTITIONS)
        producer = Producer({**server.librdkafka, "linger.ms": 100, "batch.num.messages": 20_000})
        for number in range(_RECORDS):
            while True:
                try:
                    producer.produce(topic, value=_value(number), key=b"%d" % (number % 1000), partition=number % 8)
                    break
                except BufferError:
                    producer.poll(0.1)
        assert producer.flush(120) == 0
        yield server, topic


def _value(number: int) -> bytes:
    """256 bytes of JSON, each different."""
    head = b'{"n":%d,"text":"' % number
    return head + b"x" * (_SIZE - len(head) - 2) + b'"}'


def _tail(server: KafkaServer, topic: str, folder: Path, output: str) -> list[str]:
    settings = folder / "todoctl.toml"
    settings.write_text(
        '[environments.bench]\nkind = "kubernetes"\n[environments.bench.kafka]\n'
        f'bootstrap = "{server.address}"\nsecurity_protocol = "PLAINTEXT"\n'
    )
    read = ["topics", "tail", topic, "-o", output, "--from", "beginning", "--until", "end"]
    return [sys.executable, "-m", "todoctl", "--config", str(settings), "-e", "bench", *read]


def _kcat(server: KafkaServer, topic: str) -> list[str]:
    return ["kcat", "-C", "-q", "-b", server.address, "-t", topic, "-o", "beginning", "-e"]


def _sorted_hash(argv: list[str]) -> str:
    """SHA-256 of the sorted lines: partitions may interleave as they like."""
    reader = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ordered = subprocess.run(
        ["sort", "-S", "256M"], stdin=reader.stdout, stdout=subprocess.PIPE, check=True, env={"LC_ALL": "C"}
    )
    assert reader.wait() == 0
    return hashlib.sha256(ordered.stdout).hexdigest()


@pytest.mark.parametrize(("output", "least"), [("raw", 1.2), ("jsonl", 0.6)])
def test_messages_per_second(full: tuple[KafkaServer, str], tmp_path: Path, output: str, least: float) -> None:
    """Raw is at least 1.2 times as fast as kcat, JSON lines at least 0.6 times."""
    server, topic = full
    ratio = compare(command(_kcat(server, topic)), command(_tail(server, topic, tmp_path, output)), rounds=_ROUNDS)
    print(f"\n{output} against kcat, messages per second: {ratio}")
    assert ratio.median >= least


def test_the_same_bytes(full: tuple[KafkaServer, str], tmp_path: Path) -> None:
    """Sorted, raw output is byte for byte kcat's."""
    server, topic = full
    assert _sorted_hash(_tail(server, topic, tmp_path, "raw")) == _sorted_hash(_kcat(server, topic))


def test_memory_is_flat(full: tuple[KafkaServer, str], tmp_path: Path) -> None:
    """Half a gigabyte passes through less than 200 MiB, merged by time or not."""
    server, topic = full
    for output in ("raw", "jsonl"):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        run = f"import resource,runpy,sys; sys.argv={['todoctl', *_tail(server, topic, tmp_path, output)[3:]]!r}\n"
        run += "try: runpy.run_module('todoctl', run_name='__main__')\n"
        run += "finally: sys.stderr.write('\\n%d' % resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        ended = subprocess.run(
            [sys.executable, "-c", run], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, text=True
        )
        mebibytes = int(ended.stderr.splitlines()[-1]) / 1024
        print(f"\n{output}: {mebibytes:.0f} MiB; other programs so far at most {before / 1024:.0f}")
        assert mebibytes < 200


def test_json_lines_are_json(full: tuple[KafkaServer, str], tmp_path: Path) -> None:
    """What is so fast is what it says: each line has the record with its document inside."""
    server, topic = full
    argv = [*_tail(server, topic, tmp_path, "jsonl"), "--limit", "1000"]
    ended = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert len(rows) == 1000
    assert all(row["value"]["n"] % _PARTITIONS == row["partition"] for row in rows)
