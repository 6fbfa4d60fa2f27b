"""`up`, `down` and `images load` on a Minikube: the way to the cluster, and back; the cluster itself is in tests/cluster."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from tests.minikube import FakeMinikube
from tests.program import Ended, Program, until
from tests.unit.sites import chart_values
from todoctl.core.images import images, names_content

SERVICES = set(images(chart_values()))


@pytest.fixture
def fake(tmp_path: Path) -> FakeMinikube:
    """Minikube, a builder and helm; no cluster answers behind it."""
    found = FakeMinikube(tmp_path)
    found.with_builder()
    found.write("helm", "echo 'v3.19.0+g3d8990f'")
    nowhere = {
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }
    found.put("kubeconfig", yaml.safe_dump(nowhere))
    return found


@pytest.fixture
def todoctl(fake: FakeMinikube) -> Program:
    """It with these programs and no others."""
    return fake.program()


def up(todoctl: Program) -> Ended:
    """As far as the server that nobody runs: exit 3."""
    ended = todoctl.run("-e", "minikube", "up")
    assert ended.code == 3, ended
    assert "http://127.0.0.1:9" in ended.err, ended.err
    return ended


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    """With how to get each of them, and nothing is begun."""
    ended = Program(tmp_path, {"PATH": "/usr/sbin-nothing"}).run("-e", "minikube", "up")
    assert ended.code == 9
    for words in (
        "minikube is not on this machine",
        "helm is not on this machine",
        "no program that builds images is not on PATH",
        "todoctl tools install minikube",
        "todoctl tools install helm",
        "install docker, podman or buildah",
    ):
        assert words in ended.err


def test_no_driver_ends_with_nine(fake: FakeMinikube, todoctl: Program) -> None:
    """Before anything is built."""
    fake.put("no-driver")
    ended = todoctl.run("-e", "minikube", "up")
    assert ended.code == 9
    assert "kvm2: Not installed" in ended.err
    assert fake.built() == []


def test_from_nothing_to_the_cluster_and_again(fake: FakeMinikube, todoctl: Program) -> None:
    """The profile is made once, images are built and loaded once; other images only where something changed."""
    up(todoctl)
    (start,) = fake.calls("start")
    assert {"--cpus=4", "--memory=8192m"} <= set(start.split())
    assert (set(fake.built()), len(fake.built())) == (SERVICES, len(SERVICES))
    profile = fake.profile()
    assert profile is not None
    assert {name.partition(":")[0] for name in profile["Images"]} == {f"localhost/todo-{name}" for name in SERVICES}
    assert all(names_content(name) for name in profile["Images"])
    values = yaml.safe_load((todoctl.home / "minikube" / "images.yaml").read_text())["kubernetes"]["images"]
    assert profile["Images"][0].endswith(f":{values['tag']}")
    again = up(todoctl)
    assert len(fake.calls("start")) == 1
    assert len(fake.built()) == len(SERVICES)
    assert len(fake.calls("image load")) == len(SERVICES)
    assert "building" not in again.err


def test_a_killed_up_goes_on(fake: FakeMinikube, todoctl: Program) -> None:
    """Killed in the middle of the machine's making: the next one starts the same profile, as ours."""
    fake.put("hold")
    process = todoctl.start("-e", "minikube", "up", start_new_session=True)
    until(lambda: fake.profile() is not None, "the profile is begun")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    fake.remove("hold")
    up(todoctl)
    profile = fake.profile()
    assert profile is not None
    assert (profile["Host"], profile["Config"]["KubernetesConfig"]["APIServerNames"]) == (
        "Running",
        ["todoctl.internal"],
    )


def test_an_interrupted_up_leaves_no_process(fake: FakeMinikube, todoctl: Program) -> None:
    """Exit 130, and minikube was told to end."""
    fake.put("hold")
    process = todoctl.start("-e", "minikube", "up")
    until(lambda: fake.profile() is not None, "the profile is begun")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    profile = fake.profile()
    assert profile is not None
    assert profile["Starts"] == 0


def test_a_failed_build_is_gone_on_from(fake: FakeMinikube, todoctl: Program) -> None:
    """What was built before it is not built again."""
    (fake.bin / "buildah-state").mkdir()
    broken = fake.bin / "buildah-state" / "broken"
    broken.write_text("audit")
    failed = todoctl.run("-e", "minikube", "up")
    assert (failed.code, "no space left on device" in failed.err) == (1, True), failed.err
    broken.unlink()
    up(todoctl)
    assert sorted(fake.built()) == sorted([*SERVICES, "audit"])


def test_images_that_a_node_does_not_take_are_missed(fake: FakeMinikube, todoctl: Program) -> None:
    """Minikube ends with 0 when a load failed."""
    fake.put("deaf")
    ended = todoctl.run("-e", "minikube", "up")
    assert ended.code == 1
    assert "did not take localhost/todo-auth:src-" in ended.err
    assert not (todoctl.home / "minikube" / "images.yaml").exists()


def test_a_small_profile_is_refused(fake: FakeMinikube, todoctl: Program) -> None:
    """Minikube can't make it larger."""
    fake.have(cpus=2, memory=4000)
    ended = todoctl.run("-e", "minikube", "up")
    assert ended.code == 8
    assert "has 2 CPUs and 4000 MiB" in ended.err
    assert fake.calls("start") == []


def test_a_profile_of_somebody_else_is_used_and_not_stopped(fake: FakeMinikube, todoctl: Program) -> None:
    """Neither stopped nor removed, unless told; its name is in the refusal."""
    fake.have(host="Stopped")
    assert "was not made by todoctl; it is used" in up(todoctl).err
    for words in (("down",), ("down", "--purge", "--yes")):
        refused = todoctl.run("-e", "minikube", *words)
        assert (refused.code, "'minikube' was not made by todoctl" in refused.err) == (8, True), refused
    assert fake.calls("stop", "delete") == []
    stopped = todoctl.run("-e", "minikube", "down", "--foreign")
    assert (stopped.code, "Minikube profile minikube stopped" in stopped.err) == (0, True), stopped


def test_down_and_purge(fake: FakeMinikube, todoctl: Program) -> None:
    """Stopped it can be started again; purged nothing of it is left. Other profiles stay."""
    up(todoctl)
    assert todoctl.run("-e", "minikube", "down").code == 0
    again = todoctl.run("-e", "minikube", "down")
    assert (again.code, "nothing was running" in again.err) == (0, True)
    up(todoctl)
    assert "--cpus" not in fake.calls("start")[-1], "the profile is as it was made"
    unasked = todoctl.run("-e", "minikube", "down", "--purge")
    assert (unasked.code, "remove the Minikube profile 'minikube'" in unasked.err) == (8, True), unasked
    purged = todoctl.run("-e", "minikube", "down", "--purge", "--yes")
    assert purged.code == 0, purged.err
    assert fake.profile() is None
    assert fake.calls("delete") == ["delete --output=json --profile=minikube"]
    assert not (todoctl.home / "minikube").exists()


def test_images_are_loaded_by_hand(fake: FakeMinikube, todoctl: Program) -> None:
    """Those that were built of what lies there now; the next deploy takes them."""
    early = todoctl.run("-e", "minikube", "images", "load", "api", "--builder", "buildah")
    assert (early.code, "next: todoctl -e minikube images build api" in early.err) == (1, True), early.err
    fake.have()
    assert todoctl.run("-e", "minikube", "images", "build", "api", "--builder", "buildah").code == 0
    done = todoctl.run("-e", "minikube", "images", "load", "api", "--builder", "buildah", "-o", "json")
    assert done.code == 0, done.err
    (row,) = done.json()
    profile = fake.profile()
    assert profile is not None
    assert profile["Images"] == [row["reference"]]
    assert "todoctl -e minikube deploy takes the images with the tag src-" in done.err
