"""What lies in the cluster and what outside of it, and how each is reached."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.unit.operations.kubernetes.cluster import NAMESPACE, FakeCluster, pod
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.kinds import PODS, SERVICES
from todoctl.adapters.kube.streams import Streams, Target
from todoctl.errors import UnhealthyError
from todoctl.operations.kubernetes.reach import Reach, require_open

URL = "postgresql://todo_owner:p%40ss@{}/todo?sslmode=verify-full"


@pytest.fixture
def cluster() -> FakeCluster:
    """A Service whose newest ready pod is `b`."""
    made = FakeCluster()
    labels = {"app.kubernetes.io/component": "postgresql"}
    ports = [{"name": "sql", "port": 5432, "targetPort": "sql"}]
    made.add(SERVICES, {"metadata": {"name": "postgresql"}, "spec": {"selector": labels, "ports": ports}})
    for name, is_ready, day in (("a", True, 1), ("b", True, 2), ("c", False, 3)):
        item = pod(name, "postgresql", ready=is_ready, created=f"2026-01-0{day}T00:00:00Z", containers=("postgresql",))
        item["spec"]["containers"][0]["ports"] = [{"name": "sql", "containerPort": 15432}]
        made.add(PODS, item)
    return made


@pytest.fixture
def reach(cluster: FakeCluster) -> Iterator[Reach]:
    """Ports into it."""
    with Streams(Access("test", "http://127.0.0.1:1")) as streams:
        yield Reach(cluster.kube, streams)


@pytest.mark.parametrize("host", ["postgresql", f"postgresql.{NAMESPACE}", f"postgresql.{NAMESPACE}.svc.cluster.local"])
def test_names_of_the_cluster_lead_to_a_ready_pod(reach: Reach, host: str) -> None:
    """The newest one, at the port that the Service means."""
    assert reach.inside(host, 5432) == Target(NAMESPACE, "b", 15432)


def test_a_brokers_own_name_leads_to_its_pod(reach: Reach) -> None:
    """It is not asked for as a Service: the name says all."""
    found = reach.inside("todo-dual-2.todo-kafka-brokers.kafka.svc", 9092)
    assert found == Target("kafka", "todo-dual-2", 9092)


@pytest.mark.parametrize(
    "host", ["10.99.0.1", "::1", "ep-x.eu.neon.tech", "seed.kafka.example.org", "db.example", "other"]
)
def test_everything_else_lies_outside(reach: Reach, host: str) -> None:
    """Addresses, and names that no Service has."""
    assert reach.inside(host, 5432) is None


def test_a_service_whose_pods_are_not_ready(cluster: FakeCluster, reach: Reach) -> None:
    """It is said with their number."""
    for item in cluster.objects.values():
        if "status" in item:
            item["status"]["conditions"] = []
    with pytest.raises(UnhealthyError, match="none of the 3 pods of postgresql in todo is ready"):
        reach.service("postgresql")
    with pytest.raises(UnhealthyError, match="there is no Service nothing"):
        reach.service("nothing")


def test_a_database_in_the_cluster_still_has_to_be_who_it_is(reach: Reach) -> None:
    """Libpq goes to this machine's port and checks the certificate against the name in the URL; one port serves all."""
    found = reach.url(URL.format("postgresql"))
    port = found.partition("@postgresql:")[2].partition("/")[0]
    query = "sslmode=verify-full&hostaddr=127.0.0.1"
    assert found == f"postgresql://todo_owner:p%40ss@postgresql:{port}/todo?{query}"
    assert reach.url(URL.format("postgresql")) == found
    with socket.create_connection(("127.0.0.1", int(port)), timeout=5):
        pass


def test_a_database_outside_is_used_as_it_is(reach: Reach) -> None:
    """When it takes connections; else that is said, without the password."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = URL.format(f"127.0.0.1:{server.getsockname()[1]}")
        assert reach.url(there) == there
    with pytest.raises(UnhealthyError, match="lies outside the cluster and can't be reached") as caught:
        reach.url(there)
    assert "p%40ss" not in str(caught.value)


def test_one_broker_that_answers_is_enough() -> None:
    """Of several, the others may be away."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        addresses = [closed.getsockname(), server.getsockname()]
        closed.close()
        require_open("Kafka", addresses)


def test_a_port_that_is_taken(reach: Reach) -> None:
    """The page's own port may be somebody else's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UnhealthyError, match=f"the port {port} of this machine can't be used"):
            reach.service("postgresql", at=port)


@pytest.mark.parametrize("step", range(8))
def test_a_connection_that_is_just_taken_is_closed_with_the_rest(cluster: FakeCluster, step: int) -> None:
    """At whatever step of the loop it comes while all ends: its other side would wait for ever."""
    streams = Streams(Access("test", "http://127.0.0.1:1"))
    host, _, port = Reach(cluster.kube, streams).service("postgresql").partition(":")
    waiting: list[socket.socket] = []
    ended = threading.Event()

    def go(now: int) -> None:
        if now == 2:
            streams._loop.create_task(streams._end()).add_done_callback(lambda _: ended.set())
        if now == step:
            with suppress(ConnectionRefusedError):  # nothing listens any more
                waiting.extend(socket.create_connection((host, int(port)), timeout=5) for _ in range(3))
        if now < 8:
            streams._loop.call_soon(go, now + 1)

    streams._loop.call_soon_threadsafe(go, 0)
    assert ended.wait(5)
    streams.close()
    assert len(waiting) == 3 or step > 2
    for connection in waiting:
        with connection:
            assert _is_over(connection)


def _is_over(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
