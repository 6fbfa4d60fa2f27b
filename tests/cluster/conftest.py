"""A real cluster for tests: a context that is named for it, or the test cluster beside the checkout. Never another one.

    pytest tests/cluster                                    # starts ../shared/cluster and leaves it running

    # Another cluster, with its KUBECONFIG: Dapr must be there, and images that `todoctl images build` made.
    TODOCTL_TEST_CONTEXT=kind-test TODOCTL_TEST_REGISTRY=localhost TODOCTL_TEST_TAG=dev pytest tests/cluster

`TODOCTL_TEST_HOST` is this machine's address as pods see it; the test cluster's is 10.99.0.1.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import dapr, images
from tests.cluster.deployment import Images, Release, deployed
from tests.cluster.kube import Cluster
from tests.cluster.place import Place, nothing_deployed
from tests.helm import Chart, helm
from tests.unit.sites import CHART, ROOT


def own_cluster() -> Path | None:
    """The folder of the test cluster's programs, beside this checkout or one level up."""
    folders = [parent / "shared" / "cluster" for parent in ROOT.parents[:2]]
    return next((folder for folder in folders if (folder / "up").is_file()), None)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, ready, with the resource definitions that the chart's objects need."""
    context = os.environ.get("TODOCTL_TEST_CONTEXT", "")
    if context:
        return Cluster(Path("kubectl"), context, None)
    folder = own_cluster()
    if folder is None:
        pytest.skip("there is no test cluster: name its context in TODOCTL_TEST_CONTEXT")
    # Twice: the first may start what enforces policies before there is a node, and that ends then; the second starts it again.
    for _ in range(2):
        done = subprocess.run([folder / "up"], capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr
    kubeconfig = Path(done.stdout.split()[-1])
    found = Cluster(kubeconfig.parent / "bin" / "kubectl", "todo-test", kubeconfig, folder)
    # Without a share of its own the name server waits behind every pod that starts: answers took 14 s.
    found.kubectl(
        "set", "resources", "deployment/coredns", "--namespace=kube-system", "--requests=cpu=100m,memory=70Mi"
    )
    found.kubectl("rollout", "status", "deployment/coredns", "--namespace=kube-system", "--timeout=120s")
    for file in sorted((folder / "crds").glob("*.yaml")):
        found.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(file))
    return found


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Our chart."""
    return Chart(helm(), CHART)


@pytest.fixture(scope="session")
def control_plane(cluster: Cluster, chart: Chart) -> None:
    """Dapr, ready."""
    dapr.ready(cluster, chart.helm)


@pytest.fixture(scope="session")
def service_images(cluster: Cluster) -> Images:
    """Images of this checkout, where the cluster's node finds them."""
    registry, tag = (os.environ.get(f"TODOCTL_TEST_{name}", "") for name in ("REGISTRY", "TAG"))
    if tag:
        return Images(registry or "localhost", tag)
    assert cluster.programs, "name the images that are in the cluster: TODOCTL_TEST_REGISTRY, TODOCTL_TEST_TAG"
    return Images("localhost", images.ready(cluster, cluster.programs))


@pytest.fixture(scope="session")
def release(cluster: Cluster, chart: Chart, control_plane: None, service_images: Images) -> Iterator[Release]:
    """The platform, deployed once for all tests."""
    with deployed(cluster, chart, service_images) as found:
        yield found


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own that enforces Pod Security; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        name = f"todo-{Path(folder).name.lower().replace('_', '-').strip('-')}"
    cluster.make_namespace(name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def bare_place(
    cluster: Cluster,
    chart: Chart,
    control_plane: None,
    service_images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """An environment with nothing deployed, for one module's releases."""
    with nothing_deployed(cluster, chart, service_images, tmp_path_factory.mktemp("place")) as found:
        yield found
