"""docs/acceptance.md answers for every task of the task list, and what it calls met is there."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from todoctl.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "acceptance.md").read_text(encoding="utf-8")
TASKS = 391
PHASES = 15
DONE = {"met", "replaced"}
STATUSES = DONE | {f"open ({by})" for by in ("issue 4", "issue 5", "issue 6", "later")}


@dataclass(frozen=True)
class Row:
    """One task: its number, what it asks for, where it is met, what proves it, and how far it is."""

    number: str
    asked: str
    where: str
    proof: str
    status: str

    @property
    def paths(self) -> list[str]:
        """The files and folders that the row names as the place."""
        return [word for word in _code(self.where) if not word.startswith("todoctl ") and re.search(r"[/.]", word)]

    @property
    def tests(self) -> list[str]:
        """The tests that the row names."""
        return [word for word in _code(self.proof) if "::" in word]

    @property
    def commands(self) -> list[str]:
        """The commands that the row names."""
        return [word.split()[1] for word in _code(self.where + self.proof) if word.startswith("todoctl ")]


def _code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _rows() -> list[Row]:
    lines = [line for line in PAGE.splitlines() if re.match(r"\| T\d", line)]
    return [Row(*(cell.strip() for cell in line.strip().strip("|").split("|"))) for line in lines]


@cache
def _functions(path: str) -> frozenset[str]:
    """`name` and `Class::name` of every function in a test file."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(f"{node.name}::{inner.name}" if isinstance(node, ast.ClassDef) else inner.name)
    return frozenset(found)


ROWS = _rows()


def test_every_task_has_its_row() -> None:
    """T001 to T391, each number once, in order, none hidden in a range."""
    assert [row.number for row in ROWS] == [f"T{number:03}" for number in range(1, TASKS + 1)]


def test_rows_stand_under_their_phase() -> None:
    """The page has the list's fifteen phases in their order, and nothing left to fill in."""
    assert "TODO" not in PAGE
    headings = re.findall(r"^## Phase (\d+): ", PAGE, re.MULTILINE)
    assert headings == [str(number) for number in range(1, PHASES + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.number)
def test_a_row_is_true(row: Row) -> None:
    """Every cell is filled; what counts as done names a place that exists and a test that is there, or says why none."""
    assert row.status in STATUSES
    assert row.asked
    assert row.where
    if row.status in DONE:
        assert row.paths, "done, but no path says where"
        assert row.tests or "no test:" in row.proof, "done, but nothing proves it"
    assert [path for path in row.paths if row.status in DONE and not (ROOT / path).exists()] == []
    assert [test for test in row.tests if not _is_test(test)] == []
    known = {name for group in COMMANDS.values() for name, _ in group}
    assert [name for name in row.commands if row.status in DONE and name not in known] == []


def test_the_chart_has_the_version_that_the_list_asks_for() -> None:
    """T225: the chart is 2.0.0 or later."""
    chart = yaml.safe_load((ROOT / "chart" / "Chart.yaml").read_text(encoding="utf-8"))
    assert tuple(int(part) for part in chart["version"].split(".")) >= (2, 0, 0)


def _is_test(node: str) -> bool:
    path, _, name = node.partition("::")
    return (ROOT / path).is_file() and name in _functions(path) and name.rpartition("::")[2].startswith("test_")
