"""squawk, the linter of PostgreSQL migrations: which statements lock whom, and what takes something away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from todoctl.core.releases import LockRisk, Risk
from todoctl.errors import MissingError, TodoctlError

_SECONDS = 60

# Rules that say something about locks or about those who still use the old schema; the others are matters of style.
# Source: https://squawkhq.com/docs/rules and the program's own list, squawk-cli 2.70.
_LOCKS: Mapping[str, Risk] = {
    "adding-field-with-default": "high",
    "adding-foreign-key-constraint": "medium",
    "adding-not-nullable-field": "high",
    "adding-required-field": "high",
    "adding-serial-primary-key-field": "high",
    "ban-alter-domain-with-add-constraint": "high",
    "ban-concurrent-index-creation-in-transaction": "high",
    "ban-revoke": "medium",
    "constraint-missing-not-valid": "medium",
    "disallowed-unique-constraint": "high",
    "prefer-repack": "high",
    "require-concurrent-index-creation": "medium",
    "require-concurrent-index-deletion": "medium",
    "require-concurrent-partition-detach": "medium",
    "require-concurrent-reindex": "high",
    "syntax-error": "medium",
}
# A release that came before such a statement may still use what it takes away.
BREAKING = frozenset(
    {
        "ban-drop-column",
        "ban-drop-database",
        "ban-drop-domain",
        "ban-drop-function",
        "ban-drop-schema",
        "ban-drop-sequence",
        "ban-drop-table",
        "ban-drop-type",
        "ban-drop-view",
        "ban-set-schema",
        "ban-truncate-cascade",
        "changing-column-type",
        "renaming-column",
        "renaming-object",
        "renaming-table",
    }
)
_RISKS: Mapping[str, Risk] = {**_LOCKS, **dict.fromkeys(BREAKING, "high")}


def lock_risks(scripts: Mapping[str, str]) -> dict[str, tuple[LockRisk, ...]]:
    """Name → what is risky in its SQL, which runs in one transaction.

    Raises:
        MissingError: squawk is not installed.
        TodoctlError: it failed.
    """
    if not scripts:
        return {}
    with TemporaryDirectory(prefix="todoctl-sql-") as folder:
        paths = {str(Path(folder) / f"{number}.sql"): name for number, name in enumerate(scripts)}
        for path, name in paths.items():
            Path(path).write_text(scripts[name], encoding="utf-8")
        command = [
            _program(),
            "--reporter",
            "json",
            "--assume-in-transaction",
            "--include",
            ",".join(sorted(_RISKS.keys() - {"syntax-error"})),
        ]
        done = subprocess.run(
            [*command, *paths], cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    try:
        rows = json.loads(done.stdout or "[]")
    except ValueError as error:
        detail = tuple((done.stderr or done.stdout).splitlines()[-5:])
        raise TodoctlError("squawk could not read the migrations", detail=detail, hint="todoctl db status") from error
    found: dict[str, dict[LockRisk, None]] = {name: {} for name in scripts}
    for row in rows:
        risk = _RISKS.get(row["rule_name"])
        if risk is not None:
            words = f"{_statement(scripts[paths[row['file']]], int(row['line']))}: {row['message']}"
            found[paths[row["file"]]][LockRisk(rule=row["rule_name"], risk=risk, words=words)] = None
    return {name: tuple(risks) for name, risks in found.items()}


def _program() -> str:
    beside = Path(sys.executable).with_name("squawk")
    found = str(beside) if beside.exists() else shutil.which("squawk")
    if found is None:
        raise MissingError("squawk, which reads migrations, is not installed", hint="pip install squawk-cli")
    return found


def _statement(sql: str, line: int) -> str:
    """The line that a finding is about; squawk counts them from 0."""
    lines = sql.splitlines()
    return lines[line].strip().rstrip("(;").strip() if line < len(lines) else f"line {line + 1}"
