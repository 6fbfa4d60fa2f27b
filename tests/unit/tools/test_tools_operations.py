"""Finding and installing: order of sources, several at once, news and their words."""

from __future__ import annotations

import os
import time

import pytest

from tests.unit.tools.machines import Machine
from todoctl.adapters.tools.catalog import catalog
from todoctl.adapters.tools.model import Progress, Step, Tool
from todoctl.errors import MissingError, UsageError
from todoctl.operations import tools
from todoctl.operations.tool_progress import Clock

ONE = "org.example:one:1.0"
JAVA = "#!/bin/sh\necho 'openjdk version \"17.0.1\"' >&2\n"


def find(machine: Machine, name: str) -> Tool | None:
    """What `find` gives."""
    return tools.find(name, machine.cache, environ=machine.environ, pins=machine.pins)


def install_all(machine: Machine, *names: str, seen: list[Progress] | None = None) -> list[Progress]:
    """All news until the end or an error; `seen` has them in both cases."""
    news: list[Progress] = [] if seen is None else seen
    for progress in tools.install_all(names, machine.cache, environ=machine.environ, pins=machine.pins):
        news.append(progress)  # noqa: PERF402 - an error must not lose them
    return news


def test_nothing_is_found_on_an_empty_machine(machine: Machine) -> None:
    """And looking makes nothing, not even the cache."""
    assert [find(machine, name) for name in tools.names(needed=False)] == [None] * 10
    assert not machine.cache.exists()


def test_an_unknown_tool_is_a_usage_error(machine: Machine) -> None:
    """The message names those that there are."""
    with pytest.raises(UsageError, match="no tool is called 'kubectl'; there are: jre, kafka"):
        find(machine, "kubectl")


def test_path_comes_before_everything_else(machine: Machine) -> None:
    """PATH, then ~/.dapr/bin, then by hand: the first that will do."""
    machine.dapr(machine.site.by_hand / "daprd", version="1.16.1")
    assert (found := find(machine, "daprd"))
    assert found.source == "by hand"
    machine.dapr(machine.root / "home" / ".dapr" / "bin" / "daprd", version="1.16.2")
    assert (found := find(machine, "daprd"))
    assert found.source == "~/.dapr/bin"
    machine.dapr(machine.bin / "daprd", version="1.15.0")
    assert (found := find(machine, "daprd"))
    assert found.source == "~/.dapr/bin"
    machine.dapr(machine.bin / "daprd", version="1.16.3")
    assert (found := find(machine, "daprd"))
    assert (found.source, found.version) == ("PATH", "1.16.3")


def test_the_list_says_why_an_earlier_source_was_not_taken(machine: Machine) -> None:
    """Each source that was looked at has its reason, in order."""
    machine.dapr(machine.bin / "daprd", version="1.15.0")
    listed = {item.name: item for item in tools.listing(machine.cache, environ=machine.environ, pins=machine.pins)}
    assert set(listed) == set(catalog(machine.pins))
    looked = listed["daprd"].looked
    assert [source for source, _ in looked] == ["PATH", "~/.dapr/bin", "by hand", "release", "go build"]
    assert "is Dapr 1.15.0, line 1.16 is needed" in looked[0][1].reason
    assert not listed["go"].needed


def test_damage_that_only_hashing_finds_is_listed_with_verify(machine: Machine) -> None:
    """`--verify` hashes; the entry is named and is no tool until it is repaired."""
    local = machine.jars(ONE)
    (kafka,) = [news.result for news in install_all(local, "kafka") if news.result]
    jar = tools.classpath(kafka)[0]
    before = jar.stat()
    jar.write_bytes(b"C" + jar.read_bytes()[1:])
    os.utime(jar, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert find(local, "kafka")
    listed = tools.listing(local.cache, environ=local.environ, verify=True, pins=local.pins)
    (item,) = [item for item in listed if item.name == "kafka"]
    assert item.tool is None
    assert "one-1.0.jar has another content" in item.broken
    list(tools.install("kafka", local.cache, environ=local.environ, verify=True, pins=local.pins))
    assert jar.read_text() == f"content of {ONE}"


def test_what_is_there_is_not_installed_again(machine: Machine) -> None:
    """The only news is the tool, and the cache stays untouched."""
    machine.program(machine.bin / "java", JAVA)
    (news,) = install_all(machine, "jre")
    assert news.result
    assert news.result.source == "PATH"
    assert not machine.cache.exists()


def test_one_that_fails_does_not_hold_the_others_up(machine: Machine) -> None:
    """Its error is news at once and is raised at the end; the others are installed."""
    local = machine.jars(ONE)
    local.program(local.bin / "java", JAVA)
    news: list[Progress] = []
    with pytest.raises(MissingError, match="postgresql"):
        install_all(local, "postgresql", "kafka", "jre", seen=news)
    assert {item.tool for item in news if item.result} == {"kafka", "jre"}
    assert {item.tool for item in news if item.error} == {"postgresql"}


def test_several_failures_are_told_together(machine: Machine) -> None:
    """Each with its own lines, and every way out in the hint."""
    with pytest.raises(MissingError, match="2 tools could not be installed") as caught:
        install_all(machine.jars(ONE), "jre", "postgresql")
    said = "\n".join(caught.value.detail)
    assert "jre (" in said
    assert "postgresql (" in said
    assert "todoctl tools install jre" in caught.value.hint


def test_the_programs_of_dapr_are_built_one_after_the_other(machine: Machine) -> None:
    """One group, one builder: the second uses what the first compiled."""
    machine.go()
    ready = [news.tool for news in install_all(machine, "daprd", "scheduler", "daprd") if news.result]
    assert ready == ["daprd", "scheduler"]


def test_stopping_in_the_middle_leaves_no_lock_and_no_folder(machine: Machine) -> None:
    """Who stops reading the news (Ctrl-C) ends the build and frees the lock."""
    machine.go()
    (machine.fake / "hold").touch()
    news = tools.install_all(["daprd"], machine.cache, environ=machine.environ, pins=machine.pins)
    assert next(item for item in news if item.phase == "compile")
    news.close()
    (machine.fake / "hold").unlink()
    assert not list(machine.cache.glob("tmp-*"))
    assert not list(machine.cache.glob("*.holder"))
    assert [item.phase for item in install_all(machine, "daprd")][-1] == "ready"


def test_looking_for_everything_is_quick(machine: Machine) -> None:
    """A start of the platform looks for five tools; the answers of programs are remembered."""
    machine.cache.mkdir()
    machine.program(machine.bin / "java", JAVA)
    machine.dapr(machine.bin / "daprd")
    machine.dapr(machine.bin / "scheduler", "scheduler")
    for _ in range(2):
        before = time.monotonic()
        for name in tools.names():
            find(machine, name)
        taken = time.monotonic() - before
    assert taken < 0.1


def _news(phase: str, elapsed: float, **more: float) -> Progress:
    return Progress("daprd", phase, "so far", more.get("fraction"), elapsed, more.get("left"))


def test_a_log_gets_one_line_per_phase_and_interval() -> None:
    """Every change of phase, and within a phase one in so many seconds."""
    news = [_news("download", 0), _news("download", 1), _news("compile", 2), _news("compile", 9), _news("compile", 12)]
    assert [item.elapsed for item in tools.thin(iter(news), every=10)] == [0, 2, 12]


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (_news("wait", 1), "so far"),
        (_news("compile", 1, fraction=0.5), "so far (50%)"),
        (_news("compile", 1, fraction=0.5, left=42), "so far (50%, about 42 s left)"),
        (_news("compile", 1, fraction=0.04, left=290), "so far (4%, about 5 min left)"),
    ],
)
def test_progress_in_words(progress: Progress, words: str) -> None:
    """What, how much of it, how much longer, as far as known."""
    assert tools.sentence(progress) == words


def test_the_first_estimate_is_by_experience(machine: Machine) -> None:
    """Before this run has a pace, the pinned figure is what can be said."""
    clock = Clock("daprd")
    (build,) = [source for source in catalog(machine.pins)["daprd"].sources if source.name == "go build"]
    clock.begin(build)
    estimate = clock.at(Step("download", "", 0.0)).estimate_seconds
    assert estimate is not None
    assert estimate >= machine.pins.dapr.go.seconds["daprd"] * 0.99
