"""Releases on disk: whole, read-only, found changed when they are, removed although read-only; and their records."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.core.test_release_diff import manifest
from tests.unit.core.test_releases import release
from todoctl.adapters import release_store
from todoctl.adapters.release_store import Running, Store
from todoctl.errors import TodoctlError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a release."""
    return Store(tmp_path)


def made(store: Store, revision: int) -> Path:
    """A release with one file, and its folder."""
    draft = store.draft()
    (draft / "code" / "services").mkdir(parents=True)
    (draft / "code" / "services" / "x.py").write_text("print(1)\n")
    release_store.compile_all(draft / "code")
    store.keep(draft, revision, manifest(files=release_store.digests(draft / "code")))
    return store.path(revision)


def test_nothing_runs_where_there_is_no_release(store: Store) -> None:
    """An environment that was never deployed to runs the checkout."""
    assert store.history() == []
    assert store.running() == Running()


def test_a_release_is_kept_whole_and_read_only(store: Store) -> None:
    """Its folder appears by one rename, without a right to write for anybody, and is as its manifest says."""
    folder = made(store, 1)
    assert [path.name for path in store.folder.iterdir()] == ["1"]
    assert [path for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o222] == []
    assert store.has(1)
    assert store.changed_files(1) == []


def test_a_changed_release_is_noticed(store: Store) -> None:
    """A file that was edited, added or removed is named."""
    code = made(store, 1) / "code" / "services"
    code.chmod(0o755)
    (code / "x.py").chmod(0o644)
    (code / "x.py").write_text("print(2)\n")
    (code / "y.py").write_text("")
    assert store.changed_files(1) == ["services/x.py", "services/y.py"]


def test_what_runs(store: Store) -> None:
    """The deployed release with its code and values; the checkout where it was told to run instead."""
    made(store, 1)
    store.record(release(1, "deployed"))
    assert store.running() == Running(release(1, "deployed"), store.code(1), manifest().values)
    store.run_checkout(instead=True)
    assert store.running() == Running()
    store.run_checkout(instead=False)
    assert store.running().revision == 1


def test_records_come_in_their_order(store: Store) -> None:
    """By number, not by name."""
    store.folder.mkdir()
    for revision in (10, 9, 1):
        store.record(release(revision))
    assert [item.revision for item in store.history()] == [1, 9, 10]


def test_a_damaged_record_is_named(store: Store) -> None:
    """A record that can't be read is an error with its path, never a history with a gap."""
    store.folder.mkdir()
    (store.folder / "3.json").write_text("{")
    with pytest.raises(TodoctlError, match=r"3\.json is damaged"):
        store.history()


def test_drafts_of_the_dead_are_cleared(store: Store) -> None:
    """A draft of a killed deploy goes; one that a living command works on stays."""
    store.folder.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, living = store.folder / f".draft-{ended.pid}", store.folder / f".draft-{os.getppid()}"
    dead.mkdir(mode=0o555)
    living.mkdir()
    store.draft()
    assert not dead.exists()
    assert living.exists()


def test_old_code_goes_and_records_stay(store: Store) -> None:
    """Only the code of what runs and of the newest ones is kept."""
    for revision, state in ((1, "deployed"), (2, "superseded"), (3, "superseded")):
        made(store, revision)
        store.record(release(revision, state))
    store.forget_before(3)
    assert [store.has(revision) for revision in (1, 2, 3)] == [True, False, True]
    assert [item.revision for item in store.history()] == [1, 2, 3]
    with pytest.raises(TodoctlError, match="release 2 can't be read"):
        store.manifest(2)


def test_the_code_of_a_release_runs_on_its_own(tmp_path: Path) -> None:
    """A copy of the checkout tells what it needs, from its own files, and nothing is written beside them."""
    code = tmp_path / "code"
    release_store.copy_checkout(code)
    before = release_store.digests(code)
    told = release_store.describe(Path(sys.executable), code, os.environ)
    assert told["database"]["needs"] == told["database"]["migrations"][-1]["revision"]
    assert told["database"]["oldest"] in {item["revision"] for item in told["database"]["migrations"]}
    assert told["events"]["writes"].partition(".")[0] in told["events"]["reads"]
    assert all(item["sql"] for item in told["database"]["migrations"])
    assert release_store.digests(code) == before
    where = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import services.api, todoctl.core; print(services.api.__file__, todoctl.__file__)",
        ],
        env={**os.environ, **release_store.environ(code, os.environ)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(path.startswith(str(code)) for path in where.stdout.split())


def test_code_that_can_not_be_loaded_is_no_release(tmp_path: Path) -> None:
    """A mistake that keeps it from being loaded is told with its last words."""
    release_store.copy_checkout(tmp_path)
    broken = tmp_path / "services" / "migrations"
    (broken / "__init__.py").write_text("OLDEST_REVISION = 1 +\n")
    shutil.rmtree(broken / "__pycache__")  # which is not compared with the source
    with pytest.raises(TodoctlError, match="can't be loaded") as raised:
        release_store.describe(Path(sys.executable), tmp_path, os.environ)
    assert any("SyntaxError" in line for line in raised.value.detail)


def test_the_digest_is_of_the_sources() -> None:
    """Byte code of another Python makes no other release."""
    assert release_store.code_digest({"a.py": "1", "a.pyc": "1"}) == release_store.code_digest({"a.py": "1"})
    assert release_store.code_digest({"a.py": "1"}) != release_store.code_digest({"a.py": "2"})
