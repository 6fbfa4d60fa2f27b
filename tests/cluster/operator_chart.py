"""A small chart that stands for an operator's: a definition, rights, and a pod that does nothing."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import yaml

NAME = "strimzi-kafka-operator"  # the real one's images can't be had everywhere
DEFINITION = "widgets.todoctl.test"
ROLE = "todoctl-test-operator"

_VALUES = {"image": "localhost/pause:1", "command": ["/pause"], "port": 0, "replicas": 1, "policy": "IfNotPresent"}
_TEMPLATE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: todoctl-test-operator}
rules: [{apiGroups: [todoctl.test], resources: [widgets], verbs: [get]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: test-operator}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: test-operator}}
  template:
    metadata: {labels: {app: test-operator}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: operator
        image: {{ .Values.image }}
        imagePullPolicy: {{ .Values.policy }}
        command: {{ toJson .Values.command }}
        resources: {requests: {cpu: 5m, memory: 8Mi}}
        {{- if .Values.port }}
        readinessProbe: {tcpSocket: {port: {{ .Values.port }}}, periodSeconds: 1}
        {{- end }}
        securityContext: {runAsNonRoot: true, runAsUser: 65532}
"""


def definition(*versions: str, field: str = "size") -> dict[str, Any]:
    """A definition that serves these versions and stores the last one."""
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {field: {"type": "integer"}}}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {
            "group": "todoctl.test",
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
            "versions": [
                {"name": name, "served": True, "storage": name == versions[-1], "schema": {"openAPIV3Schema": schema}}
                for name in versions
            ],
        },
    }


def chart(folder: Path, *, version: str = "1.2.0", definitions: tuple[dict[str, Any], ...] = ()) -> Path:
    """The chart's folder."""
    home = folder / NAME
    for part in ("templates", "crds"):
        (home / part).mkdir(parents=True, exist_ok=True)
    about = {"apiVersion": "v2", "name": NAME, "version": version, "appVersion": version}
    (home / "Chart.yaml").write_text(yaml.safe_dump(about))
    (home / "values.yaml").write_text(yaml.safe_dump(_VALUES))
    (home / "templates" / "all.yaml").write_text(_TEMPLATE)
    (home / "crds" / "all.yaml").write_text(yaml.safe_dump_all(definitions or (definition("v1"),)))
    return home


def packed(chart_folder: Path, *, into: Path, version: str = "1.2.0") -> Path:
    """The chart's archive in a folder, as `helm package` names it."""
    into.mkdir(parents=True, exist_ok=True)
    target = into / f"{NAME}-{version}.tgz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(chart_folder, NAME)
    return target
