"""A Java that is already on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from todoctl.adapters.tools import probe
from todoctl.adapters.tools.model import Absent, Tool
from todoctl.adapters.tools.site import Site


def on_path(site: Site) -> Tool | Absent:
    """The first `java` on PATH, when it is new enough."""
    found = probe.which(site, "java")
    return _judge(site, found, "PATH") if found else Absent("no java on PATH")


def in_java_home(site: Site) -> Tool | Absent:
    """The `java` of JAVA_HOME, when it is new enough."""
    home = site.environ.get("JAVA_HOME")
    if not home:
        return Absent("JAVA_HOME is not set")
    java = Path(home) / "bin" / "java"
    return _judge(site, java, "JAVA_HOME") if java.is_file() else Absent(f"JAVA_HOME has no {java}")


def _judge(site: Site, java: Path, source: str) -> Tool | Absent:
    minimum = site.pins.jre.minimum
    version = probe.java_version(site, java)
    if not version:
        return Absent(f"{java} does not say which version it is", unfit=True)
    if major(version) < minimum:
        return Absent(f"{java} is Java {version}, {minimum} or later is needed", unfit=True)
    return Tool("jre", version, source, java, f"Java {version} is {minimum} or later")


def major(version: str) -> int:
    """The number that counts: 17 of 17.0.15, 8 of 1.8.0_392, 25 of 25-ea."""
    numbers = [int(number) for number in re.findall(r"\d+", version)]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]
