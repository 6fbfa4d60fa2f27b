"""The cache: entries appear whole, are readable for everybody, and damage to them is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from todoctl.adapters.tools import store
from todoctl.errors import MissingError, RefusedError, TodoctlError
from todoctl.operations import tools


@pytest.fixture
def installed(tmp_path: Path) -> store.Entry:
    """An entry with a program, a text and a link."""
    target = store.entry(tmp_path, "tool", "1.0")
    with store.staging(tmp_path, "tool") as folder:
        made = folder / "made"
        (made / "bin").mkdir(parents=True)
        (made / "bin" / "run").write_text("program")
        (made / "bin" / "run").chmod(0o700)
        (made / "text").write_text("words")
        (made / "link").symlink_to("bin/run")
        store.commit(made, target)
    return target


def test_an_entry_is_sound_once_it_is_committed(installed: store.Entry) -> None:
    """A committed entry has no problem, at a glance or hashed, and nothing of its making is left."""
    assert installed.problem() == ""
    assert installed.problem(full=True) == ""
    assert not list(installed.path.parents[1].glob("tmp-*"))


def test_an_entry_that_was_never_made_is_not_installed(tmp_path: Path) -> None:
    """No folder, no tool."""
    assert store.entry(tmp_path, "tool", "1.0").problem() == "not installed"


def _truncate(entry: store.Entry) -> None:
    (entry.path / "text").write_text("wor")


def _rewrite(entry: store.Entry) -> None:
    (entry.path / "text").write_text("WORDS")


def _remove(entry: store.Entry) -> None:
    (entry.path / "bin" / "run").unlink()


def _redirect(entry: store.Entry) -> None:
    (entry.path / "link").unlink()
    (entry.path / "link").symlink_to("/bin/sh")


def _lose_manifest(entry: store.Entry) -> None:
    entry.manifest.unlink()


def _break_manifest(entry: store.Entry) -> None:
    entry.manifest.write_text('{"files": ')


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (_truncate, "text has 3 bytes in place of 5"),
        (_rewrite, "text has another content than when it was installed"),
        (_remove, "bin/run is missing"),
        (_redirect, "link points elsewhere"),
        (_lose_manifest, "the manifest is missing"),
        (_break_manifest, "the manifest can't be read"),
    ],
)
def test_damage_is_noticed_at_a_glance(
    installed: store.Entry, damage: Callable[[store.Entry], None], problem: str
) -> None:
    """Each kind of damage is named without hashing everything."""
    damage(installed)
    assert installed.problem().startswith(problem)


def test_damage_that_keeps_size_and_time_is_noticed_by_hashing(installed: store.Entry) -> None:
    """A flipped bit that changes neither size nor time is found by the full check."""
    before = (installed.path / "text").stat()
    (installed.path / "text").write_text("w0rds")
    os.utime(installed.path / "text", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert installed.problem() == ""
    assert installed.problem(full=True) == "text has another content than when it was installed"


def test_a_touched_file_is_still_sound(installed: store.Entry) -> None:
    """A copied cache has other times and the same content: it is good."""
    (installed.path / "text").touch()
    assert installed.problem() == ""


def test_sound_files_are_those_worth_keeping(installed: store.Entry) -> None:
    """After damage to one file the others can be kept."""
    _rewrite(installed)
    assert installed.sound_files() == {"bin/run", "link"}


def test_a_broken_entry_is_replaced_as_a_whole(installed: store.Entry, tmp_path: Path) -> None:
    """Committing again leaves only the new content."""
    _rewrite(installed)
    with store.staging(tmp_path, "tool") as folder:
        (folder / "made").mkdir()
        (folder / "made" / "new").write_text("new")
        store.commit(folder / "made", installed)
    assert installed.problem(full=True) == ""
    assert not (installed.path / "text").exists()


def test_everybody_can_use_what_was_made_under_a_narrow_umask(masked: None, tmp_path: Path) -> None:
    """Folders 755, programs 755, other files 644, whatever the umask: PostgreSQL runs as another user."""
    cache = tmp_path / "deep" / "cache"
    store.prepare(cache)
    target = store.entry(cache, "tool", "1.0")
    with store.staging(cache, "tool") as folder:
        (folder / "made" / "bin").mkdir(parents=True)
        (folder / "made" / "bin" / "run").touch(mode=0o700)
        (folder / "made" / "text").touch()
        store.commit(folder / "made", target)
    modes = {str(path.relative_to(cache)): path.stat().st_mode & 0o777 for path in cache.rglob("*")}
    assert modes == {
        "tool": 0o755,
        "tool/1.0": 0o755,
        "tool/1.0/bin": 0o755,
        "tool/1.0/bin/run": 0o755,
        "tool/1.0/text": 0o644,
        "tool/1.0/manifest.json": 0o644,
    }
    assert cache.stat().st_mode & 0o777 == 0o755


def test_what_a_killed_installation_left_is_swept(tmp_path: Path) -> None:
    """The next one for the same tool removes it, read-only folders included, and touches no other tool's."""
    stale, other = tmp_path / "tmp-tool-abc", tmp_path / "tmp-other-abc"
    (stale / "deep").mkdir(parents=True)
    (stale / "deep" / "file").touch()
    (stale / "deep").chmod(0o555)
    other.mkdir()
    with store.staging(tmp_path, "tool"):
        assert not stale.exists()
    assert other.exists()


def test_a_full_disk_is_named_before_work_begins(tmp_path: Path) -> None:
    """The message says how much is needed and how much is there."""
    with pytest.raises(
        TodoctlError, match=r"Kafka needs 976562\.5 GiB in .*, the disk has [\d.]+ [GM]iB free"
    ) as caught:
        store.need_space(tmp_path / "not" / "yet", 1_000_000_000, "Kafka")
    assert caught.value.exit_code == 1
    assert "TODOCTL_CACHE" in caught.value.hint


def test_a_cache_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Programs that another user can exchange are not run."""
    tmp_path.chmod(0o777)
    with pytest.raises(RefusedError, match="not to be trusted"):
        store.prepare(tmp_path)


def test_nothing_is_found_in_a_cache_that_others_can_write(tmp_path: Path) -> None:
    """Looking refuses it too, not only installing."""
    tmp_path.chmod(0o777)
    with pytest.raises(RefusedError, match="not to be trusted"):
        tools.find("kafka", tmp_path, environ={})


def test_a_cache_below_a_file_can_not_be_made(tmp_path: Path) -> None:
    """The message says why, the hint what to set."""
    (tmp_path / "file").touch()
    with pytest.raises(MissingError, match="can't be written") as caught:
        store.prepare(tmp_path / "file" / "cache")
    assert "TODOCTL_CACHE" in caught.value.hint
