"""Each guard of the services is missed when it is gone: a copy of the tree without it must fail its tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.catalogue import FAULTS, Fault
from tests.program import ROOT

_COPIED = ("services", "todoctl", "chart", "tests")
_FAILED = 1  # pytest's exit code for tests that ran and failed; a file that can't be read gives another


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of everything that the services' tests need."""
    for name in _COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_copy_itself_passes(tree: Path) -> None:
    """Without a fault every test that has to notice one passes, and what it imports is the copy."""
    where = [sys.executable, "-c", "import services, todoctl; print(services.__file__, todoctl.__file__)"]
    shown = subprocess.run(where, env=_environ(tree), cwd=tree, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == [str(tree / "services/__init__.py"), str(tree / "todoctl/__init__.py")]
    ended = _run(tree, sorted({fault.noticed_by for fault in FAULTS}))
    assert ended.returncode == 0, ended.stdout[-4000:]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_noticed(tree: Path, fault: Fault) -> None:
    """The test named for it fails as soon as the guard is gone."""
    file = tree / fault.file
    text = file.read_text()
    for old, new in fault.edits:
        assert text.count(old) == 1, f"{fault.file} has {text.count(old)} times: {old}"
        text = text.replace(old, new)
    file.write_text(text)
    compile(text, fault.file, "exec")
    ended = _run(tree, [fault.noticed_by])
    assert ended.returncode == _FAILED, f"pytest ended with {ended.returncode}:\n{ended.stdout[-4000:]}"


def _run(tree: Path, selected: list[str]) -> subprocess.CompletedProcess[str]:
    tests = [f"tests/unit/services/{name}" for name in selected]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command, env=_environ(tree), cwd=tree, capture_output=True, text=True, check=False, timeout=900
    )


def _environ(tree: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree)}
