"""What an environment on this machine remembers: its folders, its ports, its secrets, and who works on it now."""

from __future__ import annotations

import json
import os
import secrets as random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from todoctl.adapters import postgres, release_store
from todoctl.adapters.api import Addresses
from todoctl.adapters.processes import identity
from todoctl.adapters.tools import store
from todoctl.core.parts import roles
from todoctl.core.ports import LOOPBACK, default_ports
from todoctl.core.site import Folders, Login, Secrets
from todoctl.core.values import Values
from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError, WaitTimeoutError
from todoctl.settings import Settings

_SMALLEST_FREE = 512 * 1024 * 1024  # bytes; Kafka's and PostgreSQL's first files with room to work


@dataclass(frozen=True)
class State:
    """What is recorded of an environment."""

    folders: Folders
    ports: Mapping[str, int]
    secrets: Secrets


def addresses(recorded: State) -> Addresses:
    """Where the public services of the environment answer."""
    at = {name: f"http://{LOOPBACK}:{recorded.ports[name]}" for name in ("auth", "api", "audit", "sync")}
    return Addresses(**at)


def exists(settings: Settings) -> bool:
    """Whether the environment was ever brought up here."""
    return (settings.state / "state.json").is_file()


def load(settings: Settings, values: Values) -> State:
    """The recorded state.

    Raises:
        UnhealthyError: there is none: the environment was not brought up.
        TodoctlError: it is damaged.
    """
    folders = Folders(settings.state)
    try:
        ports = json.loads((folders.root / "state.json").read_text(encoding="utf-8"))["ports"]
        secrets = _secrets(json.loads((folders.root / "secrets.json").read_text(encoding="utf-8")))
        missing = set(default_ports(values)) - set(ports)
    except FileNotFoundError as error:
        raise UnhealthyError(f"the environment {settings.name!r} is not up", hint="todoctl up") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TodoctlError(
            f"the recorded state in {folders.root} is damaged: {error}", hint="todoctl down --purge && todoctl up"
        ) from error
    if missing:
        raise UnhealthyError("the chart has services that were never started here", hint="todoctl up")
    return State(folders, ports, secrets)


def prepare(settings: Settings, values: Values, *, keep_ports: bool) -> tuple[State, list[str]]:
    """The state to run with, made where it is missing, and what had to change.

    A port that a stranger took is replaced, unless `keep_ports` says that parts are running.
    """
    folders = Folders(settings.state)
    _make_folders(settings, folders)
    stored = _read(folders.root / "secrets.json")
    fresh = _fresh_secrets(values, stored)
    if fresh != stored:
        _write(folders.root / "secrets.json", fresh, mode=0o600)
    with _port_registry(settings.cache) as registry:
        recorded = _recorded_ports(_read(folders.root / "state.json"))
        others = {port for home, ports in registry.items() if home != str(folders.root) for port in ports}
        ports, moved = choose_ports(default_ports(values), recorded, taken=others, keep=keep_ports)
        registry[str(folders.root)] = sorted(ports.values())
    _write(folders.root / "state.json", {"ports": ports}, mode=0o644)
    return State(folders, ports, _secrets(fresh)), moved


def choose_ports(
    wanted: Mapping[str, int], recorded: Mapping[str, int], *, taken: set[int], keep: bool
) -> tuple[dict[str, int], list[str]]:
    """A port for each name: the recorded one, else the wanted one, else the next free one; and the names that moved."""
    chosen: dict[str, int] = {}
    moved = []
    for name, first in wanted.items():
        port = recorded.get(name)
        if port is not None and (keep or identity.can_bind(port)):
            chosen[name] = port
            continue
        if port is not None:
            moved.append(name)
        unusable = taken | set(chosen.values()) | set(recorded.values())
        chosen[name] = next(
            candidate
            for candidate in (*range(first, min(first + 2000, 65536)), *range(20000, 32768))
            if candidate not in unusable and identity.can_bind(candidate)
        )
    return chosen, moved


@contextmanager
def lock(settings: Settings, what: str, *, seconds: float) -> Iterator[None]:
    """Only one command changes an environment at a time; a killed one frees the lock.

    Raises:
        WaitTimeoutError: another command still works on it after `seconds`; the message names it.
        RefusedError: the same at once, where no wait was wanted (`seconds` is 0).
    """
    _make_home(settings)
    path = settings.home / f".{settings.name}.lock"
    holder = path.with_suffix(".holder")
    with _held(path, seconds, lambda: _refusal(settings, what, holder, seconds)):
        holder.write_text(f"todoctl {what} (pid {os.getpid()})", encoding="utf-8")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


def holder(settings: Settings) -> str | None:
    """Who works on the environment now, None where nobody does; one that was killed does not."""
    path = settings.home / f".{settings.name}.lock"
    try:
        words = path.with_suffix(".holder").read_text(encoding="utf-8")
        pid = int(words.rpartition("pid ")[2].rstrip(")"))
    except (OSError, ValueError):
        return None
    return words if identity.lives(pid) else None


def _refusal(settings: Settings, what: str, holder: Path, seconds: float) -> TodoctlError:
    who = holder.read_text(encoding="utf-8") if holder.exists() else "another command"
    hint = f"wait for it, or end it, and run todoctl {what} again"
    if not seconds:
        return RefusedError(f"{what} refused: {who} is working on the environment {settings.name!r}", hint=hint)
    return WaitTimeoutError(
        f"{who} has been working on the environment {settings.name!r} for more than {seconds:.0f} s",
        hint=hint,
    )


@contextmanager
def _held(path: Path, seconds: float, refusal: Callable[[], TodoctlError]) -> Iterator[None]:
    import filelock

    guard = filelock.FileLock(path)
    try:
        guard.acquire(timeout=seconds)
    except filelock.Timeout as error:
        raise refusal() from error
    try:
        yield
    finally:
        guard.release()


def forget(settings: Settings) -> bool:
    """Remove the environment's data and free its ports; whether there was any."""
    if not settings.state.exists():
        return False
    release_store.remove(release_store.Store(settings.state).folder)
    shutil.rmtree(settings.state)
    with _port_registry(settings.cache) as registry:
        registry.pop(str(settings.state), None)
    return True


def _make_home(settings: Settings) -> None:
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MissingError(
            f"{settings.home} can't be made: {error.strerror}", hint="export TODOCTL_HOME to a folder of yours"
        ) from error


def _make_folders(settings: Settings, folders: Folders) -> None:
    try:
        for folder in (settings.home, folders.root, folders.config, folders.data, folders.logs, folders.run):
            folder.mkdir(parents=True, exist_ok=True)
            _open_to_server(folder)
        for private in (folders.config / "parts", folders.config / "dapr"):
            private.mkdir(mode=0o700, exist_ok=True)
        postgres.check_reachable(folders.data)
    except PermissionError as error:
        raise MissingError(
            f"{error.filename} can't be made or used: {error.strerror}", hint="export TODOCTL_HOME to a folder of yours"
        ) from error
    free = shutil.disk_usage(folders.root).free
    if free < _SMALLEST_FREE:
        raise TodoctlError(
            f"{folders.root} has {free // 2**20} MiB free, the platform needs at least {_SMALLEST_FREE // 2**20} MiB",
            hint="free some space, or export TODOCTL_HOME to a folder with more",
        )


def _open_to_server(folder: Path) -> None:
    """Let PostgreSQL's user pass through a folder of ours; `mktemp -d` for one makes it private."""
    if postgres.server_user() is not None and folder.stat().st_uid == os.geteuid():
        folder.chmod(folder.stat().st_mode | 0o011)


def _fresh_secrets(values: Values, stored: Mapping[str, Any]) -> dict[str, Any]:
    known = stored.get("passwords")
    passwords = dict(known) if isinstance(known, dict) else {}
    for role in (postgres.ADMIN, *roles(values)):
        passwords.setdefault(role, random.token_urlsafe(24))
    tokens = {
        name: stored.get(name) or random.token_urlsafe(32) for name in ("app_token", "dapr_token", "service_token")
    }
    return {"passwords": passwords, **tokens, "operator": stored.get("operator") or _fresh_operator()}


def _fresh_operator() -> dict[str, str]:
    # A name that nobody can have registered before us, at an address that no mail can reach (RFC 2606).
    return {"email": f"operator-{random.token_hex(8)}@todoctl.invalid", "password": random.token_urlsafe(24)}


def _secrets(stored: Mapping[str, Any]) -> Secrets:
    return Secrets(
        stored["passwords"],
        stored["app_token"],
        stored["dapr_token"],
        stored["service_token"],
        Login(**stored["operator"]) if "operator" in stored else None,
    )


@contextmanager
def _port_registry(cache: Path) -> Iterator[dict[str, list[int]]]:
    """Ports that the environments of this user have chosen, so that two made side by side differ."""
    store.prepare(cache)
    path, guard = cache / "ports.json", cache / ".ports.lock"
    with _held(guard, 30, lambda: WaitTimeoutError(f"another command has held {guard} for more than 30 s")):
        before = _read(path)
        registry = {home: ports for home, ports in before.items() if Path(home).is_dir()}
        yield registry
        if registry != before:
            _write(path, registry, mode=0o644)


def _recorded_ports(document: Mapping[str, Any]) -> dict[str, int]:
    ports = document.get("ports")
    return {name: port for name, port in ports.items() if isinstance(port, int)} if isinstance(ports, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Missing or cut short by a full disk: made anew from what else is known.
        return {}
    return document if isinstance(document, dict) else {}


def _write(path: Path, document: Mapping[str, Any], *, mode: int) -> None:
    draft = path.with_suffix(f".{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
