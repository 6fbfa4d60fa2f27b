"""One profile of Minikube: what is asked of the program, and what is made of its answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.minikube import FakeMinikube
from todoctl.adapters.minikube import Minikube, _failure, _told
from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError


@pytest.fixture
def fake(tmp_path: Path) -> FakeMinikube:
    """The program without any profile."""
    return FakeMinikube(tmp_path)


@pytest.fixture
def minikube(fake: FakeMinikube) -> Minikube:
    """The profile `minikube` of it."""
    environ = {**fake.environ, "KUBECONFIG": str(fake.folder / "kubeconfig")}
    return Minikube(fake.bin / "minikube", "minikube", environ)


def test_a_profile_is_made_and_known_as_ours(fake: FakeMinikube, minikube: Minikube) -> None:
    """With the processors and memory that were asked for; the mark is in the profile itself."""
    assert minikube.found() is None
    assert minikube.troubles() == ("there is no machine",)
    told = list(minikube.create(cpus=4, memory=8192))
    assert told[0].startswith("Initial Minikube Setup: ")
    assert "Creating Container: Creating docker container (CPUs=4, Memory=8192MB) ..." in told
    found = minikube.found()
    assert found is not None
    assert (found.cpus, found.memory, found.driver, found.is_ours) == (4, 8192, "docker", True)
    assert minikube.troubles() == ()
    (call,) = fake.calls("start")
    assert {"--keep-context", "--interactive=false", "--output=json", "--profile=minikube"} <= set(call.split())


def test_a_profile_of_somebody_else_is_not_ours(fake: FakeMinikube, minikube: Minikube) -> None:
    """It has no mark; starting it does not give it one."""
    fake.have(host="Stopped")
    assert set(minikube.troubles()) == {
        f"minikube: {part} Stopped" for part in ("Host", "Kubelet", "APIServer", "Kubeconfig")
    }
    assert not minikube.runs()
    list(minikube.start())
    found = minikube.found()
    assert found is not None
    assert (minikube.runs(), found.is_ours) == (True, False)


def test_stop_and_delete(fake: FakeMinikube, minikube: Minikube) -> None:
    """The kubeconfig gets a context of the profile's name, and the current one stays what it was."""
    part = {"clusters": "cluster", "users": "user", "contexts": "context"}
    server = {key: [{"name": "there", name: {"x": 1}}] for key, name in part.items()}
    fake.put("kubeconfig", yaml.safe_dump(server))
    kubeconfig = Path(minikube.environ["KUBECONFIG"])
    list(minikube.create(cpus=4, memory=8192))
    assert yaml.safe_load(kubeconfig.read_text())["contexts"][0]["name"] == "minikube"
    list(minikube.stop())
    assert (minikube.runs(), minikube.found() is not None) == (False, True)
    assert yaml.safe_load(kubeconfig.read_text())["contexts"] == []
    list(minikube.delete())
    assert minikube.found() is None


def test_a_machine_without_a_driver(fake: FakeMinikube, minikube: Minikube) -> None:
    """Each driver with why it can't be used, and how to get one."""
    fake.put("no-driver")
    with pytest.raises(MissingError, match="no driver that it can use: Found docker") as caught:
        list(minikube.create(cpus=4, memory=8192))
    assert {line.partition(":")[0] for line in caught.value.detail} == {
        "docker",
        "kvm2",
        "podman",
        "qemu2",
        "virtualbox",
    }
    assert "https://minikube.sigs.k8s.io/docs/drivers/" in caught.value.hint


def test_a_machine_without_room(fake: FakeMinikube, minikube: Minikube) -> None:
    """Minikube's own advice is the next step."""
    fake.put("no-room")
    with pytest.raises(RefusedError, match="more than your system limit 7900MB") as caught:
        list(minikube.create(cpus=4, memory=8192))
    assert "minikube start --memory=3900mb" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "name", "kind"),
    [
        (65, "PROVIDER_QEMU2_NOT_FOUND", MissingError),
        (59, "PR_KVM_USER_PERMISSION", MissingError),
        (29, "RSRC_INSUFFICIENT_CORES", RefusedError),
        (49, "INET_DOWNLOAD_BLOCKED", UnhealthyError),
        (80, "GUEST_START", TodoctlError),
        (14, "MK_USAGE", TodoctlError),
    ],
)
def test_reasons_are_told_apart_by_what_they_are_about(code: int, name: str, kind: type[TodoctlError]) -> None:
    """Minikube's names and exit codes say that."""
    events = [{"kind": "error", "name": name, "message": "it is so", "advice": "Do\n  this", "exitcode": str(code)}]
    error = _failure("start", "minikube", code, events, ())
    assert type(error) is kind
    assert "it is so" in error.message
    assert error.hint.startswith("Do this")


def test_a_docker_with_too_little_memory_is_no_room() -> None:
    """On a Mac, say: Minikube takes it for wrong usage."""
    message = "Docker Desktop has only 3931MB memory but you specified 8192MB"
    events = [{"kind": "error", "name": "MK_USAGE", "message": message, "advice": "", "exitcode": "14"}]
    error = _failure("start", "minikube", 14, events, ())
    assert type(error) is RefusedError
    assert message in error.message


def test_a_death_without_a_word_of_json_shows_what_there_was() -> None:
    """A panic, say."""
    error = _failure("start", "p", 2, [], ("goroutine 1", "panic: oh"))
    assert error.message == "minikube start failed: panic: oh"
    assert error.hint == "minikube logs -p p"


def test_downloads_are_told_with_their_progress() -> None:
    """As they are for whoever waits."""
    assert (
        _told({"kind": "download.progress", "artifact": "preload.tar", "progress": "0.42"})
        == "downloading preload.tar 42%"
    )
    assert _told({"kind": "download", "artifact": "preload.tar"}) == "downloading preload.tar"
    assert _told({"kind": "info", "message": "MINIKUBE_HOME=/x"}) == ""


@pytest.mark.parametrize(
    ("said", "troubles"),
    [
        ("null", ("there is no machine",)),
        ("", ("there is no machine",)),
        (
            json.dumps(
                [
                    {
                        "Name": "m",
                        "Host": "Running",
                        "Kubelet": "Running",
                        "APIServer": "Paused",
                        "Kubeconfig": "Configured",
                    },
                    {
                        "Name": "m02",
                        "Host": "Running",
                        "Kubelet": "Running",
                        "APIServer": "Irrelevant",
                        "Kubeconfig": "Irrelevant",
                    },
                ]
            ),
            ("m: APIServer Paused",),
        ),
    ],
)
def test_states_in_all_their_shapes(tmp_path: Path, said: str, troubles: tuple[str, ...]) -> None:
    """One node is an object, several are a list, a machine that is gone is null."""
    program = tmp_path / "minikube"
    program.write_text(f"#!/bin/sh\nprintf '%s' '{said}'\n")
    program.chmod(0o755)
    assert Minikube(program, "m", {}).troubles() == troubles
