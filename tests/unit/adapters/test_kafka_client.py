"""One administrator per broker, whoever asks for it and from whichever thread."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from types import SimpleNamespace
from typing import Any

from confluent_kafka.admin import OffsetSpec

from todoctl.adapters.kafka import client
from todoctl.adapters.kafka.client import Broker

_NOBODY = Broker({"bootstrap.servers": "127.0.0.1:9"})


def test_a_client_is_kept_for_the_life_of_the_process() -> None:
    """A collected client may be found by librdkafka's own thread, which then aborts the process."""
    first = weakref.ref(client.administrator(_NOBODY))
    gc.collect()
    assert first() is client.administrator(Broker(dict(_NOBODY.settings), name="the same"))
    assert first() is not client.administrator(Broker({"bootstrap.servers": "127.0.0.1:10"}))


def test_threads_share_one_client() -> None:
    """Asked for at once by many threads, none of which has the package yet."""
    code = (
        "import sys; sys.setswitchinterval(1e-6)\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "from todoctl.adapters.kafka import client\n"
        "broker, together = client.Broker({'bootstrap.servers': '127.0.0.1:9'}), Barrier(16)\n"
        "def ask(_):\n    together.wait()\n    return id(client.administrator(broker))\n"
        "with ThreadPoolExecutor(16) as pool:\n    print(len(set(pool.map(ask, range(16)))))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")


def test_an_answer_that_never_comes_is_an_error() -> None:
    """Every thread is told, and none of them ends the process."""

    def ask(_: int) -> str:
        try:
            return client.cluster_id(_NOBODY)
        except client.KafkaError as error:
            return error.message

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(ask, range(8)))
    assert all("could not ask for the cluster" in answer for answer in answers)


class _Meeting:
    """An administrator's client that notes whether two threads are in it at once: each waits a moment for another."""

    def __init__(self) -> None:
        self._both = Barrier(2)
        self.has_met = False

    def list_offsets(self, specs: dict[Any, Any], **_: Any) -> dict[Any, Future[Any]]:
        self._wait()
        answers: dict[Any, Future[Any]] = {place: Future() for place in specs}
        for answer in answers.values():
            answer.set_result(SimpleNamespace(offset=7))
        return answers

    def list_topics(self, **_: Any) -> Any:
        self._wait()
        return SimpleNamespace(topics={})

    def _wait(self) -> None:
        try:
            self._both.wait(0.3)
            self.has_met = True
        except BrokenBarrierError:
            pass


def test_leaders_are_looked_up_by_one_thread_at_a_time() -> None:
    """Two at once have made librdkafka use freed memory, and the process end with a segmentation fault."""
    place, admin = ("task-events", 0), _Meeting()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(client.offsets, _NOBODY, admin, {place: OffsetSpec.latest()}) for _ in range(2)]
        known = pool.submit(client.metadata, admin)
        assert [answer.result() for answer in asked] == [{place: 7}, {place: 7}]
        assert known.result().topics == {}
    assert not admin.has_met
