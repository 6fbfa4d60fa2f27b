"""docs/attacks.md answers for each of the attacks 1 to 38: a test of its number, or why there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if re.match(r"\| \d", line)]
FOLDERS = {"attacks": ROOT / "tests" / "unit" / "services" / "attacks", "live": ROOT / "tests" / "live"}


def test_every_attack_has_its_row() -> None:
    """1 to 38, each once and in order."""
    assert [int(row[0]) for row in ROWS] == list(range(1, 39))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_has_its_tests(row: list[str]) -> None:
    """Each file that a row names has exactly one test of the row's number; a row without one gives a reason."""
    number, proof = int(row[0]), row[-1]
    files = re.findall(r"`([^`]+)`", proof)
    for name in files:
        folder, _, file = name.partition("/")
        text = (FOLDERS[folder] / file).read_text(encoding="utf-8")
        assert len(re.findall(rf"^(?:async )?def test_attack_{number:02}_", text, re.MULTILINE)) == 1, name
    assert files or re.match(r"does not apply: \w+", proof)


def test_every_test_of_an_attack_is_in_the_page() -> None:
    """No attack is tested in a file that its row does not name."""
    named = {(int(row[0]), name) for row in ROWS for name in re.findall(r"`([^`]+)`", row[-1])}
    found = {
        (int(number), f"{folder}/{file.name}")
        for folder, path in FOLDERS.items()
        for file in path.glob("*attacks.py")
        for number in re.findall(r"^(?:async )?def test_attack_(\d+)_", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == named
