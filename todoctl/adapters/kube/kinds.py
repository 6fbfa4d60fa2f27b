"""Kinds of objects, and where a server has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of object: where the server has it."""

    api: str
    plural: str
    is_namespaced: bool = True

    def path(self, namespace: str, name: str = "", part: str = "") -> str:
        """The path of all objects, of one, or of a part of one such as its log."""
        root = "/api/v1" if self.api == "v1" else f"/apis/{self.api}"
        home = f"/namespaces/{namespace}" if self.is_namespaced else ""
        return root + home + "/" + "/".join(word for word in (self.plural, name, part) if word)


PODS = Kind("v1", "pods")
SERVICES = Kind("v1", "services")
SECRETS = Kind("v1", "secrets")
CONFIG_MAPS = Kind("v1", "configmaps")
EVENTS = Kind("v1", "events")
NODES = Kind("v1", "nodes", is_namespaced=False)
NAMESPACES = Kind("v1", "namespaces", is_namespaced=False)
DEPLOYMENTS = Kind("apps/v1", "deployments")
STATEFUL_SETS = Kind("apps/v1", "statefulsets")
REPLICA_SETS = Kind("apps/v1", "replicasets")
JOBS = Kind("batch/v1", "jobs")
LEASES = Kind("coordination.k8s.io/v1", "leases")
INGRESSES = Kind("networking.k8s.io/v1", "ingresses")
POD_METRICS = Kind("metrics.k8s.io/v1beta1", "pods")
DEFINITIONS = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", is_namespaced=False)
ACCESS_REVIEWS = Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", is_namespaced=False)
