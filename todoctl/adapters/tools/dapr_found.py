"""A daprd or scheduler that is already on this machine, when it is of our line and has the components we use."""

from __future__ import annotations

from pathlib import Path

from todoctl.adapters.tools import probe
from todoctl.adapters.tools.model import Absent, Tool
from todoctl.adapters.tools.site import Site

# Packages that must be compiled in. Dapr's own `stablecomponents` builds lack the second and the third.
MARKS = {
    "daprd": (
        "dapr/components-contrib/pubsub/kafka",
        "dapr/components-contrib/nameresolution/sqlite",
        "dapr/components-contrib/bindings/smtp",
        "dapr/components-contrib/state/postgresql/v2",
    ),
    "scheduler": ("dapr/dapr/pkg/scheduler/server",),
}


def on_path(site: Site, name: str) -> Tool | Absent:
    """The first one on PATH."""
    found = probe.which(site, name)
    return judge(site, name, found, "PATH") if found else Absent(f"no {name} on PATH")


def in_dapr_home(site: Site, name: str) -> Tool | Absent:
    """The one that `dapr init` installed."""
    home = site.environ.get("HOME")
    program = Path(home or "/nonexistent") / ".dapr" / "bin" / name
    return judge(site, name, program, "~/.dapr/bin") if program.is_file() else Absent(f"no {program}")


def by_hand(site: Site, name: str) -> Tool | Absent:
    """The one that a person put into the cache."""
    program = site.by_hand / name
    return judge(site, name, program, "by hand") if program.is_file() else Absent(f"no {program}")


def judge(site: Site, name: str, program: Path, source: str) -> Tool | Absent:
    """The program as a tool, or why it won't do. It is recognised by its content before it is ever run."""
    try:
        missing = [mark for mark in MARKS[name] if mark not in probe.contains(site, program, MARKS[name])]
    except (OSError, ValueError) as error:
        return Absent(f"{program} can't be read: {error}", unfit=True)
    if len(missing) == len(MARKS[name]):
        return Absent(f"{program} is not Dapr's {name}", unfit=True)
    if missing:
        return Absent(
            f"{program} lacks {', '.join(mark.partition('/')[2].partition('/')[2] for mark in missing)}", unfit=True
        )
    version = _version(site, name, program)
    if not version:
        return Absent(f"{program} does not say which version it is", unfit=True)
    if not version.startswith(f"{site.pins.dapr.line}."):
        return Absent(f"{program} is Dapr {version}, line {site.pins.dapr.line} is needed", unfit=True)
    return Tool(name, version, source, program, f"Dapr {version} is of line {site.pins.dapr.line} and has what we use")


def _version(site: Site, name: str, program: Path) -> str:
    if name == "daprd":
        return probe.daprd_version(site, program)
    # The scheduler has no `--version`; where its build tells nothing, it is as old as the daprd installed beside it.
    beside = program.resolve().with_name("daprd")
    return probe.built_version(site, program) or (probe.daprd_version(site, beside) if beside.is_file() else "")
