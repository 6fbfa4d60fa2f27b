"""Blue-green releases: there and back under load, what the idle colour does meanwhile, and what becomes of one that fails."""

from __future__ import annotations

import signal

import pytest

from tests.cluster import load
from tests.cluster.colours import assert_idle, assert_only, led, names, other, switched, taking, twice, unaudited
from tests.cluster.kube import until
from tests.cluster.place import Place
from tests.helm import Chart
from todoctl.errors import RefusedError, TodoctlError

# Every deploy starts services, which takes minutes in all.
pytestmark = pytest.mark.slow


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
    blue = names(place, "blue")
    with load.running(place.cluster, chart, place.namespace, image, rate=50) as seen:
        place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "debug"})
        made = place.run("deploy", "--strategy", "blue-green", "-o", "json").json()
        assert (made["revision"], made["colour"], made["strategy"]) == (3, "green", "blue-green")
        assert taking(place) == {"green"}
        assert_idle(place, "blue")
        assert names(place, "blue").isdisjoint(blue)
        back = place.run("rollback", "-o", "json").json()
        assert (back["revision"], back["colour"], back["returns_to"]) == (4, "blue", 1)
        until(lambda: not names(place, "green"), "green's pods have ended", seconds=120)
        assert taking(place) == {"blue"}
    assert seen.told["failed"] == []
    assert seen.told["lost"] == 0
    assert seen.told["written"] > 1000
    until(lambda: unaudited(place) == 0, "every task's event is audited", seconds=60)
    assert twice(place) == 0


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
    before = names(place, "blue")
    place.change(kubernetes__images__tag=place.with_image("crash", "recurring", command=command.strip()))
    failed = place.run("deploy", "--strategy", "blue-green", code=TodoctlError.exit_code)
    assert "no can do" in failed.err
    assert names(place, "blue") == before
    until(lambda: not names(place, "green"), "green's pods have ended", seconds=120)
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
        assert taking(place) == {"blue"}
    assert (seen.told["failed"], seen.told["lost"]) == ([], 0)
    assert [item["state"] for item in place.history()][-3:] == ["failed", "failed", "deployed"]
    place.run("smoke")


def test_killed_before_the_switch(place: Place) -> None:
    """Green waits, idle; unlock takes it away."""
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "warning"})
    with place.interrupted("deploy", "--strategy", "blue-green", by=signal.SIGKILL):
        until(lambda: names(place, "green"), "green's pods", seconds=120)
    assert "unlock" in place.run("deploy", code=RefusedError.exit_code).err
    place.run("unlock")
    until(lambda: not names(place, "green"), "green's pods have ended", seconds=120)
    assert [item["state"] for item in place.history()][-2:] == ["failed", "deployed"]
    place.run("smoke")


def test_killed_in_the_middle_of_the_switch(place: Place) -> None:
    """Both colours take events then, and status and deploy say so; unlock leaves the one that ran, the same command ends it."""
    before = place.running()
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "SWITCH": "killed"})
    switch = ("deploy", "--strategy", "blue-green")
    with place.interrupted(*switch, by=signal.SIGKILL):
        until(lambda: switched(place)[other(before)] == "on", "the other colour is on", seconds=300)
    seen = place.run("status", "-o", "json", code=None).json()["release"]
    assert (seen["revision"], seen["worked_on_by"]) == (before["revision"], None)
    assert seen["pending"] > before["revision"]
    assert seen["colour"] in led(place)
    assert seen["both_work"] == (len(led(place)) == 2 or switched(place)[other(seen)] == "on")
    refused = place.run("deploy", code=RefusedError.exit_code).err
    assert "unlock" in refused
    assert f"{seen['colour']}" in refused
    assert "unlock" in place.run("rollback", code=RefusedError.exit_code).err
    place.run("unlock")
    assert_only(place, before)
    made = place.run(*switch, "-o", "json").json()
    assert (made["colour"], made["state"]) == (other(before), "deployed")
    assert taking(place) == {made["colour"]}


def test_interrupted_while_the_old_colour_drains(place: Place) -> None:
    """Ctrl-C after Services were turned: exit 130, and the colour that ran serves again; a kill there, and unlock does the same."""
    for number, by in enumerate((signal.SIGINT, signal.SIGKILL)):
        before = place.running()
        place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "DRAINS": str(number)})
        with place.interrupted("deploy", "--strategy", "blue-green", by=by) as process:
            until(lambda before=before: led(place) == {other(before)}, "Services lead to the other one", seconds=300)
        if by is signal.SIGKILL:
            seen = place.run("status", "-o", "json", code=None).json()["release"]
            assert (seen["colour"], seen["pending_state"]) == (other(before), "pending-upgrade")
            place.run("unlock")
        else:
            assert process.returncode == 130
        assert_only(place, before)
        place.run("smoke")


def test_a_way_back_that_is_killed_after_its_switch_is_finished(place: Place) -> None:
    """The pods of the colour that ran may be gone by then: unlock leaves one colour, and a release that ran well."""
    before = place.running()
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "SWITCH": "there"})
    made = place.run("deploy", "--strategy", "blue-green", "-o", "json").json()
    with place.interrupted("rollback", by=signal.SIGKILL):
        until(lambda: led(place) == {before["colour"]}, "Services lead back", seconds=300)
    place.run("unlock")
    running = place.running()
    assert running["returns_to"] in {before["revision"], before["returns_to"], made["revision"]}
    assert led(place) == {running["colour"]}
    place.run("smoke")
    assert taking(place) == {running["colour"]}


def test_from_colour_to_colour(place: Place) -> None:
    """The next blue-green release takes the idle colour's place; restart and status mean the one that runs."""
    before = place.running()
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "warning"})
    made = place.run("deploy", "--strategy", "blue-green", "-o", "json").json()
    assert made["colour"] == other(before)
    assert place.run("diff", "-o", "json").json()["differences"] == []
    pods = names(place, made["colour"], "recurring")
    place.run("restart", "recurring")
    assert names(place, made["colour"], "recurring").isdisjoint(pods)
    status = place.run("status", "-o", "json").json()
    assert status["healthy"], status
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "error"})
    assert place.run("deploy", "--strategy", "blue-green", "-o", "json").json()["colour"] == before["colour"]
    assert_idle(place, made["colour"])


def test_back_over_several_releases(place: Place) -> None:
    """To one that ran as the colour that runs now; the idle colour then has what was idle beside it, which is no release between."""
    oldest, later = place.running(), []
    for number in ("1", "2"):
        place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "info", "BACK": number})
        later.append(place.run("deploy", "--strategy", "blue-green", "-o", "json").json())
    assert [item["colour"] for item in later] == [other(oldest), oldest["colour"]]
    back = place.run("rollback", str(oldest["revision"]), "-o", "json").json()
    assert (back["colour"], back["returns_to"]) == (oldest["colour"], oldest["revision"])
    assert_only(place, oldest)
    place.run("smoke")
    assert_idle(place, other(oldest))
    refused = place.run("rollback", str(later[0]["revision"]), code=RefusedError.exit_code).err
    assert "whose pods are gone" in refused
    assert "blue-green" in refused


def test_a_rolling_release_lets_the_idle_colour_go(place: Place) -> None:
    """It replaces the pods of the colour that runs."""
    before = place.running()
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "info"})
    assert place.run("deploy", "-o", "json").json()["colour"] == before["colour"]
    until(lambda: not names(place, other(before)), "the idle colour's pods have ended", seconds=120)
    assert taking(place) == {before["colour"]}
