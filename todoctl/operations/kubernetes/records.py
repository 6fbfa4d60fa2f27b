"""What is remembered of each release of a cluster beside Helm's own record, in ConfigMaps of its namespace.

Helm knows revision, state and objects. Who made a release, what it needs and reads, and what became of it after Helm was
done, is ours. A release that somebody made with helm alone has no record, and is shown with what Helm knows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import ValidationError

from todoctl.adapters import helm
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import CONFIG_MAPS
from todoctl.core.releases import Manifest, Release, State
from todoctl.errors import TodoctlError
from todoctl.operations.releases import failed

_LABEL = "todoctl.dev/release"
_KEPT = 50  # records; Helm keeps fewer revisions
_HELM: dict[str, State] = {
    "deployed": "deployed",
    "superseded": "superseded",
    "failed": "failed",
    "uninstalled": "uninstalled",
    "uninstalling": "uninstalled",
    "pending-install": "pending-install",
    "pending-upgrade": "pending-upgrade",
    "pending-rollback": "pending-rollback",
}


@dataclass(frozen=True)
class Records:
    """The records of one release name in one namespace."""

    kube: Kube
    name: str

    def all(self) -> dict[int, Release]:
        """Revision → its record."""
        found = self.kube.items(CONFIG_MAPS, selector=f"{_LABEL}={self.name}")
        records = (_release(str(item["metadata"]["name"]), item["data"]["release"]) for item in found)
        return {record.revision: record for record in records}

    def manifest(self, revision: int) -> Manifest | None:
        """What a release needs and reads, None where nobody wrote it down."""
        found = self.kube.get(CONFIG_MAPS, self._object(revision))
        if found is None or "manifest" not in found["data"]:
            return None
        try:
            return Manifest.model_validate_json(found["data"]["manifest"])
        except ValidationError as error:
            raise TodoctlError(f"the ConfigMap {self._object(revision)} is damaged", hint="todoctl history") from error

    def write(self, release: Release, manifest: Manifest | None = None) -> None:
        """Write what became of a release; what it needs once, when it is made. Values stay with Helm, in its Secret."""
        data = {"release": release.model_dump_json()}
        if manifest is not None:
            data["manifest"] = manifest.model_copy(update={"values": {}}).model_dump_json()
        labels = {_LABEL: self.name, "app.kubernetes.io/managed-by": "todoctl"}
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._object(release.revision), "labels": labels},
            "data": data,
        }
        if manifest is not None or self.kube.get(CONFIG_MAPS, self._object(release.revision)) is None:
            self.kube.apply(document)
        else:
            self.kube.patch(CONFIG_MAPS, self._object(release.revision), {"data": data})

    def fail_pending(self, result: str, *, since: int = 0) -> None:
        """Write down that whatever was begun with revision `since` or later, and did not end, failed."""
        for record in self.all().values():
            if record.is_pending and record.revision >= since:
                self.write(failed(record, result))

    def forget(self, revision: int) -> None:
        """Remove a record, of a release that nothing came of."""
        self.kube.delete(CONFIG_MAPS, self._object(revision))

    def forget_oldest(self) -> None:
        """Keep the newest fifty."""
        for revision in sorted(self.all())[:-_KEPT]:
            self.forget(revision)

    def _object(self, revision: int) -> str:
        return f"{self.name}-release-{revision}"


def history(revisions: Iterable[helm.Release], records: dict[int, Release]) -> list[Release]:
    """Helm's revisions and our records as one, the oldest first."""
    known = {item.revision: item for item in revisions}
    newest = max(known, default=0)
    stepped = {revision: _stepped(record, records) for revision, record in records.items()}
    joined = [_joined(item, stepped.get(item.revision), item.revision == newest) for item in known.values()]
    gone = [_gone(record, newest) for revision, record in records.items() if revision not in known]
    return sorted([*joined, *gone], key=lambda item: item.revision)


def _stepped(record: Release, records: dict[int, Release]) -> Release:
    """A kill may come between the two last writes of a switch: then the release is made, and so was its step."""
    made = records.get(record.prepares) if record.prepares is not None else None
    if record.is_pending and made is not None and made.state == "deployed":
        return record.model_copy(update={"state": "superseded", "result": f"made {made.colour} ready"})
    return record


def _joined(item: helm.Release, record: Release | None, is_newest: bool) -> Release:
    state = _HELM.get(item.status, "failed")
    if record is None:
        # Helm never ends a revision that it left pending; only the newest one is in anybody's way.
        ended: State = "failed" if state.startswith("pending-") and not is_newest else state
        return _of_helm(item, ended)
    if record.state == "failed" or (record.is_pending and not is_newest):
        return record.model_copy(update={"state": "failed"})
    if record.is_pending and not state.startswith("pending-"):
        # Helm has applied it; whether it works nobody has seen yet.
        return record
    return record.model_copy(update={"state": state})


def _gone(record: Release, newest: int) -> Release:
    """Of a revision that Helm does not keep any more, or never had."""
    if record.revision > newest and (record.is_pending or record.state == "failed"):
        return record
    ended: State = "failed" if record.state == "failed" or record.is_pending else "uninstalled"
    return record.model_copy(update={"state": ended})


def _of_helm(item: helm.Release, state: State) -> Release:
    return Release(
        revision=item.revision,
        state=state,
        app_version=item.app_version,
        code="",
        schema_revision="",
        schema_oldest="",
        events_written="",
        events_read=(),
        created_at=_moment(item.updated),
        by="helm",
        result=item.description,
    )


def _moment(text: str) -> datetime:
    """A time as Helm prints it, in a table or as JSON."""
    found = re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)\.?\d*\s*(Z|[+-]\d\d:?\d\d)?", text)
    if found is None:
        return datetime.fromtimestamp(0, UTC)
    zone = {"Z": "+00:00", None: "+00:00"}.get(found[3], found[3])
    return datetime.fromisoformat(f"{found[1]}T{found[2]}{zone}")


def _release(name: str, text: str) -> Release:
    try:
        return Release.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        raise TodoctlError(f"the ConfigMap {name} is damaged", hint=f"kubectl delete configmap {name}") from error
