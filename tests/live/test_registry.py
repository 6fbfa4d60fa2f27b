"""`todoctl images push` with buildah and a real registry: digests, a password, plain HTTP, and the ways it can fail."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Ended, Program
from tests.registry import ACCOUNT, PASSWORD, Registry, registry
from todoctl import __version__

# The registry is built once, which takes two minutes.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("buildah") is None or os.geteuid() != 0, reason="needs buildah and root"),
]
IMAGE = "todo-api"


class Desk:
    """todoctl and buildah with a storage and an authentication file of their own."""

    def __init__(self, folder: Path) -> None:
        self.options = f"--root {folder}/storage --runroot {folder}/run --storage-driver vfs"
        auth = {"REGISTRY_AUTH_FILE": str(folder / "auth.json")}
        self.todoctl = Program(folder, {"TODOCTL_BUILDER_OPTIONS": self.options, **auth})
        (folder / "auth.json").write_text("{}")
        (folder / "content").write_text("something\n")
        (folder / "Containerfile").write_text("FROM scratch\nCOPY content /\n")
        self.folder = folder
        self.buildah("build", "--isolation=chroot", "--timestamp=1", "--tag=base", str(folder))

    def buildah(self, *arguments: str, text: str = "") -> str:
        done = subprocess.run(
            ["buildah", *self.options.split(), *arguments],
            env=self.todoctl.environ,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def has(self, home: str, tag: str = "7") -> None:
        """The image under the name that a push to a registry gives it."""
        self.buildah("tag", "base", f"{home}/{IMAGE}:{tag}")

    def push(self, home: str, *options: str, tag: str = "7") -> Ended:
        words = ("--registry", home, "--builder", "buildah", "--tag", tag, "-o", "json")
        return self.todoctl.run("images", "push", "api", *words, *options)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Gone with its layers afterwards."""
    found = Desk(tmp_path)
    yield found
    found.buildah("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def open_registry() -> Iterator[Registry]:
    """One that lets everybody in, by every address of this machine."""
    with registry("0.0.0.0") as found:
        yield found


def test_the_digest_is_the_registrys(desk: Desk, open_registry: Registry) -> None:
    """By it, and by the tag, the registry gives the same manifest; a second push changes nothing."""
    home = open_registry.name()
    desk.has(home)
    first, second = desk.push(home), desk.push(home)
    assert first.code == 0, first.err
    (row,), (again,) = first.json(), second.json()
    assert row["digest"] == again["digest"]
    assert row["reference"] == f"{home}/{IMAGE}@{row['digest']}"
    by_tag, by_digest = (open_registry.manifest(IMAGE, name) for name in ("7", row["digest"]))
    assert (by_tag.status_code, by_tag.content) == (200, by_digest.content)
    assert by_tag.headers["docker-content-digest"] == row["digest"]


def test_without_a_tag_version_and_commit_are_pushed(desk: Desk, open_registry: Registry) -> None:
    """The commit's tag is the checkout's, with a word where it differs from it; both are one manifest."""
    home = open_registry.name()
    missing = desk.todoctl.run("images", "push", "api", "--registry", home, "--builder", "buildah")
    assert (missing.code, "not built with buildah" in missing.err) == (1, True), missing.err
    assert "next: todoctl images build api" in missing.err
    tags = [line.rpartition(":")[2] for line in missing.err.splitlines() if line.startswith(f"  │ {home}")]
    assert tags[0] == __version__
    for tag in tags:
        desk.has(home, tag)
    done = desk.todoctl.run("images", "push", "api", "--registry", home, "--builder", "buildah", "-o", "json")
    assert done.code == 0, done.err
    assert done.json()[0]["tags"] == tags
    assert {open_registry.manifest(IMAGE, tag).headers["docker-content-digest"] for tag in tags} == {
        done.json()[0]["digest"]
    }


def test_a_registry_that_asks_for_a_password(desk: Desk) -> None:
    """Without one exit 9 with the command that logs in; after that command it goes."""
    with registry(asks=True) as asking:
        home = asking.name()
        desk.has(home)
        refused = desk.push(home)
        assert refused.code == 9, refused.err
        assert f"next: buildah login 127.0.0.1:{asking.port}" in refused.err
        words = ("--username", ACCOUNT, "--password-stdin", "--tls-verify=false", f"127.0.0.1:{asking.port}")
        desk.buildah("login", *words, text=PASSWORD)
        done = desk.push(home)
        assert done.code == 0, done.err
        assert asking.manifest(IMAGE, done.json()[0]["digest"]).status_code == 200
        assert PASSWORD not in done.err + done.out + refused.err


def test_plain_http_away_from_this_machine_is_refused(desk: Desk, open_registry: Registry) -> None:
    """Exit 8, unless somebody says that it is wanted."""
    address = _own_address()
    home = open_registry.name(address)
    desk.has(home)
    refused = desk.push(home)
    assert (refused.code, "speaks plain HTTP" in refused.err) == (8, True), refused.err
    done = desk.push(home, "--insecure")
    assert done.code == 0, done.err


def test_a_registry_that_is_away(desk: Desk) -> None:
    """Exit 3, with its name."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        home = f"127.0.0.1:{free.getsockname()[1]}/todo"
    desk.has(home)
    done = desk.push(home)
    assert (done.code, f"the registry {home.partition('/')[0]} can't be reached" in done.err) == (3, True), done.err


def _own_address() -> str:
    """An address of this machine that is not its loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no other address than the loopback")
        address = str(probe.getsockname()[0])
    if address.startswith("127."):
        pytest.skip("this machine has no other address than the loopback")
    return address
