"""Writes kafka.lock anew: what the pinned Kafka needs, as jgo resolves it, with the hash of each jar."""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from todoctl.adapters.tools import pins
from todoctl.adapters.tools.kafka_jars import Jar, lock_file, maven

_HEADER = (
    "# Kafka's jars: Maven coordinate, sha256, bytes. `python -m todoctl.adapters.tools.kafka_lock` writes this file.\n"
)


def resolve(roots: tuple[str, ...], repository: Path) -> list[Jar]:
    """The jars that `roots` need at run time; where two roots need one jar, the first root's version is taken."""
    jars: dict[str, Jar] = {}
    for root in roots:
        for jar in _of(root, repository):
            jars.setdefault(jar.coordinate.rpartition(":")[0], jar)
    return sorted(jars.values(), key=lambda jar: jar.coordinate)


def _of(root: str, repository: Path) -> list[Jar]:
    # One root at a time: the dependency management of a second root would move the versions of the first.
    context = maven(repository, {})
    inputs, needed = context.resolver.resolve([context.create_dependency(root)])
    found = []
    for dependency in inputs + needed:
        if dependency.scope in {None, "compile", "runtime"}:
            file = dependency.artifact.resolve()
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            coordinate = f"{dependency.groupId}:{dependency.artifactId}:{dependency.version}"
            found.append(Jar(coordinate, digest, file.stat().st_size))
    return found


def main() -> None:
    """Resolve the pinned roots from scratch and write the lock file."""
    with tempfile.TemporaryDirectory() as folder:
        jars = resolve(pins.load().kafka.roots, Path(folder))
    target = lock_file(pins.load())
    target.write_text(
        _HEADER + "".join(f"{jar.coordinate} {jar.sha256} {jar.size}\n" for jar in jars), encoding="utf-8"
    )
    sys.stdout.write(f"{len(jars)} jars in {target}\n")


if __name__ == "__main__":
    main()
