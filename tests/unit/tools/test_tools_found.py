"""Tools that are already on a machine: which ones will do, and what is said about the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine
from todoctl.adapters.tools import dapr_found, go_toolchain, java, probe
from todoctl.adapters.tools.model import Absent, Tool


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', "17.0.15"),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "21" 2023-09-19', "21"),
        ('java version "25-ea" 2025-09-16', "25-ea"),
    ],
)
def test_a_java_of_17_or_later_will_do(machine: Machine, said: str, version: str) -> None:
    """Whatever surrounds the version in what `java -version` says."""
    machine.program(machine.bin / "java", f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\n")
    found = java.on_path(machine.site)
    assert found == Tool("jre", version, "PATH", machine.bin / "java", f"Java {version} is 17 or later")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'java version \"1.8.0_392\"' >&2", "is Java 1.8.0_392, 17 or later is needed"),
        ("echo 'openjdk version \"11.0.2\"' >&2", "is Java 11.0.2, 17 or later is needed"),
        ("echo 'No Java runtime present' >&2; exit 1", "does not say which version it is"),
    ],
)
def test_another_java_will_not_do(machine: Machine, script: str, reason: str) -> None:
    """Too old, or the stub that asks to install one."""
    machine.program(machine.bin / "java", f"#!/bin/sh\n{script}\n")
    found = java.on_path(machine.site)
    assert isinstance(found, Absent)
    assert reason in found.reason
    assert found.unfit


def test_java_home_is_looked_at_too(machine: Machine) -> None:
    """JAVA_HOME counts where PATH has no Java."""
    assert java.in_java_home(machine.site) == Absent("JAVA_HOME is not set")
    home = machine.root / "jdk"
    machine.program(home / "bin" / "java", "#!/bin/sh\necho 'openjdk version \"21.0.1\"' >&2\n")
    found = java.in_java_home(machine.with_environ(JAVA_HOME=str(home)).site)
    assert isinstance(found, Tool)
    assert (found.version, found.source) == ("21.0.1", "JAVA_HOME")


@pytest.mark.parametrize("name", ["daprd", "scheduler"])
def test_a_dapr_program_of_our_line_will_do(machine: Machine, name: str) -> None:
    """On PATH, in ~/.dapr/bin or brought by hand."""
    for folder, look, source in (
        (machine.bin, dapr_found.on_path, "PATH"),
        (machine.root / "home" / ".dapr" / "bin", dapr_found.in_dapr_home, "~/.dapr/bin"),
        (machine.site.by_hand, dapr_found.by_hand, "by hand"),
    ):
        program = machine.dapr(folder / name, name, "1.16.7")
        found = look(machine.site, name)
        assert isinstance(found, Tool)
        assert (found.version, found.source, found.path) == ("1.16.7", source, program)


@pytest.mark.parametrize(
    ("version", "marks", "reason"),
    [
        ("1.15.9", None, "is Dapr 1.15.9, line 1.16 is needed"),
        ("1.160.0", None, "is Dapr 1.160.0, line 1.16 is needed"),
        ("edge", None, "does not say which version it is"),
        ("1.16.0", (), "is not Dapr's daprd"),
        ("1.16.0", dapr_found.MARKS["daprd"][:1], "lacks nameresolution/sqlite, bindings/smtp, state/postgresql/v2"),
    ],
)
def test_another_daprd_will_not_do(machine: Machine, version: str, marks: tuple[str, ...] | None, reason: str) -> None:
    """Another line, no version, another program, or a build without our components."""
    machine.dapr(machine.bin / "daprd", version=version, marks=marks)
    found = dapr_found.on_path(machine.site, "daprd")
    assert isinstance(found, Absent)
    assert reason in found.reason
    assert found.unfit


def test_a_program_that_only_has_the_name_is_never_run(machine: Machine) -> None:
    """A `scheduler` on PATH may be anything."""
    machine.program(machine.bin / "scheduler", '#!/bin/sh\ntouch "$FAKE/was-run"\n')
    found = dapr_found.on_path(machine.site, "scheduler")
    assert isinstance(found, Absent)
    assert "is not Dapr's scheduler" in found.reason
    assert not (machine.fake / "was-run").exists()


def test_a_scheduler_without_a_version_is_as_old_as_the_daprd_beside_it(machine: Machine) -> None:
    """`dapr init` installs both from one release, and the scheduler has no `--version`."""
    program = machine.dapr(machine.bin / "scheduler", "scheduler")
    program.write_text(program.read_text().replace("buildinfo.version=", ""))
    assert isinstance(dapr_found.on_path(machine.site, "scheduler"), Absent)
    machine.dapr(machine.bin / "daprd", version="1.16.5")
    found = dapr_found.on_path(machine.site, "scheduler")
    assert isinstance(found, Tool)
    assert found.version == "1.16.5"


def test_a_program_is_asked_once_for_as_long_as_it_does_not_change(machine: Machine) -> None:
    """The answer is remembered in the cache, by the file's size and time."""
    machine.cache.mkdir()
    script = '#!/bin/sh\necho asked >> "$FAKE/asked"\necho \'openjdk version "{}"\' >&2\n'
    machine.program(machine.bin / "java", script.format("17.0.1"))
    for _ in range(2):
        assert probe.java_version(machine.site, machine.bin / "java") == "17.0.1"
    machine.program(machine.bin / "java", script.format("21.0.10"))
    assert probe.java_version(machine.site, machine.bin / "java") == "21.0.10"
    assert (machine.fake / "asked").read_text() == "asked\nasked\n"


@pytest.mark.parametrize("content", ["", "[1]", '{"a": ', "null"], ids=["empty", "a list", "cut off", "null"])
def test_a_broken_memory_is_as_good_as_none(machine: Machine, content: str) -> None:
    """The question is asked again."""
    machine.cache.mkdir()
    (machine.cache / "seen.json").write_text(content)
    machine.program(machine.bin / "java", "#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    assert probe.java_version(machine.site, machine.bin / "java") == "17.0.1"


@pytest.mark.parametrize(("version", "fits"), [("1.24.6", True), ("1.26.8", True), ("1.24.5", False), ("1.9", False)])
def test_go_must_be_new_enough(machine: Machine, version: str, fits: bool) -> None:
    """Versions are compared as numbers."""
    machine.go()
    found = go_toolchain.on_path(machine.with_environ(FAKE_GO_VERSION=version).site)
    assert isinstance(found, Tool) == fits


def test_a_path_with_relative_entries_gives_absolute_tools(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The platform's processes run elsewhere, so a relative path would lead nowhere."""
    machine.program(machine.bin / "java", "#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n")
    monkeypatch.chdir(machine.root)
    found = java.on_path(machine.with_environ(PATH=f"bin:{machine.root / 'base'}").site)
    assert isinstance(found, Tool)
    assert found.path == Path(machine.bin / "java")
