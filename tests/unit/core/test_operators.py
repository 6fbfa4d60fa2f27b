"""What we set up in operators, and what that must hold."""

from __future__ import annotations

from todoctl.adapters.tools import pins
from todoctl.core.operators import OPERATORS, default_values, merged, placed


def test_every_operator_has_a_pinned_chart() -> None:
    """In the one file of versions."""
    assert set(pins.load().charts) == set(OPERATORS)


def test_dapr_never_lets_a_pod_start_without_its_sidecar() -> None:
    """A webhook that may fail refuses pods; those that it needs itself are left out, or nothing could start."""
    injector = default_values(OPERATORS["dapr"], is_available=False)["dapr_sidecar_injector"]
    assert injector["webhookFailurePolicy"] == "Fail"
    (left_out,) = injector["namespaceSelector"]["matchExpressions"]
    assert set(left_out["values"]) == {"kube-system", "dapr-system"}
    assert injector["sidecarDropALLCapabilities"] is True


def test_replicas_are_for_clusters_that_others_rely_on() -> None:
    """A laptop has one of each."""
    assert default_values(OPERATORS["dapr"], is_available=True)["global"]["ha"] == {"enabled": True}
    assert "ha" not in default_values(OPERATORS["dapr"], is_available=False)["global"]


def test_values_are_joined_by_key_and_the_later_ones_win() -> None:
    """Lists are replaced whole."""
    assert merged({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}}, {"d": 3}) == {"a": {"b": 1, "c": [2]}, "d": 3}


def test_a_conversion_webhook_is_where_the_operator_is() -> None:
    """Dapr's chart has a placeholder there, which must not come back with an upgrade."""
    service = {"name": "dapr-webhook", "namespace": "replaceme", "path": "/convert"}
    definition = {"spec": {"conversion": {"webhook": {"clientConfig": {"service": service}}}, "group": "dapr.io"}}
    changed = placed(definition, "dapr-system")
    found = changed["spec"]["conversion"]["webhook"]["clientConfig"]["service"]
    assert found == {"name": "dapr-webhook", "namespace": "dapr-system", "path": "/convert"}
    assert service["namespace"] == "replaceme"
    assert placed({"spec": {"group": "x"}}, "y") == {"spec": {"group": "x"}}
