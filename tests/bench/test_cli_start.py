"""How long todoctl takes to say its version and its help, against Python alone and a small Typer program."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.paired import command, compare

_TWO_COMMANDS = '''
import typer

app = typer.Typer()


@app.command()
def one() -> None:
    """Do one thing."""


@app.command()
def two() -> None:
    """Do another."""


app()
'''


def test_version_against_bare_python() -> None:
    """`todoctl --version` takes at most twice as long as `python -I -c pass`."""
    todoctl = str(Path(sys.executable).with_name("todoctl"))
    ratio = compare(command([todoctl, "--version"]), command([sys.executable, "-I", "-c", "pass"]), rounds=40)
    print(f"\ntodoctl --version against python -I -c pass: {ratio}")
    assert ratio.median <= 2


def test_help_against_a_small_typer_program(tmp_path: Path) -> None:
    """`todoctl --help` takes at most 1.3 times as long as the help of a Typer program with two commands."""
    small = tmp_path / "small.py"
    small.write_text(_TWO_COMMANDS)
    todoctl = str(Path(sys.executable).with_name("todoctl"))
    ratio = compare(command([todoctl, "--help"]), command([sys.executable, str(small), "--help"]), rounds=25)
    print(f"\ntodoctl --help against a two-command Typer program: {ratio}")
    assert ratio.median <= 1.3
