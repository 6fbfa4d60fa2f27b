"""The program's first lines: `--version` without an import, a missing extra by name, otherwise the command line."""

from __future__ import annotations

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
}


def main() -> None:
    """Run todoctl with the process's arguments and exit with its code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        sys.stdout.write(f"todoctl {__version__}\n")
        return
    try:
        from todoctl.cli import app

        app()
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        sys.stderr.write(
            f"✗ this command needs the Python package {error.name!r}, which is not installed\n"
            f"  next: pip install 'todoctl[{extra}]'   (or 'todoctl[all]' for everything)\n"
        )
        sys.exit(9)


if __name__ == "__main__":
    main()
