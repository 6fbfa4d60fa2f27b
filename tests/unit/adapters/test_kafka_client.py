"""One administrator per broker, whoever asks for it and from whichever thread."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

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
