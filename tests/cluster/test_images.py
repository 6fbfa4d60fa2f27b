"""Images of the real Dockerfile: built twice from nothing they are one, by the digest that a registry gives them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster import images
from tests.program import Program
from tests.registry import Registry, registry

BASE = "localhost/python:3.11"
# Each build installs the libraries anew.
pytestmark = pytest.mark.slow


def test_two_clean_builds_have_one_digest(tmp_path: Path) -> None:
    """In storages that have nothing but the base, moments apart; the mail sink's and a service's."""
    archive = tmp_path / "base.tar"
    images.buildah("push", "--quiet", BASE, f"oci-archive:{archive}:{BASE}")
    with registry() as there:
        first, second = (_pushed(tmp_path / name, archive, there) for name in ("one", "two"))
    assert set(first) == {"mailsink", "recurring"}
    assert first == second


def _pushed(folder: Path, base: Path, there: Registry) -> dict[str, str]:
    """Service → digest, from a storage of its own."""
    folder.mkdir()
    options = f"--root {folder}/storage --runroot {folder}/run --storage-driver overlay"
    variables = {"TODOCTL_BUILDER_OPTIONS": options, "TODOCTL_BASE_IMAGE": BASE}
    # pip may need them, to reach its index.
    kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or "PIP_" in name}
    todoctl = Program(folder, {**kept, **variables})
    try:
        subprocess.run(["buildah", *options.split(), "pull", "--quiet", f"oci-archive:{base}"], check=True, timeout=300)
        for verb in ("build", "push"):
            words = ("mailsink", "recurring", "--registry", there.name(), "--tag", folder.name, "-o", "json")
            with todoctl.start("images", verb, *words, "--builder", "buildah") as process:
                out, err = process.communicate(timeout=900)
            assert process.returncode == 0, err
        return {row["service"]: row["digest"] for row in json.loads(out)}
    finally:
        subprocess.run(
            ["buildah", *options.split(), "rmi", "--all", "--force"], check=True, capture_output=True, timeout=300
        )
        shutil.rmtree(folder / "storage", ignore_errors=True)
