"""The real minikube on a machine that has no driver for it, as far as it goes there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.minikube import FakeMinikube
from tests.program import Program
from todoctl.adapters.minikube import Minikube
from todoctl.errors import MissingError
from todoctl.operations import tools
from todoctl.settings import load

CACHE = load(os.environ, cwd=Path("/")).cache


@pytest.fixture(scope="module")
def program() -> Path:
    """It, where it was brought: building it takes minutes."""
    found = tools.find("minikube", CACHE, environ=os.environ)
    if found is None:
        pytest.skip("todoctl tools install minikube brings it")
    return found.path


@pytest.fixture
def place(tmp_path: Path, program: Path) -> FakeMinikube:
    """A PATH with a builder and helm, and nothing that is a driver."""
    fake = FakeMinikube(tmp_path)
    fake.with_builder()
    fake.write("helm", "echo 'v3.19.0+g3d8990f'")
    (fake.bin / "minikube").unlink()
    (fake.bin / "minikube").symlink_to(program)
    (fake.bin / "sh").symlink_to("/bin/sh")
    return fake


def environ(place: FakeMinikube) -> dict[str, str]:
    """Minikube with a home of its own."""
    return {
        "PATH": str(place.bin),
        "HOME": str(place.folder),
        "MINIKUBE_HOME": str(place.folder / "minikube"),
        "MINIKUBE_WANTUPDATENOTIFICATION": "false",
        "KUBECONFIG": str(place.folder / "kubeconfig"),
    }


def test_without_a_driver_up_ends_with_nine(place: FakeMinikube) -> None:
    """Each driver that Minikube considered is named with what it lacks; nothing is built, nothing is left."""
    todoctl = Program(place.folder, environ(place))
    ended = todoctl.run("-e", "minikube", "up")
    assert ended.code == 9, ended
    assert "Minikube has no driver that it can use" in ended.err
    for driver in ("docker", "podman", "qemu2"):
        assert f"  │ {driver}: Not installed" in ended.err, ended.err
    assert "next: " in ended.err
    assert place.built() == []
    assert not (place.folder / "kubeconfig").exists()
    purged = todoctl.run("-e", "minikube", "down", "--purge", "--yes")
    assert purged.code == 0, purged.err


def test_the_real_answers_have_the_forms_that_are_read(place: FakeMinikube) -> None:
    """No profile, no machine, no images; a driver that was chosen and is not there."""
    minikube = Minikube(place.bin / "minikube", "todo-nowhere", environ(place))
    assert minikube.found() is None
    assert minikube.troubles() == ("there is no machine",)
    assert not minikube.runs()
    chosen = Minikube(minikube.program, minikube.profile, {**minikube.environ, "MINIKUBE_DRIVER": "qemu2"})
    with pytest.raises(MissingError, match="'qemu2' provider was not found") as caught:
        list(chosen.create(cpus=4, memory=8192))
    assert caught.value.hint.startswith("Install qemu-system")
    assert minikube.found() is None
    list(minikube.delete())
