"""Releases in a cluster: deployed, compared, failed in every way, killed, gone back from; by exit codes, JSON and what runs."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient

from tests.cluster import load
from tests.cluster.kube import until
from tests.cluster.place import Place
from tests.cluster.variants import migration
from tests.helm import Chart
from todoctl.core.events import REMINDERS
from todoctl.errors import RefusedError, TodoctlError, UsageError, WaitTimeoutError

# Every deploy starts services, which takes minutes in all.
pytestmark = pytest.mark.slow


ADDS = migration(5, "CREATE TABLE api.test_more (id bigint)")


@pytest.fixture(scope="module")
def place(bare_place: Place) -> Place:
    """Nothing is deployed; database and broker are outside, and a topic is missing there."""
    return bare_place


@pytest.fixture(scope="module")
def crashing(place: Place) -> str:
    """A tag whose `recurring` ends at once."""
    command = """python -c "print('no can do'); raise SystemExit(7)" """
    return place.with_image("crash", "recurring", command=command.strip())


def test_from_nothing(place: Place) -> None:
    """One command: namespace, missing topic, objects, schema, every pod with its sidecar, and the smoke chain."""
    assert place.run("history", "-o", "json").json() == []
    assert place.run("diff", "-o", "json", code=4).json()["from"] is None
    made = place.run("deploy", "-o", "json", "--timeout", "300").json()
    assert (made["revision"], made["state"], made["schema_revision"]) == (1, "deployed", "0004")
    assert made["events_read"] == ["1"]
    assert REMINDERS in AdminClient({"bootstrap.servers": place.outside.brokers_here}).list_topics(timeout=10).topics


def test_nothing_differs_then(place: Place) -> None:
    """The second deploy makes no release, and diff says so by its exit code."""
    assert place.run("diff", "-o", "json").json()["differences"] == []
    assert place.run("deploy", "-o", "json").json()["revision"] == 1


def test_an_upgrade_tells_what_it_changes_and_no_secret(place: Place) -> None:
    """Values, objects and their risk; a password that changes is only said to."""
    secret = f"not-to-be-seen-{uuid4().hex}"
    place.change(
        kubernetes__workloads__recurring__env={"LOG_LEVEL": "debug", "API_PASSWORD": secret},
        kubernetes__secrets__smtp__values={"password": secret},
    )
    told = place.run("diff", "-o", "json", code=4)
    found = {(item["area"], item["name"]): item for item in told.json()["differences"]}
    assert ("manifests", "Deployment recurring") in found
    assert ("manifests", "Secret smtp") in found
    assert found["values", "kubernetes.workloads.recurring.env.LOG_LEVEL"]["detail"] == "not set → debug"
    made = place.run("deploy", "-o", "json")
    assert (made.json()["revision"], made.json()["replaces"]) == (2, 1)
    assert secret not in told.out + told.err + made.out + made.err


def test_a_crashing_image_goes_back_by_itself(place: Place, crashing: str) -> None:
    """Found within moments of the crash, its evidence kept without a secret, and what ran before runs again."""
    before, image = place.running(), place.image("recurring")
    place.change(kubernetes__images__tag=crashing)
    failed = place.run("deploy", code=TodoctlError.exit_code)
    assert "CrashLoopBackOff" in failed.err
    assert "no can do" in failed.err
    assert place.image("recurring") == image
    now = place.running()
    assert now["returns_to"] == before["revision"]
    assert [item["state"] for item in place.history()][-2:] == ["failed", "deployed"]
    (folder,) = (place.shell.folder / "home" / "there" / "evidence").iterdir()
    kept = {path.name: path.read_text() for path in folder.iterdir()}
    assert {"error.txt", "plan.json", "status.json", "versions.json", "events.txt", "pods.yaml"} <= kept.keys()
    assert any(name.startswith("recurring-") and "no can do" in text for name, text in kept.items())
    assert not [name for name, text in kept.items() if place.outside.password in text]
    place.run("smoke")


def test_an_image_that_is_not_there_changes_nothing(place: Place) -> None:
    """The image that migrates is asked first what it needs; where it can't be had, no release is begun."""
    count = len(place.history())
    place.change(kubernetes__images__tag="never-built")
    failed = place.run("deploy", code=TodoctlError.exit_code)
    assert "can't be asked what it needs" in failed.err
    assert len(place.history()) == count


def test_a_failing_migration_never_reaches_the_services(place: Place) -> None:
    """New pods wait for a schema that does not come; the old ones serve on, and what the migration said is shown."""
    pods = {pod["metadata"]["name"] for pod in place.pods("api")}
    tag = place.with_image("divides", "migrations", files=migration(5, "SELECT 1/0"))
    place.change(kubernetes__images__tag=tag, kubernetes__migration__revision="0005")
    failed = place.run("deploy", code=TodoctlError.exit_code)
    assert "DivisionByZero" in failed.err
    assert place.running()["schema_revision"] == "0004"
    left = until(lambda: _only(place, "api", pods), "the old pods only", seconds=90)
    assert left == pods


def test_the_chart_must_wait_for_the_schema_of_its_image(place: Place) -> None:
    """Chart and image of different commits are refused before anything is changed."""
    place.change(kubernetes__migration__revision="0003")
    assert "needs 0004" in place.run("deploy", code=UsageError.exit_code).err


def test_a_killed_deploy_is_told_and_unlocked(place: Place) -> None:
    """Helm leaves its release pending: deploy and rollback refuse, unlock brings back what ran."""
    before = place.running()["revision"]
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "warning"})
    with place.interrupted("deploy", by=signal.SIGKILL):
        until(lambda: _pending(place, "upgrade"), "Helm is in the middle of it", seconds=120)
    assert place.history()[-1]["state"] == "pending-upgrade"
    for refused in ("deploy", "rollback"):
        assert "unlock" in place.run(refused, code=RefusedError.exit_code).err
    place.run("unlock")
    states = [item["state"] for item in place.history()]
    assert states[-2:] == ["failed", "deployed"]
    assert place.running()["returns_to"] == before
    assert "nothing to unlock" in place.run("unlock", code=UsageError.exit_code).err
    place.run("deploy")


def test_an_upgrade_under_load_fails_no_request(place: Place, chart: Chart) -> None:
    """Every pod is replaced while 50 requests in a second come, without retries: none fails, nothing acknowledged is lost."""
    image = place.image("api").replace("todo-api", "todo-migrations")
    place.change(kubernetes__workloads__default__env={"LOG_LEVEL": "warning"})
    with load.running(place.cluster, chart, place.namespace, image, rate=50) as seen:
        place.run("deploy")
        place.run("rollback")
    assert seen.told["failed"] == []
    assert seen.told["lost"] == 0
    assert seen.told["written"] > 1000


def test_the_address_that_a_cloud_gives_is_waited_for_and_told(place: Place) -> None:
    """The test plays the cloud: it gives the Service its address once everything else of the release is ready."""
    place.change(
        kubernetes__workloads__sync__service={"type": "LoadBalancer"},
        kubernetes__urls__sockets="https://sockets.example.org",
    )
    sync = ("--namespace", place.namespace, "service", "sync")
    with place.shell.start("-e", "there", "deploy", "--no-smoke") as deploy:
        assert deploy.stderr is not None
        told = iter(deploy.stderr.readline, "")
        assert any("waits for the cloud's balancer" in line for line in told)
        given = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}}
        patch = ("--subresource=status", "--type=merge", "--patch", json.dumps(given))
        place.cluster.kubectl("patch", *sync, *patch)
        out, err = deploy.communicate(timeout=60)
    assert deploy.returncode == 0, err
    assert "set in DNS: sockets.example.org A 203.0.113.7" in out + err
    place.change(kubernetes__workloads__sync__service={"type": "LoadBalancer", "port": 8443})
    place.cluster.kubectl(
        "patch", *sync, "--subresource=status", "--type=merge", "--patch", '{"status": {"loadBalancer": null}}'
    )
    late = place.run("deploy", "--no-smoke", "--timeout", "30", code=WaitTimeoutError.exit_code)
    assert "the release runs; its Service sync got no address" in late.err
    assert place.running()["revision"] == place.history()[-1]["revision"]
    place.change()
    place.run("deploy", "--no-smoke")


def test_two_at_once(place: Place) -> None:
    """The second is refused, and named who works."""
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "error"})
    with place.shell.start("-e", "there", "deploy", "--no-smoke") as first:
        until(
            lambda: place.cluster.run("get", "lease", "todo-releases", "-n", place.namespace).returncode == 0,
            "a lease",
            seconds=60,
        )
        assert "works on the environment" in place.run("deploy", code=RefusedError.exit_code).err
        first.communicate(timeout=300)
    assert first.returncode == 0


def test_going_back(place: Place) -> None:
    """The release before by default, as a new one; a dry run changes nothing; a failed one is no way back."""
    history = place.history()
    plan = place.run("rollback", "--dry-run", "-o", "json").json()
    assert place.history() == history
    made = place.run("rollback", "-o", "json").json()
    assert made["returns_to"] == plan["to"]
    failed = next(item["revision"] for item in history if item["state"] == "failed")
    assert "never ran well" in place.run("rollback", str(failed), code=RefusedError.exit_code).err
    assert "no release 99" in place.run("rollback", "99", code=UsageError.exit_code).err


def test_a_first_release_that_fails_is_removed(place: Place, crashing: str) -> None:
    """Nothing ran before, so nothing runs afterwards; its namespace and its evidence stay."""
    with place.elsewhere("first") as other:
        other.change(kubernetes__images__tag=crashing)
        failed = other.run("deploy", code=TodoctlError.exit_code)
        assert "it was removed" in failed.err
        assert not _deployments(other)
        assert list((other.shell.folder / "home" / "there" / "evidence").iterdir())


def test_a_killed_first_release_is_removed_by_unlock(place: Place) -> None:
    """There is nothing to go back to; afterwards a deploy begins anew."""
    with place.elsewhere("killed") as other:
        with other.interrupted("deploy", by=signal.SIGKILL):
            until(lambda: _pending(other, "install") or _deployments(other), "Helm has begun", seconds=120)
        assert other.history()[-1]["state"] == "pending-install"
        assert "unlock" in other.run("deploy", code=RefusedError.exit_code).err
        other.run("unlock")
        assert not _deployments(other)
        assert [item["state"] for item in other.history()] == ["failed"]


def test_an_interrupted_deploy_goes_back(place: Place) -> None:
    """Ctrl-C: exit 130, after what ran before runs again."""
    before, pods = place.running(), _names(place, "recurring")
    place.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "debug"})
    with place.interrupted("deploy", by=signal.SIGINT) as process:
        until(lambda: _names(place, "recurring") - pods, "a new pod beside the old one", seconds=120)
    assert process.returncode == 130
    assert [item["state"] for item in place.history()][-2:] == ["failed", "deployed"]
    assert place.running()["returns_to"] == before["revision"]
    place.run("smoke")


def test_back_over_a_migration_that_only_adds(place: Place) -> None:
    """The schema stays, and the earlier release's own Job leaves it alone."""
    older = place.running()["revision"]
    tag = place.with_image("adds", "migrations", files=ADDS)
    place.change(kubernetes__images__tag=tag, kubernetes__migration__revision="0005")
    assert place.run("deploy", "-o", "json").json()["schema_revision"] == "0005"
    assert place.run("rollback", "-o", "json").json()["returns_to"] == older
    assert place.running()["schema_revision"] == "0004"
    assert place.run("db", "status", "-o", "json", code=None).json()["current"] == "0005"


def test_no_way_back_behind_a_contract(place: Place) -> None:
    """A migration that takes something away needs agreement, and then the older release is refused for it."""
    older = place.running()["revision"]
    takes_away = migration(6, "DROP TABLE IF EXISTS api.nothing", 'phase = "contract"')
    tag = place.with_image("contract", "migrations", files=ADDS | takes_away)
    place.change(kubernetes__images__tag=tag, kubernetes__migration__revision="0006")
    assert "no way back" in place.run("deploy", code=RefusedError.exit_code).err
    assert place.run("deploy", "--allow-contract", "--yes", "-o", "json").json()["schema_revision"] == "0006"
    refused = place.run("rollback", str(older), "--force", "--yes", code=RefusedError.exit_code)
    assert "took away" in refused.err
    assert place.running()["schema_revision"] == "0006"


def _only(place: Place, component: str, wanted: set[str]) -> set[str]:
    found = {pod["metadata"]["name"] for pod in place.pods(component)}
    return found if found == wanted else set()


def _pending(place: Place, what: str) -> list[dict[str, Any]]:
    with suppress(json.JSONDecodeError):
        selector = f"--selector=owner=helm,status=pending-{what}"
        return list(place.cluster.get("--namespace", place.namespace, "secrets", selector)["items"])
    return []


def _deployments(place: Place) -> list[dict[str, Any]]:
    return list(place.cluster.get("--namespace", place.namespace, "deployments")["items"])


def _names(place: Place, component: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in place.pods(component)}
