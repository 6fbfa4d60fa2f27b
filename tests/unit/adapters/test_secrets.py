"""Secrets by reference: one in a cluster is asked for as everything there is."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from todoctl.adapters.secrets import Secrets
from todoctl.errors import UnhealthyError, UsageError
from todoctl.settings import SecretReference

REFERENCE = SecretReference(kubernetes="kafka/password")


def test_a_secret_in_a_cluster_that_is_away(tmp_path: Path) -> None:
    """It is told once and at once, by the kubeconfig of the variables that were given."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        server = f"http://127.0.0.1:{gone.getsockname()[1]}"
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "away", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig))
    with pytest.raises(UnhealthyError, match=f"'away' \\({server}\\) can't be reached"):
        Secrets({"KUBECONFIG": str(path)}, "away").read(REFERENCE, tmp_path)


def test_a_secret_in_no_cluster_in_particular(tmp_path: Path) -> None:
    """The context that kubectl used last is never taken."""
    with pytest.raises(UsageError, match="kafka/password is in Kubernetes, and the environment names no context"):
        Secrets({}).read(REFERENCE, tmp_path)
