"""A cluster's API that already knows the Secrets which a first release is about to make from its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import SECRETS
from todoctl.core.cluster_values import Cluster, Secret


class ForeseeingKube(Kube):
    """Answers from the values where a Secret is not there yet: topics and schema are looked at before Helm makes it."""

    def __init__(self, access: Access, namespace: str, foreseen: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__(access, namespace)
        self._foreseen = foreseen

    def secret(self, name: str, *, namespace: str | None = None) -> dict[str, str]:
        """The Secret that is there, else the one that will be."""
        if name in self._foreseen and namespace in {None, self.namespace} and self.get(SECRETS, name) is None:
            return dict(self._foreseen[name])
        return super().secret(name, namespace=namespace)


def foreseeing(cluster: Cluster) -> Callable[[Access, str], Kube]:
    """Makes such an API from the values."""
    given = {name: dict(secret.values) for name, secret in secrets(cluster).items() if secret.source == "values"}
    return lambda access, namespace: ForeseeingKube(access, namespace, given)


def secrets(cluster: Cluster) -> dict[str, Secret]:
    """Every Secret of the platform by its name in the cluster."""
    section = cluster.secrets
    every = (
        *(section.database, section.dapr_token, section.app_token, section.service_token),
        *(section.smtp, section.kafka, section.postgresql),
    )
    return {secret.name: secret for secret in every}
