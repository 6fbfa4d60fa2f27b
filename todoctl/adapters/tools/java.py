"""A Java that is already on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from todoctl.adapters.tools import probe
from todoctl.adapters.tools.model import Absent, Tool
from todoctl.adapters.tools.site import Site


def on_path(site: Site) -> Tool | Absent:
    """The first `java` on PATH, when it is new enough."""
    found = shutil.which("java", path=site.environ.get("PATH", ""))
    if found is None:
        return Absent("no java on PATH")
    return _judge(site, Path(found), "PATH")


def in_java_home(site: Site) -> Tool | Absent:
    """The `java` of JAVA_HOME, when it is new enough."""
    home = site.environ.get("JAVA_HOME")
    if not home:
        return Absent("JAVA_HOME is not set")
    java = Path(home) / "bin" / "java"
    return _judge(site, java, "JAVA_HOME") if java.is_file() else Absent(f"JAVA_HOME has no {java}")


def _judge(site: Site, java: Path, source: str) -> Tool | Absent:
    minimum = site.pins.jre.minimum
    major = probe.java_major(site, java)
    if major == 0:
        return Absent(f"{java} does not say which version it is")
    if major < minimum:
        return Absent(f"{java} is Java {major}, {minimum} or later is needed")
    return Tool("jre", str(major), source, java, f"Java {major} is {minimum} or later")
