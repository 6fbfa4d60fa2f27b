"""How fast letters are re-published, against a plain copy of the same records in the same run."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Producer

from tests.live import replayer
from tests.live.broker import KafkaServer, kafka_server
from tests.live.letters import kill, make_topics
from tests.unit.sites import chart_values
from todoctl.adapters.kafka import records, topics
from todoctl.adapters.kafka.client import Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.core.dlq.filters import Filter
from todoctl.operations.dlq import running
from todoctl.operations.dlq.desk import open_desk
from todoctl.operations.dlq.planning import PlanRequest, make_plan
from todoctl.operations.dlq.replaying import Progress, open_plan

LETTERS, ROUNDS = 150_000, 4
KINDS = ("permanent", "unknown", "dapr")


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    """A broker of the bench's own."""
    with kafka_server() as made:
        make_topics(made)
        topics.create(made.client, [topics.TopicSpec("copy", 6, 1, {})])
        yield made


def test_a_replay_is_half_as_fast_as_a_plain_copy(server: KafkaServer, tmp_path: Path) -> None:
    """Decisions and transactions included, at least 0.5 of the copy's rate; memory doesn't grow with the letters."""
    chance, ratios, rates, grown = random.Random(1), [], [], 0.0
    for number in range(ROUNDS + 1):
        ends = _ends(server)
        path = tmp_path / f"{number}.jsonl"
        _prepare(server, path, number)
        seconds = {}
        for arm in chance.sample(("replay", "copy"), 2):
            before = psutil.Process().memory_info().rss
            seconds[arm] = _replay(server, path) if arm == "replay" else _copy(server, ends)
            if number and arm == "replay":
                grown = max(grown, (psutil.Process().memory_info().rss - before) / 2**20)
        if number:  # the first is the warm-up
            ratios.append(seconds["copy"] / seconds["replay"])
            rates.append(LETTERS / seconds["replay"])
    print(
        f"\nreplay {statistics.median(rates):,.0f}/s (best {max(rates):,.0f}/s), "
        f"{statistics.median(ratios):.2f} of a plain copy ({min(ratios):.2f} to {max(ratios):.2f}); {grown:.0f} MiB more"
    )
    assert statistics.median(ratios) >= 0.5
    assert grown < 128


def _prepare(server: KafkaServer, path: Path, number: int) -> None:
    """Letters that no round had yet, and a plan for them."""
    since = int(time.time() * 1000)
    kill(server, LETTERS, kinds=KINDS, first=number * LETTERS)
    desk = open_desk(server.client, chart_values(), "dlq-events")
    request = PlanRequest(Filter(since_ms=since), path, "bench", 3, {})
    *_, header = make_plan(desk, request, replayer.me("plan"))
    assert header.counts["replay"] == LETTERS  # type: ignore[union-attr]


def _replay(server: KafkaServer, path: Path) -> float:
    """Seconds that re-publishing took, as an operator sees it in the progress."""
    desk = open_desk(server.client, chart_values(), "dlq-events")
    request = running.ReplayRequest(open_plan(path, takes_changed=False), path, {}, trial=0)
    *_, last = running.run(desk, request, replayer.me("replay", path.stem), clock=lambda: datetime.now(UTC))
    assert isinstance(last, Progress)
    assert last.replayed == LETTERS
    return last.seconds


def _copy(server: KafkaServer, starts: dict[Place, int]) -> float:
    """Seconds that the same letters take without plan, transactions and decisions."""
    producer = Producer(server.librdkafka | {"linger.ms": "20", "partitioner": "fnv1a_random"})
    stops = _ends(server)
    since, copied = time.monotonic(), 0
    with Reader(server.client, starts, dict(stops)) as reader:
        for batch in reader.batches():
            for message in batch:
                producer.produce("copy", message.value(), message.key(), headers=message.headers())
            copied += len(batch)
            producer.poll(0)
    producer.flush(60)
    assert copied == LETTERS
    return time.monotonic() - since


def _ends(server: KafkaServer) -> dict[Place, int]:
    return {place: end for place, (_, end) in records.watermarks(server.client, ["dlq-events"]).items()}
