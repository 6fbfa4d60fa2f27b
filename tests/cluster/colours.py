"""What the two colours of a release do in the cluster: who is led to, who takes events, who is idle."""

from __future__ import annotations

from typing import Any

import psycopg
from confluent_kafka.admin import AdminClient

from tests.cluster.deployment import REPLICAS, SERVICES
from tests.cluster.kube import until
from tests.cluster.place import Place

_GROUPS = ("audit", "notification", "recurring")
_ASK = "import httpx; print(httpx.get('http://127.0.0.1:{port}/workz').status_code)"


def switched(place: Place) -> dict[str, str]:
    """What pods read: the active colour, and which ones are on."""
    return dict(place.cluster.get("--namespace", place.namespace, "configmap", "colours")["data"])


def led(place: Place) -> set[str]:
    """The colours that Services lead to."""
    found = place.cluster.get("--namespace", place.namespace, "services", *SERVICES)["items"]
    return {item["spec"]["selector"]["colour"] for item in found}


def other(release: dict[str, Any]) -> str:
    """The colour that a release does not run as."""
    return "green" if release["colour"] == "blue" else "blue"


def assert_only(place: Place, before: dict[str, Any]) -> None:
    """What ran runs again, in its colour; what the other one has takes no event and no job."""
    running = place.running()
    assert running["colour"] == before["colour"]
    assert running["returns_to"] == before["revision"]
    assert switched(place) == {"active": before["colour"], before["colour"]: "on", other(before): "off"}
    assert led(place) == {before["colour"]}
    assert taking(place) == {before["colour"]}


def _alive(place: Place, component: str, colour: str) -> list[dict[str, Any]]:
    """Pods of a colour, without those that end."""
    return [pod for pod in place.pods(component, colour=colour) if "deletionTimestamp" not in pod["metadata"]]


def names(place: Place, colour: str, component: str = "") -> set[str]:
    """The names of a colour's pods."""
    names = [component] if component else SERVICES
    return {pod["metadata"]["name"] for name in names for pod in _alive(place, name, colour)}


def taking(place: Place) -> set[str]:
    """The colours whose services were handed events; each group has as many members as one colour has pods."""
    admin = AdminClient({"bootstrap.servers": place.outside.brokers_here})

    def members() -> set[int]:
        found = admin.describe_consumer_groups(list(_GROUPS))
        return {len(future.result(10).members) for future in found.values()}

    until(lambda: members() == {REPLICAS}, "one colour reads", seconds=60)
    return {
        colour
        for colour in ("blue", "green")
        for pod in _alive(place, "audit", colour)
        if "/events/" in _log(place, pod)
    }


def assert_idle(place: Place, colour: str) -> None:
    """Its pods are ready and say that they take no work; their sidecars have handed them nothing."""
    for name in SERVICES:
        for pod in _alive(place, name, colour):
            handed = [line for line in _log(place, pod).splitlines() if "/events/" in line or "/job/" in line]
            assert handed == []
            assert all(status["ready"] for status in pod["status"]["containerStatuses"]), pod["status"]
    (pod, *_) = _alive(place, "api", colour)
    run = ("--namespace", place.namespace, "exec", pod["metadata"]["name"], "--container=app", "--", "python", "-c")
    assert place.cluster.kubectl(*run, _ASK.format(port=8000)).strip() == "503"


def _log(place: Place, pod: dict[str, Any]) -> str:
    """What the service in a pod has said so far."""
    return place.cluster.kubectl("--namespace", place.namespace, "logs", pod["metadata"]["name"], "--container=app")


def _rows(place: Place, query: str) -> Any:
    with psycopg.connect(place.outside.url("todo_owner"), connect_timeout=10) as link:
        (row,) = link.execute(query).fetchall()  # type: ignore[call-overload]
    return row[0]


def unaudited(place: Place) -> int:
    """Tasks whose creation is not in the log."""
    return int(
        _rows(
            place,
            "SELECT count(*) FROM api.tasks t WHERE NOT EXISTS (SELECT 1 FROM audit.audit_logs a WHERE "
            "a.topic = 'task-events' AND a.action_type = 'task.created' AND a.resource_id = t.id)",
        )
    )


def twice(place: Place) -> int:
    """Tasks whose creation is in the log more than once."""
    return int(
        _rows(
            place,
            "SELECT count(*) FROM (SELECT resource_id FROM audit.audit_logs WHERE topic = 'task-events' "
            "AND action_type = 'task.created' GROUP BY resource_id HAVING count(*) > 1) twice",
        )
    )
