"""The program's first lines: `--version` without an import, a missing extra by name, otherwise the command line."""

from __future__ import annotations

import gc
import os
import sys

from todoctl import __version__

_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "yaml": "cli",
    "httpx": "cli",
    "platformdirs": "cli",
    "supervisor": "local",
    "psutil": "local",
    "jgo": "local",
    "filelock": "local",
    "psycopg": "services",
    "sqlalchemy": "services",
    "alembic": "services",
    "fastapi": "services",
    "uvicorn": "services",
    "confluent_kafka": "kafka",
    "kubernetes": "kubernetes",
    "pyhelm3": "kubernetes",
    "websockets": "kubernetes",
}


def main() -> None:
    """Run todoctl with the process's arguments and exit with its code."""
    _open_closed_streams()
    try:
        _run()
    finally:
        _write_out()
        # The end of the process frees everything: a search for cycles before it would take a fifth of a short command's time.
        gc.freeze()


def _open_closed_streams() -> None:
    """A standard stream that the caller closed (`>&-`) is None in Python; what goes there is thrown away instead."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115 -- lives as long as we


def _run() -> None:
    if sys.argv[1:] in (["--version"], ["-V"]):
        _write_out(f"todoctl {__version__}\n")
        return
    _start_quickly()
    try:
        from todoctl.cli import app

        app(prog_name="todoctl")
    except KeyboardInterrupt:
        # Imports take a moment, and who interrupts them gets no other answer than later.
        sys.stderr.write("✗ interrupted\n")
        sys.exit(130)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        sys.stderr.write(
            f"✗ this command needs the Python package {error.name!r}, which is not installed\n"
            f"  next: in todoctl's checkout, pip install '.[{extra}]'   (or '.[all]' for everything)\n"
        )
        sys.exit(9)


def _start_quickly() -> None:
    """What an import would do again and again, and find nothing."""
    # Modules are made of objects that stay: the collector need not look at them for each 700 that are new.
    gc.set_threshold(20_000)
    # Pydantic would read the metadata of every installed package to find plugins; Typer, too, goes without.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _write_out(text: str = "") -> None:
    """Write `text` and what is buffered; the interpreter would tell of a failure in its own words, with exit code 120."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        import errno

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return  # the reader went away (`| head`): that is its right
        hint = "  next: free some space, then run the same command again\n" if error.errno == errno.ENOSPC else ""
        sys.stderr.write(f"✗ the result could not be written: {error.strerror}\n{hint}")
        sys.exit(1)


if __name__ == "__main__":
    main()
