"""Files that appear as a whole or not at all, whoever else writes the same one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from todoctl.errors import RefusedError
from todoctl.operations.dlq.files import new_file


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    """And not before; beside it nothing stays."""
    path = tmp_path / "a"
    with new_file(path) as file:
        file.stream.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_not_wanted_or_fails_leaves_nothing(tmp_path: Path) -> None:
    """Also a beginning of it."""
    with new_file(tmp_path / "a") as file:
        file.stream.write(b"empty")
        file.is_wanted = False
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "a") as file:
        file.stream.write(bytes([1 // 0]))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    """It may be the only copy of what it has."""
    path = tmp_path / "a"
    with pytest.raises(RefusedError, match="is there already"), new_file(path):
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_writers_one_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """What the first has written stays as it is."""
    path = tmp_path / "a"
    with new_file(path) as file:
        file.stream.write(b"first")
        file.stream.flush()
        with pytest.raises(RefusedError, match="another process writes"), new_file(path):
            pytest.fail("both write")
    assert path.read_bytes() == b"first"


_KILLED = """
import os, signal, sys
from pathlib import Path
from todoctl.operations.dlq.files import new_file
with new_file(Path(sys.argv[1])) as file:
    file.stream.write(b"a long beginning")
    file.stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    """It stands in nobody's way, and nothing of it is in the next one's file."""
    path = tmp_path / "a"
    assert subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False).returncode == -9
    assert [one.name for one in tmp_path.iterdir()] == [".a.partial"]
    with new_file(path) as file:
        file.stream.write(b"short")
    assert path.read_bytes() == b"short"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_writer_misses_is_the_writer_s_own_error(tmp_path: Path) -> None:
    """A file that is not there while another one is written is no reason to begin anew."""
    with pytest.raises(FileNotFoundError, match="missing"), new_file(tmp_path / "a"):
        (tmp_path / "missing").read_bytes()
    assert list(tmp_path.iterdir()) == []
