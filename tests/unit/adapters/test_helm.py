"""Helm through pyhelm3: what its answers become, and that no failure of it looks like a bug."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from pyhelm3 import errors

from todoctl.adapters import helm
from todoctl.adapters.helm import Helm, Upgrade
from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError, UsageError, WaitTimeoutError

UPGRADE = Upgrade("todo", "home", Path("chart"), {"a": 1}, "by a test")


def program(folder: Path, *, out: str = "", err: str = "", code: int = 0) -> Helm:
    """A helm that notes its arguments and input, and says this."""
    path = folder / "helm"
    path.write_text(
        f'#!/bin/sh\necho "$*" >> {folder}/said\n'
        f"case \"$*\" in *'--values -'*) cat > {folder}/input;; esac\n"
        f"printf %s {shlex.quote(out)}\nprintf %s {shlex.quote(err)} >&2\nexit {code}\n"
    )
    path.chmod(0o755)
    return Helm(path, "test")


def test_the_newest_revision_is_the_release_whatever_its_state(tmp_path: Path) -> None:
    """A pending one is seen, too."""
    rows = [
        {"revision": 1, "status": "deployed", "chart": "todo-2.0.0", "app_version": "0.1.0", "updated": "then"},
        {"revision": 2, "status": "pending-upgrade", "chart": "todo-2.0.1", "app_version": "0.1.1", "updated": "now"},
    ]
    found = program(tmp_path, out=json.dumps(rows)).release("todo", "home")
    assert found is not None
    assert (found.revision, found.is_pending, found.chart) == (2, True, "todo-2.0.1")
    assert "--kube-context test" in (tmp_path / "said").read_text()


def test_a_release_that_is_not_there_is_none(tmp_path: Path) -> None:
    """No error: that is an answer."""
    absent = program(tmp_path, err="Error: release: not found", code=1)
    assert absent.release("todo", "home") is None
    assert absent.history("todo", "home") == []


def test_a_cluster_that_does_not_answer_helm(tmp_path: Path) -> None:
    """Looking something up ends, and so does the helm that waits."""
    path = tmp_path / "helm"
    path.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    path.chmod(0o755)
    with pytest.raises(
        UnhealthyError, match="helm: history of todo: the cluster takes connections and does not answer"
    ):
        Helm(path, "test", seconds=1).history("todo", "home")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_upgrade_gives_values_on_stdin_and_never_waits_in_helm(tmp_path: Path) -> None:
    """What is secret in values is not in a command line; resource definitions are ours to apply."""
    answer = {
        "name": "todo",
        "namespace": "home",
        "version": 3,
        "info": {"status": "deployed", "last_deployed": "now", "description": "by a test"},
        "chart": {"metadata": {"name": "todo", "version": "2.0.0", "appVersion": "0.1.0"}},
    }
    found = program(tmp_path, out=json.dumps(answer)).upgrade(UPGRADE)
    assert (found.revision, found.chart, found.description) == (3, "todo-2.0.0", "by a test")
    assert json.loads((tmp_path / "input").read_text()) == {"a": 1}
    said = (tmp_path / "said").read_text()
    assert "--skip-crds" in said
    # Empty values are values: Helm alone would keep the earlier ones then.
    assert "--reset-values" in said
    assert "--wait" not in said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Error: Kubernetes cluster unreachable: Get x: dial tcp 10.0.0.1:6443: connect: refused", UnhealthyError),
        ("Error: etcdserver: request timed out", UnhealthyError),
        ('Error: Kubernetes cluster unreachable: context "x" does not exist', UsageError),
        ('Error: query: failed: secrets is forbidden: User "x" cannot list resource', MissingError),
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", RefusedError),
        ("Error: rendered manifests contain a resource that already exists. Unable to continue", RefusedError),
        ("Error: values don't meet the specifications of the schema(s) in the following chart(s)", UsageError),
        ("Error: execution error at (x/y.yaml:1:1): say more", UsageError),
        ('Error: path "/x" not found', UsageError),
        ("Error: timed out waiting for the condition", WaitTimeoutError),
        ("Error: something that nobody foresaw", TodoctlError),
        ("", TodoctlError),
    ],
)
def test_what_helm_says_becomes_an_error_with_a_next_step(
    tmp_path: Path, said: str, expected: type[TodoctlError]
) -> None:
    """Its class decides the exit code; Helm's own words are in it."""
    with pytest.raises(TodoctlError) as caught:
        program(tmp_path, err=said, code=1).upgrade(UPGRADE)
    assert type(caught.value) is expected
    assert said.removeprefix("Error: ") in caught.value.message
    assert caught.value.hint


def test_every_error_of_pyhelm3_is_known() -> None:
    """A new one of a newer pyhelm3 fails here, not at night."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.Error)]
    assert len(kinds) == 8
    for kind in kinds:
        with pytest.raises(TodoctlError), helm._translated("a test"):
            raise kind(1, b"", b"Error: of a kind")


def test_a_chart_that_cant_be_fetched_is_something_missing(tmp_path: Path) -> None:
    """Exit code 9, with what Helm said of the repository."""
    with pytest.raises(MissingError) as caught:
        program(tmp_path, err="Error: looks like x cannot be reached", code=1).pull("dapr", repository="x", version="1")
    assert "cannot be reached" in caught.value.detail[0]
