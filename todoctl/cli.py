"""The root command: global options, the lazy command table, and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from todoctl import __version__
from todoctl.errors import MissingError, TodoctlError, UsageError

# Group, command, one line of help. A command's module is imported when the command runs: `--help` and completion
# stay as quick as Typer itself.
COMMANDS: dict[str, tuple[tuple[str, str], ...]] = {
    "Platform": (
        ("up", "Bring the platform up and prove that it works."),
        ("down", "Stop the platform; --purge also removes its data."),
        ("restart", "Restart services with their sidecars, after an edit for instance."),
        ("status", "Show every part with its observed health."),
        ("doctor", "Check everything that can be wrong and name the command that fixes it."),
        ("logs", "Show logs of apps and sidecars, merged in time order."),
        ("open", "Print every address; on a terminal open the page."),
        ("smoke", "Play the main job through the public API and show its timeline."),
    ),
    "Releases": (
        ("images", "Build the images of the services."),
        ("deploy", "Make a release of the code and values at hand and switch to it, service by service."),
        ("diff", "Show what a deploy, or going back to a release, would change, with its risks."),
        ("history", "List the releases: what, when, by whom, and what became of each."),
        ("rollback", "Go back to an earlier release, when it can live with what there is now."),
        ("unlock", "Repair a release whose deploy was killed: what ran before runs again."),
    ),
    "Kafka": (
        ("topics", "List, describe, apply, tail and append to topics; show lag."),
        ("groups", "List, describe and move consumer groups."),
        ("dlq", "See dead letters, and repair them: list, plan, replay."),
        ("trace", "Follow a task, event, request or letter everywhere, and name the gap."),
    ),
    "Data": (
        ("db", "Show or migrate the database schema."),
        ("mail", "List, show and open the mails that the local sink keeps."),
        ("users", "Make a user an operator, or take that back."),
        ("verify", "Prove that what is kept is whole: the audit log."),
    ),
    "Setup": (
        ("install", "Install an operator in the cluster: Dapr, Strimzi, sealed secrets, monitoring."),
        ("uninstall", "Remove an operator from the cluster, when nothing depends on it."),
        ("tools", "List or install the programs that environments use."),
        ("env", "List environments and show where each setting comes from."),
    ),
}


class _Lazy(TyperCommand):
    """A command's name and help; the command itself is loaded when it is resolved."""

    def load(self) -> Any:
        module = import_module(f"todoctl.commands.{self.name}")
        command = typer.main.get_command(module.app)
        command.name = self.name
        return command


class Shell(TyperGroup):
    """The root group: loads commands lazily and turns known errors into a message and an exit code."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for commands in COMMANDS.values():
            for name, text in commands:
                self.add_command(_Lazy(name, help=text, rich_markup_mode=None), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Resolve as usual, then put the real command in the place of its table entry."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, _Lazy) else command, rest

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The table entry for help; the real command where completion walks on into it."""
        command = super().get_command(ctx, cmd_name)
        if ctx.resilient_parsing and isinstance(command, _Lazy):
            return command.load()
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's signature
        """Write the command table, one section per group."""
        for group, commands in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl([(name, text) for name, text in commands if name in self.commands])

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Parse the command line; `--help` and `--version` write and end here."""
        with _exit_codes():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _exit_codes(ctx):
            return super().invoke(ctx)


@contextmanager
def _exit_codes(ctx: typer.Context | None = None) -> Iterator[None]:
    """Turns what ends a command into its message and exit code; the only place that knows exit codes."""
    try:
        yield
    except TodoctlError as error:
        raise _failed(error, ctx) from error
    except KeyboardInterrupt as error:
        sys.stderr.write("✗ interrupted\n")
        raise typer.Exit(130) from error
    except BrokenPipeError as error:
        # The reader went away (`| head`): that is its right, and no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from error
    except OSError as error:
        if error.errno not in _REFUSED_BY_SYSTEM:
            raise
        where = f"{error.filename}: " if error.filename else ""
        message = f"the system refused: {where}{error.strerror}"
        if _is_output_lost():
            message = f"the result could not be written: {error.strerror}"
        is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "free some space, then run the same command again" if is_full else "todoctl doctor"
        raise _failed(_REFUSED_BY_SYSTEM[error.errno](message, hint=hint), ctx) from error


def _is_output_lost() -> bool:
    """Whether stdout takes nothing any more; then what waits to be written there is given up, and no second error follows."""
    try:
        sys.stdout.write("")  # where Python does not buffer, this alone tries again what was not written
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


# A full disk or a missing permission can meet us at any file: a fact about the machine, no bug.
_REFUSED_BY_SYSTEM: dict[int | None, type[TodoctlError]] = {
    errno.ENOSPC: TodoctlError,
    errno.EDQUOT: TodoctlError,
    errno.EROFS: MissingError,
    errno.EACCES: MissingError,
    errno.EPERM: MissingError,
    errno.ENAMETOOLONG: UsageError,
}


def _failed(error: TodoctlError, ctx: typer.Context | None) -> typer.Exit:
    from todoctl import screen

    if ctx is not None and error.hint:
        from todoctl.commands import context

        error.hint = context.aimed(ctx, error.hint)
    screen.fail(error)
    return typer.Exit(error.exit_code)


@dataclass(frozen=True)
class Globals:
    """The global options as typed; commands turn them into settings."""

    environment: str | None
    config: Path | None


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"todoctl {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Shell,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 unhealthy, 4 differences, 5 verdict failed, "
    "6 partly done, 7 timed out, 8 refused, 9 something is missing, 130 interrupted.",
)


@app.callback()
def root(
    ctx: typer.Context,
    environment: Annotated[
        str | None,
        typer.Option(
            "-e", "--environment", metavar="NAME", help="Environment: local, minikube, cloud or one of yours."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Configuration file instead of todoctl.toml.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("-V", "--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run an event-driven Todo platform: bring it up, look inside, repair it."""
    ctx.obj = Globals(environment, config)
