"""What is kept of a deploy that failed, before anything is undone: logs, states, lag, versions, the plan; no secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from todoctl.adapters.processes import supervisor
from todoctl.core.releases import Release
from todoctl.errors import TodoctlError
from todoctl.operations.local import readiness, status
from todoctl.operations.local.up import Up

_LINES = 2000  # of each log
_MASK = "•••"


def collect(run: Up, release: Release, plan: dict[str, Any], error: BaseException) -> Path:
    """Write the evidence into a folder of its own and give it; what can't be told is written down as that."""
    folder = run.state.folders.root / "evidence" / f"{release.revision}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    for name, text in _documents(run, release, plan, error):
        (folder / name).write_text(redact(text, run), encoding="utf-8")
    return folder


def redact(text: str, run: Up) -> str:
    """The text without any of the environment's secrets."""
    known = run.state.secrets
    secrets = [*known.passwords.values(), known.app_token, known.dapr_token, known.service_token]
    for secret in (*secrets, known.operator.password) if known.operator else secrets:
        text = text.replace(secret, _MASK)
    return text


def _documents(run: Up, release: Release, plan: dict[str, Any], error: BaseException) -> Iterator[tuple[str, str]]:
    words = [f"{type(error).__name__}: {error}", *getattr(error, "detail", ())]
    yield "error.txt", "\n".join(words) + "\n"
    yield "release.json", release.model_dump_json(indent=2)
    yield "plan.json", json.dumps(plan, indent=2)
    yield "status.json", _told(lambda: _status(run))
    yield "versions.json", json.dumps({"tools": run.found, "parts": run.versions()}, indent=2)
    folders = run.state.folders
    for log in sorted(folders.logs.glob("*.log")):
        yield log.name, "\n".join(readiness.tail(folders, log.stem, _LINES)) + "\n"
    for name in run.assembly.parts:
        spec = supervisor.spec_path(folders, name)
        if spec.exists():
            yield f"{name}.spec.json", spec.read_text(encoding="utf-8")


def _status(run: Up) -> str:
    seen = status.observe(run.settings, run.values, run.state, run.assembly.parts, run.versions())
    return json.dumps(seen.document(), indent=2)


def _told(tell: Any) -> str:
    try:
        return str(tell())
    except (TodoctlError, OSError) as error:
        return f"could not be told: {error}\n"
