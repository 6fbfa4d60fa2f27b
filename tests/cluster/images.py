"""The images of this checkout in the test cluster's node: built and loaded only when their content is new."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.cluster.kube import Cluster
from tests.unit.sites import CHART, ROOT
from todoctl.adapters.chart import read_values
from todoctl.core.images import images
from todoctl.operations import images as operation
from todoctl.operations import tools
from todoctl.settings import load

_BASE = "localhost/python:3.11"
_STORAGE = "--root {home}/buildah --runroot /run/{name}/buildah --storage-driver overlay"


def storage() -> list[str]:
    """Buildah's options for the storage that the test cluster shares with its builds."""
    home = os.environ.get("TODO_CLUSTER_HOME", "/var/lib/todo-cluster")
    return _STORAGE.format(home=home, name="todo-cluster").split()


def ready(cluster: Cluster, programs: Path) -> str:
    """The tag of images that have this checkout's content and are in the node; `programs` has the cluster's own."""
    tag = f"test-{_digest()}"
    names = [image.reference(tag) for image in images(read_values(CHART), registry="localhost").values()]
    if not all(_is_built(name) for name in names):
        _build(tag)
    missing = set(names) - _in_node(cluster)
    if missing:
        into_node(sorted(missing), programs)
        lacking = missing - _in_node(cluster)
        assert not lacking, f"not in the node after loading: {sorted(lacking)}"
    return tag


def _digest() -> str:
    """Of everything that a build reads: what is copied into the images, the recipe, and the base."""
    digest = hashlib.sha256(buildah("images", "--quiet", "--no-trunc", _BASE).encode())
    with operation.context(ROOT, _vendor()) as folder:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, content = path.relative_to(folder).as_posix().encode(), path.read_bytes()
            digest.update(b"%d %b %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()[:16]


def _vendor() -> Path | None:
    found = tools.find("socket.io-client", load(os.environ, cwd=Path("/")).cache, environ=os.environ)
    return found.path if found else None


def _build(tag: str) -> None:
    """By the command that users have."""
    command = [sys.executable, "-m", "todoctl", "images", "build", "--builder", "buildah", "--registry", "localhost"]
    environ = {**os.environ, "TODOCTL_BUILDER_OPTIONS": " ".join(storage())}
    done = subprocess.run(
        [*command, "--tag", tag, "--base-image", _BASE, "-o", "json"],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def into_node(names: list[str], programs: Path) -> None:
    """All in one archive: the layers that they share are written and unpacked once."""
    with tempfile.TemporaryDirectory(prefix="todo-images-") as folder:
        layout = Path(folder) / "oci"
        for name in names:
            buildah("push", "--quiet", "--disable-compression", name, f"oci:{layout}:{name}")
        index = json.loads((layout / "index.json").read_text())
        for entry in index["manifests"]:
            # The name by which containerd keeps an image; without it an import gives it one of its own.
            reference = entry["annotations"]["org.opencontainers.image.ref.name"]
            entry["annotations"]["io.containerd.image.name"] = reference
        (layout / "index.json").write_text(json.dumps(index))
        archive = Path(folder) / "images.tar"
        with tarfile.open(archive, "w") as packed:
            packed.add(layout, ".")
        done = subprocess.run([programs / "load", archive], capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr


def tag_in_node(name: str, other: str) -> None:
    """One more name for an image that the node has."""
    _ctr("images", "tag", "--force", name, other)


def _in_node(cluster: Cluster) -> set[str]:
    """The images that the kubelet's runtime has."""
    return set(_ctr("images", "list", "--quiet").split())


def _ctr(*arguments: str) -> str:
    run = os.environ.get("TODO_CLUSTER_RUN", "/run/todo-cluster")
    command = ["ctr", "--address", f"{run}/containerd.sock", "--namespace", "k8s.io", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _is_built(name: str) -> bool:
    command = ["buildah", *storage(), "inspect", "--type", "image", name]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def buildah(*arguments: str) -> str:
    """What buildah says, on the storage that the test cluster shares."""
    done = subprocess.run(["buildah", *storage(), *arguments], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout
