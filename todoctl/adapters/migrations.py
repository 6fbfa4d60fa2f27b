"""The services' migrations, run as the program they ship as: `python -m services.migrations`."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from todoctl.errors import TodoctlError, UsageError


class MigrationError(TodoctlError):
    """A migration failed; the database is as it was before that migration."""


def run(python: Path, environ: Mapping[str, str], url: str, *arguments: str, seconds: float) -> dict[str, Any]:
    """Run `upgrade`, `downgrade REVISION` or `status`; gives the status after it.

    Raises:
        MigrationError: it failed; the detail has its last words.
        UsageError: there is no such revision.
    """
    command = [str(python), "-P", "-m", "services.migrations", *arguments]
    try:
        done = subprocess.run(
            command,
            env={**environ, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MigrationError(
            f"the migration did not end within {seconds:.0f} s",
            hint="todoctl db status; another runner may hold the lock",
        ) from error
    if done.returncode == UsageError.exit_code:
        reason = done.stderr.strip().rpartition("error: ")[2]
        raise UsageError(f"migrations: {reason}", hint="todoctl db status")
    if done.returncode:
        detail = tuple(done.stderr.splitlines()[-12:])
        raise MigrationError(f"migrations: {arguments[0]} failed", detail=detail, hint="todoctl db status")
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError) as error:
        raise MigrationError("the migrations program did not tell the schema's status") from error


def fingerprint(code: Path | None = None) -> str:
    """A digest of the migration files that would run, of a release's code or the installed ones.

    The same digest has the same newest revision.
    """
    spec = importlib.util.find_spec("services")
    installed = (spec.submodule_search_locations or []) if spec else []
    digest = hashlib.sha256()
    for root in [str(code / "services")] if code else installed:
        for path in sorted((Path(root) / "migrations" / "versions").glob("*.py")):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
