"""The pages in docs/ say what the program does now."""

from __future__ import annotations

import importlib.util
import re
import shlex
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
import yaml

import todoctl
from todoctl import cli, errors, settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
COMMANDS_PAGE = DOCS / "commands.md"
QUICKSTART = DOCS / "quickstart.md"
MINIKUBE, CLOUD = DOCS / "minikube.md", DOCS / "cloud.md"
CHANGELOG = ROOT / "CHANGELOG.md"
PAGES = sorted([*DOCS.rglob("*.md"), CHANGELOG, ROOT / "README.md"])


def load_generator() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


def read(path: Path) -> str:
    """The text of a page."""
    return path.read_text(encoding="utf-8")


def option_names(context: Any) -> list[str]:
    """The options of a command, short and long."""
    return [name for parameter in context.command.params for name in parameter.opts if name.startswith("-")]


@pytest.mark.parametrize("name", [name for group in cli.COMMANDS.values() for name, _ in group])
def test_every_entry_of_the_command_table_has_its_module(name: str) -> None:
    """A name in the table without a command behind it would fail only when somebody runs it."""
    assert typer.main.get_command(cli.app).commands[name].load().name == name  # type: ignore[attr-defined]


def test_the_reference_names_every_command_and_option() -> None:
    """docs/commands.md has a heading for each command and each of its options below it."""
    found = re.findall(r"^#+ (todoctl[^\n]*)\n(.*?)(?=^#|\Z)", read(COMMANDS_PAGE), re.MULTILINE | re.DOTALL)
    sections: dict[str, str] = dict(found)
    contexts = list(GENERATOR.walk())
    assert list(sections) == [context.command_path for context in contexts]
    for context in contexts:
        assert [name for name in option_names(context) if name not in sections[context.command_path]] == []


def test_generated_pages_are_fresh() -> None:
    """`python docs/generate.py` would change nothing."""
    stale = [path.name for path, text in GENERATOR.pages().items() if read(path) != text]
    recorded = re.search(r"as Typer ([\d.]+) writes it", read(COMMANDS_PAGE))
    if stale == [COMMANDS_PAGE.name] and recorded and recorded[1] != ".".join(version("typer").split(".")[:2]):
        pytest.skip(f"help was written by Typer {recorded[1]}; another version words it in another way")
    assert stale == [], "run: python docs/generate.py"


def test_every_environment_variable_is_documented() -> None:
    """What settings.py reads stands in the reference with what it gives."""
    names = [value for name, value in vars(settings).items() if name.endswith("_VARIABLE")]
    text = read(COMMANDS_PAGE)
    assert [name for name in names if f"| `{name}` |" not in text] == []


def test_every_exit_code_is_documented() -> None:
    """Each error class's code has a row in the reference and a word in the root help."""
    classes = [
        item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.TodoctlError)
    ]
    codes = {0, 130, *(item.exit_code for item in classes)}
    assert [code for code in codes if f"\n| {code} | " not in read(COMMANDS_PAGE)] == []
    assert [code for code in codes if not re.search(rf"\b{code} [a-z]", cli.app.info.epilog or "")] == []


def quoted_commands(path: Path) -> list[str]:
    """Every todoctl command line of a page: lines of its code blocks and inline code."""
    fence = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    blocks = "\n".join(fence.findall(read(path))).splitlines()
    inline = re.findall(r"`(todoctl [^`\n]+)`", fence.sub("", read(path)))
    typed = [part.strip() for line in [*blocks, *inline] for part in re.split(r"&&|\||;", line.partition("#")[0])]
    return sorted({line for line in typed if line.startswith("todoctl ")})


@pytest.mark.parametrize("line", [line for page in (QUICKSTART, MINIKUBE, CLOUD) for line in quoted_commands(page)])
def test_the_guides_show_commands_that_exist(line: str) -> None:
    """Each command line of a guide is one that todoctl accepts, with these options and arguments."""
    command: Any = typer.main.get_command(cli.app)
    context = command.make_context("todoctl", shlex.split(line)[1:])
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


def test_the_cloud_guide_names_every_secret() -> None:
    """The Secrets that the chart reads there, each with its name."""
    secrets = yaml.safe_load(read(ROOT / "chart" / "values.yaml"))["kubernetes"]["secrets"]
    # The administrator's is for the development database only.
    names = {item["name"] for item in secrets.values()} - {"todo-postgresql"}
    assert [name for name in names if f"`{name}`" not in read(CLOUD)] == []


@pytest.mark.parametrize("words", re.findall(r"^### .*?`([^`]+)`", read(QUICKSTART), re.MULTILINE))
def test_the_quickstart_quotes_messages_that_exist(words: str) -> None:
    """Each message that the quickstart explains is one that the code can say."""
    code = "\n".join(read(path) for path in sorted((ROOT / "todoctl").rglob("*.py")))
    assert words in code


def test_decisions_are_numbered_without_gaps() -> None:
    """Every number from 0001 on is taken once, and the file's heading repeats it."""
    files = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [path.name[:4] for path in files] == [f"{number:04}" for number in range(1, len(files) + 1)]
    assert [path.name for path in files if not read(path).startswith(f"# {path.name[:4]} ")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Each relative link of a page leads to a file of the checkout."""
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", read(page))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_changelog_has_its_form() -> None:
    """Sections are those of Keep a Changelog, the newest first, and this version is in it."""
    text = read(CHANGELOG)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[0].startswith("[Unreleased]")
    assert todoctl.__version__ in text
