"""Images: their names, what they are built from, and by which command."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.sites import CHART, ROOT, chart_values
from todoctl import __version__
from todoctl.adapters import image_builders
from todoctl.adapters.chart import read_values
from todoctl.adapters.image_builders import Builder, ImageError
from todoctl.core.images import images
from todoctl.errors import MissingError, TodoctlError, UsageError
from todoctl.operations.images import Request, build, content_tag, context, public_tags

VALUES = chart_values()
IMAGES = images(VALUES)

# Stands in for a builder: writes an id, says what it was asked, and fails for the service that it is told to.
_BUILDER = """#!/bin/sh
for word in "$@"; do
  case $word in
    --iidfile=*) echo "sha256:abc" > "${word#--iidfile=}" ;;
    --build-arg=SERVICE=$BROKEN) echo "no space left"; exit 3 ;;
  esac
done
echo "asked: $*"
"""


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    """A program that behaves as a builder does."""
    program = tmp_path / "buildah"
    program.write_text(_BUILDER)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return Builder("buildah", program)


def test_every_service_has_an_image_named_as_its_pods_ask_for_it() -> None:
    """The services, the migrations and the mail sink; with the registry and prefix of the values."""
    assert set(IMAGES) == {*VALUES.services, "migrations", "mailsink"}
    assert IMAGES["api"].reference("1.2") == "todo-api:1.2"
    cloud = images(read_values(CHART, (CHART / "values-cloud.yaml",)))
    assert cloud["api"].name == "registry.example.org/todo/todo-api"
    assert images(VALUES, registry="localhost/")["auth"].name == "localhost/todo-auth"
    assert (IMAGES["api"].port, IMAGES["migrations"].port, IMAGES["mailsink"].port) == (8000, 0, 1025)


def test_values_without_a_cluster_have_no_images() -> None:
    """There is no name to give them."""
    with pytest.raises(ValueError, match="kubernetes"):
        images(VALUES.model_copy(update={"kubernetes": None}))


def test_a_context_holds_what_the_dockerfile_copies_and_nothing_else(tmp_path: Path) -> None:
    """No command line, no tests, no caches: what is not there can't change an image."""
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    (vendor / "socket.io.esm.min.js").write_text("export {}")
    with context(ROOT, vendor) as folder:
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {path.split("/")[0] for path in found} == {"Dockerfile", "requirements", "todoctl", "services", "vendor"}
    assert {path for path in found if path.startswith("requirements/")} == {
        "requirements/services.lock",
        "requirements/mailsink.lock",
    }
    assert all(p.startswith(("todoctl/core/", "todoctl/__init__")) for p in found if p.startswith("todoctl/"))
    assert not [path for path in found if "__pycache__" in path]
    assert "vendor/socket.io.esm.min.js" in found


def test_an_installed_todoctl_brings_the_dockerfile_along(tmp_path: Path) -> None:
    """The wheel has Dockerfile and locks in todoctl/_image, the code beside."""
    (tmp_path / "todoctl" / "core").mkdir(parents=True)
    (tmp_path / "todoctl" / "__init__.py").touch()
    (tmp_path / "services").mkdir()
    packed = tmp_path / "todoctl" / "_image"
    packed.mkdir()
    for name in ("Dockerfile", "services.lock", "mailsink.lock"):
        (packed / name).write_text(name)
    with context(tmp_path, None) as folder:
        assert (folder / "requirements" / "services.lock").read_text() == "services.lock"
        assert (folder / "Dockerfile").read_text() == "Dockerfile"


def test_a_folder_without_a_dockerfile_is_said(tmp_path: Path) -> None:
    """Neither a checkout nor an installation."""
    with pytest.raises(TodoctlError, match="no Dockerfile"), context(tmp_path, None):
        pass


def test_images_are_built_one_after_the_other(builder: Builder) -> None:
    """Each with its service, port, libraries and base; the id is the builder's."""
    request = Request(IMAGES, ("api", "mailsink"), ("t", "u"), "localhost/python:3.11")
    news = list(build(request, builder, source=ROOT, vendor=None, environ={"BROKEN": "none"}))
    built = [item.done for item in news if item.done]
    assert [(item.service, item.reference, item.id) for item in built] == [
        ("api", "todo-api:t", "sha256:abc"),
        ("mailsink", "todo-mailsink:t", "sha256:abc"),
    ]
    asked = [item.line for item in news if item.line.startswith("asked:")]
    assert {"--tag=todo-api:t", "--tag=todo-api:u"} <= set(asked[0].split())
    for argument in ("SERVICE=api", "PORT=8000", "LOCK=services", "BASE_IMAGE=localhost/python:3.11"):
        assert f"--build-arg={argument}" in asked[0]
    assert "--build-arg=LOCK=mailsink" in asked[1]


def test_a_failed_build_shows_the_builders_last_words(builder: Builder) -> None:
    """And those built before it stay."""
    request = Request(IMAGES, (), ("t",))
    seen = []
    with pytest.raises(ImageError, match="todo-api:t") as caught:
        seen += [item.done for item in build(request, builder, source=ROOT, vendor=None, environ={"BROKEN": "api"})]
    assert caught.value.detail == ("no space left",)
    assert "--build-arg=SERVICE=api" in caught.value.hint


def test_an_unknown_service_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(UsageError, match="no image of absent"):
        Request(IMAGES, ("absent",), ("t",)).chosen()


@pytest.mark.parametrize("name", image_builders.BUILDERS)
def test_a_build_has_one_time_for_all_files(name: str) -> None:
    """Whatever builds: two builds of one content are to be one image."""
    command = Builder(name, Path("/p"), ("--root", "/r")).build_command(
        Path("/c"), ("n:t", "n:u"), {"A": "b"}, Path("/id")
    )
    assert command[:3] == ["/p", "--root", "/r"]
    assert command[-1] == "/c"
    assert {"--build-arg=A=b", "--iidfile=/id", "--tag=n:t", "--tag=n:u"} <= set(command)
    assert any("315532800" in word for word in command)


def test_the_first_builder_on_the_path_is_taken(tmp_path: Path) -> None:
    """Docker before podman before buildah; a named one or none at all is said."""
    for name in ("podman", "buildah"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    environ = {"PATH": str(tmp_path), "TODOCTL_BUILDER_OPTIONS": "--root /r"}
    assert image_builders.find(environ).name == "podman"
    assert image_builders.find(environ, "buildah") == Builder("buildah", tmp_path / "buildah", ("--root", "/r"))
    (tmp_path / "docker").write_text("#!/bin/sh\necho Cannot connect to the Docker daemon >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    assert image_builders.find(environ).name == "podman", "a docker without its daemon can't build"
    with pytest.raises(MissingError, match="its daemon does not answer"):
        image_builders.find(environ, "docker")
    (tmp_path / "docker").unlink()
    with pytest.raises(MissingError, match="docker is not on PATH"):
        image_builders.find(environ, "docker")
    with pytest.raises(MissingError, match="no program that builds images"):
        image_builders.find({"PATH": "/nowhere"})
    with pytest.raises(UsageError, match="kaniko is no builder"):
        image_builders.find(environ, "kaniko")


def test_the_command_tells_what_it_built(tmp_path: Path, builder: Builder) -> None:
    """JSON on stdout, progress on stderr."""
    environ = {**os.environ, "PATH": f"{builder.program.parent}:/usr/bin:/bin", "TODOCTL_HOME": str(tmp_path / "home")}
    environ["TODOCTL_CACHE"] = str(tmp_path / "cache")
    done = subprocess.run(
        [sys.executable, "-m", "todoctl", "images", "build", "auth", "--builder", "buildah", "-o", "json"],
        env={**environ, "BROKEN": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["service"], row["reference"], row["id"]) == ("auth", "todo-auth:0.1.0", "sha256:abc")
    version, *_, content = row["tags"]
    assert (version, content) == (__version__, content_tag(ROOT, None))


def test_other_content_has_another_tag(tmp_path: Path) -> None:
    """The tag by which a Minikube gets its images: the same for the same files, wherever they lie."""
    for name in ("one", "two"):
        (tmp_path / name / "todoctl" / "core").mkdir(parents=True)
        (tmp_path / name / "services").mkdir()
        (tmp_path / name / "requirements").mkdir()
        for file in ("Dockerfile", "todoctl/__init__.py", "requirements/services.lock", "requirements/mailsink.lock"):
            (tmp_path / name / file).write_text(file)
    tags = [content_tag(tmp_path / name, None) for name in ("one", "two")]
    assert re.fullmatch(r"src-[0-9a-f]{12}", tags[0])
    assert tags[0] == tags[1]
    (tmp_path / "two" / "services" / "more.py").write_text("x = 1\n")
    assert content_tag(tmp_path / "two", None) != tags[0]
    assert content_tag(tmp_path / "one", tmp_path) == tags[0], "a folder without the client is as none"


def test_images_are_tagged_by_version_and_commit(tmp_path: Path) -> None:
    """Of the checkout itself: not of one that an installation lies in; what differs from the commit is said."""
    assert public_tags(tmp_path) == (__version__,)
    for arguments in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)
    version, commit = public_tags(tmp_path)
    assert version == __version__
    assert re.fullmatch(r"[0-9a-f]{12}", commit)
    (tmp_path / "README").touch()
    assert public_tags(tmp_path)[1] == commit, "what is in no image changes nothing"
    (tmp_path / "Dockerfile").touch()
    assert public_tags(tmp_path)[1] == f"{commit}-dirty"
    inside = tmp_path / "inside"
    inside.mkdir()
    assert public_tags(inside) == (__version__,)


def test_image_libraries_are_those_that_the_tests_run_with() -> None:
    """Each pin of an image's lock file is dev.lock's, with its hashes; no library of the command line is among them."""
    pins = {name: _pins(name) for name in ("dev", "services", "mailsink")}
    for name in ("services", "mailsink"):
        assert pins[name].items() <= pins["dev"].items()
        assert not {"typer", "rich", "kubernetes", "confluent-kafka", "pyhelm3", "supervisor", "pytest"} & set(
            pins[name]
        )
        text = (ROOT / "requirements" / f"{name}.lock").read_text()
        assert text.count("--hash=sha256:") >= len(pins[name])


def test_the_dockerfile_is_not_root_and_has_no_installer_left() -> None:
    """The last stage copies, removes what installs, and runs as a number."""
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "USER 65532:65532" in last
    assert "pip install" not in last
    assert "site-packages/*" in last
    assert "CMD exec python -m services.${SERVICE}" in last


def _pins(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", text, re.MULTILINE))
