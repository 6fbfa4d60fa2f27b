"""Images on their way to a registry: what must be there first, what each builder is told, and what failures say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.program import Program
from tests.unit.sites import CHART, chart_values
from todoctl.adapters import image_registries
from todoctl.adapters.chart import read_values
from todoctl.adapters.image_builders import Builder
from todoctl.core.images import host_of, images, is_on_this_machine
from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError, UsageError
from todoctl.operations.image_delivery import Pushed, push
from todoctl.operations.images import Request

REGISTRY = "registry.example.org:5000/todo"
IMAGES = images(chart_values(), registry=REGISTRY)
DIGEST = f"sha256:{'1' * 64}"

# Stands in for a builder: it has the images that stand in the file `images` beside it (NAME ID), and writes down what it
# pushes; its answers have the form of docker's, podman's and buildah's.
_BUILDER = """#!/bin/sh
here=$(dirname "$0")
case "$1 $2" in
  "version --format"*) echo 28.0.1; exit 0 ;;
  "image inspect")
    case $3 in
      *RepoDigests*) echo "[\\"other.example.org/x@sha256:0\\",\\"${4%:*}@DIGEST\\"]"; exit 0 ;;
    esac
    sed -n "s|^$4 ||p" "$here/images" | grep . ; exit $? ;;
  "inspect --type=image") sed -n "s|^$4 ||p" "$here/images" | grep . ; exit $? ;;
esac
echo "$*" >> "$here/asked"
if [ -f "$here/refusal" ]; then cat "$here/refusal" >&2; exit 125; fi
for word in "$@"; do
  case $word in --digestfile=*) echo "DIGEST" > "${word#--digestfile=}" ;; esac
done
echo "Copying blob"
""".replace("DIGEST", DIGEST)


class Desk:
    """A builder of a kind, and what it was asked."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        program = folder / name
        program.write_text(_BUILDER)
        program.chmod(0o755)
        self.builder = Builder(name, program)
        (folder / "images").touch()

    def has(self, *references: str, id_: str = "sha256:abc") -> None:
        with (self.folder / "images").open("a") as file:
            file.writelines(f"{reference} {id_}\n" for reference in references)

    def refuses(self, words: str) -> None:
        (self.folder / "refusal").write_text(words)

    def push(self, *services: str, tags: tuple[str, ...] = ("1", "c0ffee"), insecure: bool = False) -> list[Pushed]:
        request = Request(IMAGES, services, tags)
        news = push(request, self.builder, insecure=insecure, environ=os.environ)
        return [item.done for item in news if item.done]

    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(params=["docker", "podman", "buildah"])
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    """Each kind of builder."""
    return Desk(tmp_path, request.param)


def test_an_image_is_pushed_by_all_its_tags_and_told_by_its_digest(desk: Desk) -> None:
    """Whoever pushes: docker's daemon, podman or buildah."""
    desk.has(f"{REGISTRY}/todo-api:1", f"{REGISTRY}/todo-api:c0ffee")
    (pushed,) = desk.push("api")
    assert (pushed.service, pushed.digest, pushed.tags) == ("api", DIGEST, ("1", "c0ffee"))
    assert pushed.reference == f"{REGISTRY}/todo-api@{DIGEST}"
    assert [line.split()[-1].removeprefix("docker://") for line in desk.asked()] == [
        f"{REGISTRY}/todo-api:1",
        f"{REGISTRY}/todo-api:c0ffee",
    ]
    assert not any("tls-verify" in line for line in desk.asked())


def test_plain_http_is_for_those_who_ask(desk: Desk) -> None:
    """Podman and buildah are told on the command line; docker's daemon has it in its configuration."""
    desk.has(f"{REGISTRY}/todo-api:1")
    desk.push("api", tags=("1",), insecure=True)
    (line,) = desk.asked()
    assert ("--tls-verify=false" in line) == (desk.builder.name != "docker")


def test_nothing_is_pushed_before_all_are_built(desk: Desk) -> None:
    """What is missing is named, with the command that builds it."""
    desk.has(f"{REGISTRY}/todo-api:1")
    with pytest.raises(TodoctlError, match=f"not built with {desk.builder.name}: {REGISTRY}/todo-auth:1") as caught:
        desk.push("api", "auth", tags=("1",))
    assert "todoctl images build api auth" in caught.value.hint
    assert desk.asked() == []


def test_tags_that_are_two_images_are_refused(desk: Desk) -> None:
    """A commit's tag from another build than the version's would be a lie."""
    desk.has(f"{REGISTRY}/todo-api:1")
    desk.has(f"{REGISTRY}/todo-api:c0ffee", id_="sha256:other")
    with pytest.raises(TodoctlError, match="different images of"):
        desk.push("api")
    assert desk.asked() == []


def test_a_name_without_a_registry_can_not_be_pushed(desk: Desk) -> None:
    """It would go to whoever the builder takes for the default."""
    request = Request(images(chart_values()), ("api",), ("1",))
    with pytest.raises(UsageError, match="todo-api has no registry"):
        list(push(request, desk.builder, insecure=False, environ=os.environ))


def test_a_refusal_says_how_to_log_in(desk: Desk) -> None:
    """With the builder's own command."""
    desk.has(f"{REGISTRY}/todo-api:1")
    desk.refuses("Copying blob x\nunauthorized: authentication required\n")
    with pytest.raises(MissingError, match="does not let you push") as caught:
        desk.push("api", tags=("1",))
    assert caught.value.hint.startswith(f"{desk.builder.name} login registry.example.org:5000")
    assert caught.value.detail == ("unauthorized: authentication required",)


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        ("dial tcp 127.0.0.1:1: connect: connection refused", UnhealthyError, "--registry"),
        ("dial tcp: lookup nowhere.invalid: no such host", UnhealthyError, "--registry"),
        ("denied: requested access to the resource is denied", MissingError, "podman login"),
        ("unexpected status: 403 Forbidden", MissingError, "podman login"),
        ("http: server gave HTTP response to HTTPS client", RefusedError, "--insecure"),
        ("x509: certificate signed by unknown authority", UnhealthyError, "certs.d/r.example.org/ca.crt"),
        ("no space left on device", TodoctlError, "podman push"),
    ],
)
def test_what_a_push_failed_of_is_told_apart(said: str, kind: type[TodoctlError], hint: str) -> None:
    """By the words of the network and of registries."""
    error = image_registries.failure("podman", "r.example.org/api:1", [said], insecure=False)
    assert type(error) is kind
    assert hint in error.hint


def test_dockers_daemon_is_told_of_plain_http_in_its_own_file() -> None:
    """An option of ours could not help there."""
    words = ["http: server gave HTTP response to HTTPS client"]
    assert "daemon.json" in image_registries.failure("docker", "r.example.org/api:1", words, insecure=True).hint


@pytest.mark.parametrize(
    ("name", "host", "is_here"),
    [
        ("todo-api", "", False),
        ("library/todo-api", "", False),
        ("localhost/todo-api", "localhost", True),
        ("localhost:5000/todo-api", "localhost:5000", True),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", True),
        ("[::1]:5000/a", "[::1]:5000", True),
        ("registry.localhost/a", "registry.localhost", True),
        ("registry.example.org/a", "registry.example.org", False),
        ("10.0.0.1:5000/a", "10.0.0.1:5000", False),
        ("localhost.example.org/a", "localhost.example.org", False),
    ],
)
def test_the_registry_in_a_name(name: str, host: str, is_here: bool) -> None:
    """As docker reads names, and whether its packets leave this machine."""
    assert host_of(name) == host
    assert is_on_this_machine(host) == is_here


def test_the_command_writes_values_for_a_deploy(tmp_path: Path) -> None:
    """JSON on stdout, digests in a values file that the chart's model takes."""
    desk = Desk(tmp_path, "buildah")
    desk.has(*(f"{REGISTRY}/todo-{name}:7" for name in IMAGES))
    program = Program(tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    words = ("images", "push", "--registry", REGISTRY, "--tag", "7", "--builder", "buildah", "-o", "json")
    done = program.run(*words, "--digests", "digests.yaml")
    assert done.code == 0, done.err
    rows = done.json()
    assert {row["service"] for row in rows} == set(IMAGES)
    assert {row["digest"] for row in rows} == {DIGEST}
    written = (program.work / "digests.yaml").read_text()
    assert f"registry: {REGISTRY}" in written
    values = read_values(CHART, (program.work / "digests.yaml",))
    assert values.kubernetes is not None
    assert values.kubernetes.images.digests == {row["service"]: row["digest"] for row in rows}
