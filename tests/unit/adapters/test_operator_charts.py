"""Charts on disk: folders, archives, bundles, and the definitions that Helm would never upgrade."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.cluster import operator_chart
from tests.cluster.operator_chart import NAME
from todoctl.adapters import operator_charts
from todoctl.errors import UsageError


@pytest.mark.parametrize("packed", [False, True])
def test_a_chart_is_a_folder_or_an_archive(tmp_path: Path, packed: bool) -> None:
    """Both give the same, down to the hash by which it is known again."""
    folder = operator_chart.chart(tmp_path)
    place = operator_chart.packed(folder, into=tmp_path / "packed") if packed else folder
    with operator_charts.from_chart(place) as found:
        assert (found.about["name"], found.about["version"]) == (NAME, "1.2.0")
        assert found.digest() == operator_charts.ChartFolder(folder).digest()
        assert [item["metadata"]["name"] for item in found.definitions()] == [operator_chart.DEFINITION]


def test_another_content_has_another_hash(tmp_path: Path) -> None:
    """Under the same version, too."""
    one, two = (operator_chart.chart(tmp_path / name) for name in "ab")
    (two / "templates" / "all.yaml").write_text("{}")
    assert operator_charts.ChartFolder(one).digest() != operator_charts.ChartFolder(two).digest()


def test_definitions_of_subcharts_count(tmp_path: Path) -> None:
    """Prometheus' chart has its own in one; what is no definition is left to Helm."""
    folder = operator_chart.chart(tmp_path)
    crds = folder / "charts" / "crds" / "crds"
    crds.mkdir(parents=True)
    (crds / "more.yaml").write_text(
        "kind: CustomResourceDefinition\nmetadata: {name: more}\n---\nkind: ConfigMap\n---\n"
    )
    names = [item["metadata"]["name"] for item in operator_charts.ChartFolder(folder).definitions()]
    assert sorted(names) == ["more", operator_chart.DEFINITION]


@pytest.mark.parametrize("kind", ["folders", "archives", "archive"])
def test_a_bundle_holds_several(tmp_path: Path, kind: str) -> None:
    """Unpacked, packed, or one archive of packed ones; of two versions the wanted one."""
    bundle = tmp_path / "bundle"
    for version in ("1.1.0", "1.2.0"):
        folder = operator_chart.chart(tmp_path / version if kind != "folders" else bundle / version, version=version)
        if kind != "folders":
            operator_chart.packed(folder, into=bundle, version=version)
    place = bundle
    if kind == "archive":
        place = tmp_path / "bundle.tgz"
        with tarfile.open(place, "w:gz") as archive:
            archive.add(bundle, "charts")
    with operator_charts.from_bundle(place, NAME, "1.2.0") as found:
        assert found.about["version"] == "1.2.0"
    with pytest.raises(UsageError, match=r"there are: 1\.1\.0, 1\.2\.0"), operator_charts.from_bundle(place, NAME, "9"):
        pass
    with pytest.raises(UsageError, match="there are: none"), operator_charts.from_bundle(place, "dapr", "1"):
        pass


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_what_is_no_chart_is_told(tmp_path: Path, content: bytes) -> None:
    """A damaged archive, an empty folder, a path that is not there."""
    damaged = tmp_path / "chart.tgz"
    damaged.write_bytes(content)
    empty = tmp_path / "empty"
    empty.mkdir()
    for place in (damaged, empty, tmp_path / "absent"):
        with pytest.raises(UsageError) as caught, operator_charts.from_chart(place):
            pass
        assert str(place) in caught.value.message
        assert caught.value.hint


def test_an_archive_can_write_nowhere_else(tmp_path: Path) -> None:
    """A path that leads out of the folder is refused."""
    evil = tmp_path / "evil.tgz"
    (tmp_path / "x").write_text("x")
    with tarfile.open(evil, "w:gz") as archive:
        archive.add(tmp_path / "x", "../../escaped")
    with pytest.raises(UsageError, match="no readable archive"), operator_charts.from_chart(evil):
        pass
