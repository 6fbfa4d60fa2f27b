"""Blue-green releases: there and back under load, what the idle colour does meanwhile, and what becomes of one that fails."""

from __future__ import annotations

import signal
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient

from tests.cluster import load
from tests.cluster.deployment import REPLICAS, SERVICES
from tests.cluster.kube import until
from tests.cluster.place import Place
from tests.helm import Chart
from todoctl.errors import RefusedError, TodoctlError

# Every deploy starts services, which takes minutes in all.
pytestmark = pytest.mark.slow

_GROUPS = ("audit", "notification", "recurring")
_ASK = "import httpx; print(httpx.get('http://127.0.0.1:{port}/workz').status_code)"

# A recurring that takes every event and makes nothing of it.
_FORGETFUL = """from services.recurring import __main__, app

app.successor_of = lambda event: None
__main__.main()
"""


@pytest.fixture(scope="module")
def place(bare_place: Place) -> Place:
    """A first release, which runs as blue whatever strategy is asked for."""
    made = bare_place.run("deploy", "--strategy", "blue-green", "-o", "json", "--timeout", "300").json()
    assert (made["revision"], made["colour"], made["strategy"]) == (1, "blue", "rolling")
    return bare_place


def test_there_and_back_under_load(place: Place, chart: Chart) -> None:
    """No request of 50 in a second fails, over kept and new connections; each acknowledged write is there, once, and audited."""
    image = place.image("api").replace("todo-api", "todo-migrations")
    blue = _names(place, "blue")
    with load.running(place.cluster, chart, place.namespace, image, rate=50) as seen:
        place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "debug"})
        made = place.run("deploy", "--strategy", "blue-green", "-o", "json").json()
        assert (made["revision"], made["colour"], made["strategy"]) == (3, "green", "blue-green")
        assert _taking(place) == {"green"}
        _assert_idle(place, "blue")
        assert _names(place, "blue").isdisjoint(blue)
        back = place.run("rollback", "-o", "json").json()
        assert (back["revision"], back["colour"], back["returns_to"]) == (4, "blue", 1)
        until(lambda: not _names(place, "green"), "green's pods have ended", seconds=120)
        assert _taking(place) == {"blue"}
    assert seen.told["failed"] == []
    assert seen.told["lost"] == 0
    assert seen.told["written"] > 1000
    until(lambda: _unaudited(place) == 0, "every task's event is audited", seconds=60)
    assert _twice(place) == 0


def test_the_history_says_what_happened(place: Place) -> None:
    """The step that made green ready is no release to go back to."""
    history = {item["revision"]: item for item in place.history()}
    assert [history[revision]["state"] for revision in (1, 2, 3, 4)] == ["superseded"] * 3 + ["deployed"]
    assert (history[2]["prepares"], history[2]["result"]) == (3, "made green ready")
    assert "only prepared release 3" in place.run("rollback", "2", code=RefusedError.exit_code).err
    # Green's pods went with the way back.
    assert "pods are gone" in place.run("rollback", "3", code=RefusedError.exit_code).err


def test_a_colour_that_does_not_start_is_taken_away(place: Place) -> None:
    """What runs is not touched, and no event or request has reached the new one."""
    command = """python -c "print('no can do'); raise SystemExit(7)" """
    before = _names(place, "blue")
    place.change(kubernetes__images__tag=place.with_image("crash", "recurring", command=command.strip()))
    failed = place.run("deploy", "--strategy", "blue-green", code=TodoctlError.exit_code)
    assert "no can do" in failed.err
    assert _names(place, "blue") == before
    until(lambda: not _names(place, "green"), "green's pods have ended", seconds=120)
    assert place.running()["colour"] == "blue"


def test_one_that_is_found_bad_after_the_switch_goes_back(place: Place, chart: Chart) -> None:
    """Its preview is fine, for blue makes the next task; then green does not, and what ran runs again without a failed request."""
    files = {"/app/services/recurring/forgetful.py": _FORGETFUL}
    tag = place.with_image("forgets", "recurring", command="python -m services.recurring.forgetful", files=files)
    image = place.image("api").replace("todo-api", "todo-migrations")
    runs = place.running()["revision"]
    place.change(kubernetes__images__tag=tag)
    with load.running(place.cluster, chart, place.namespace, image, rate=50) as seen:
        failed = place.run("deploy", "--strategy", "blue-green", code=TodoctlError.exit_code)
        assert "next occurrence" in failed.err
        assert f"release {runs} runs again" in failed.err
        assert _taking(place) == {"blue"}
    assert (seen.told["failed"], seen.told["lost"]) == ([], 0)
    assert [item["state"] for item in place.history()][-3:] == ["failed", "failed", "deployed"]
    place.run("smoke")


def test_killed_before_the_switch(place: Place) -> None:
    """Green waits, idle; unlock takes it away."""
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "warning"})
    with place.interrupted("deploy", "--strategy", "blue-green", by=signal.SIGKILL):
        until(lambda: _names(place, "green"), "green's pods", seconds=120)
    assert "unlock" in place.run("deploy", code=RefusedError.exit_code).err
    place.run("unlock")
    until(lambda: not _names(place, "green"), "green's pods have ended", seconds=120)
    assert [item["state"] for item in place.history()][-2:] == ["failed", "deployed"]
    place.run("smoke")


def test_killed_in_the_middle_of_the_switch(place: Place) -> None:
    """Both colours take events then, and status and deploy say so; unlock leaves the one that ran, the same command ends it."""
    before = place.running()
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "SWITCH": "killed"})
    switch = ("deploy", "--strategy", "blue-green")
    with place.interrupted(*switch, by=signal.SIGKILL):
        until(lambda: _switch(place)[_other(before)] == "on", "the other colour is on", seconds=300)
    seen = place.run("status", "-o", "json", code=None).json()["release"]
    assert (seen["revision"], seen["worked_on_by"]) == (before["revision"], None)
    assert seen["pending"] > before["revision"]
    assert seen["colour"] in _led(place)
    assert seen["both_work"] == (len(_led(place)) == 2 or _switch(place)[_other(seen)] == "on")
    refused = place.run("deploy", code=RefusedError.exit_code).err
    assert "unlock" in refused
    assert f"{seen['colour']}" in refused
    assert "unlock" in place.run("rollback", code=RefusedError.exit_code).err
    place.run("unlock")
    _assert_only(place, before)
    made = place.run(*switch, "-o", "json").json()
    assert (made["colour"], made["state"]) == (_other(before), "deployed")
    assert _taking(place) == {made["colour"]}


def test_interrupted_while_the_old_colour_drains(place: Place) -> None:
    """Ctrl-C after Services were turned: exit 130, and the colour that ran serves again; a kill there, and unlock does the same."""
    for number, by in enumerate((signal.SIGINT, signal.SIGKILL)):
        before = place.running()
        place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "DRAINS": str(number)})
        with place.interrupted("deploy", "--strategy", "blue-green", by=by) as process:
            until(lambda before=before: _led(place) == {_other(before)}, "Services lead to the other one", seconds=300)
        if by is signal.SIGKILL:
            seen = place.run("status", "-o", "json", code=None).json()["release"]
            assert (seen["colour"], seen["pending_state"]) == (_other(before), "pending-upgrade")
            place.run("unlock")
        else:
            assert process.returncode == 130
        _assert_only(place, before)
        place.run("smoke")


def test_a_way_back_that_is_killed_after_its_switch_is_finished(place: Place) -> None:
    """The pods of the colour that ran may be gone by then: unlock leaves one colour, and a release that ran well."""
    before = place.running()
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "SWITCH": "there"})
    made = place.run("deploy", "--strategy", "blue-green", "-o", "json").json()
    with place.interrupted("rollback", by=signal.SIGKILL):
        until(lambda: _led(place) == {before["colour"]}, "Services lead back", seconds=300)
    place.run("unlock")
    running = place.running()
    assert running["returns_to"] in {before["revision"], before["returns_to"], made["revision"]}
    assert _led(place) == {running["colour"]}
    place.run("smoke")
    assert _taking(place) == {running["colour"]}


def test_from_colour_to_colour(place: Place) -> None:
    """The next blue-green release takes the idle colour's place; restart and status mean the one that runs."""
    before = str(place.running()["colour"])
    other = _other({"colour": before})
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "warning"})
    assert place.run("deploy", "--strategy", "blue-green", "-o", "json").json()["colour"] == other
    assert place.run("diff", "-o", "json").json()["differences"] == []
    pods = _names(place, other, "recurring")
    place.run("restart", "recurring")
    assert _names(place, other, "recurring").isdisjoint(pods)
    status = place.run("status", "-o", "json").json()
    assert status["healthy"], status
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "error"})
    assert place.run("deploy", "--strategy", "blue-green", "-o", "json").json()["colour"] == before
    _assert_idle(place, other)


def test_a_rolling_release_lets_the_idle_colour_go(place: Place) -> None:
    """It replaces the pods of the colour that runs."""
    before = place.running()
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "info"})
    assert place.run("deploy", "-o", "json").json()["colour"] == before["colour"]
    until(lambda: not _names(place, _other(before)), "the idle colour's pods have ended", seconds=120)
    assert _taking(place) == {before["colour"]}


def _switch(place: Place) -> dict[str, str]:
    """What pods read: the active colour, and which ones are on."""
    return dict(place.cluster.get("--namespace", place.namespace, "configmap", "colours")["data"])


def _led(place: Place) -> set[str]:
    """The colours that Services lead to."""
    found = place.cluster.get("--namespace", place.namespace, "services", *SERVICES)["items"]
    return {item["spec"]["selector"]["colour"] for item in found}


def _other(release: dict[str, Any]) -> str:
    return "green" if release["colour"] == "blue" else "blue"


def _assert_only(place: Place, before: dict[str, Any]) -> None:
    """What ran runs again, in its colour; what the other one has takes no event and no job."""
    running = place.running()
    assert running["colour"] == before["colour"]
    assert running["returns_to"] == before["revision"]
    assert _switch(place) == {"active": before["colour"], before["colour"]: "on", _other(before): "off"}
    assert _led(place) == {before["colour"]}
    assert _taking(place) == {before["colour"]}


def _alive(place: Place, component: str, colour: str) -> list[dict[str, Any]]:
    """Pods of a colour, without those that end."""
    return [pod for pod in place.pods(component, colour=colour) if "deletionTimestamp" not in pod["metadata"]]


def _names(place: Place, colour: str, component: str = "") -> set[str]:
    """The names of a colour's pods."""
    names = [component] if component else SERVICES
    return {pod["metadata"]["name"] for name in names for pod in _alive(place, name, colour)}


def _taking(place: Place) -> set[str]:
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


def _assert_idle(place: Place, colour: str) -> None:
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


def _unaudited(place: Place) -> int:
    return int(
        _rows(
            place,
            "SELECT count(*) FROM api.tasks t WHERE NOT EXISTS (SELECT 1 FROM audit.audit_logs a WHERE "
            "a.topic = 'task-events' AND a.action_type = 'task.created' AND a.resource_id = t.id)",
        )
    )


def _twice(place: Place) -> int:
    """Tasks whose creation is in the log more than once."""
    return int(
        _rows(
            place,
            "SELECT count(*) FROM (SELECT resource_id FROM audit.audit_logs WHERE topic = 'task-events' "
            "AND action_type = 'task.created' GROUP BY resource_id HAVING count(*) > 1) twice",
        )
    )
