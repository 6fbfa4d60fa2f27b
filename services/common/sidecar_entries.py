"""What is given to the sidecar in numbers: events to publish, states to write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLOUD_EVENT = "application/cloudevents+json"


@dataclass(frozen=True)
class BulkEntry:
    """One event of a bulk publish; `entry_id` is unique within the call."""

    entry_id: str
    envelope: Mapping[str, Any]
    key: str | None = None

    @property
    def document(self) -> dict[str, Any]:
        """The entry as the publish API takes it."""
        metadata = {} if self.key is None else {"partitionKey": self.key}
        return {"entryId": self.entry_id, "event": self.envelope, "contentType": CLOUD_EVENT, "metadata": metadata}


@dataclass(frozen=True)
class StateWrite:
    """A value for a key: whatever is there (`last`), only over the value with `etag`, or only where there is none."""

    key: str
    value: Any
    etag: str | None = None
    last: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """The write as the state API takes it."""
        entry: dict[str, Any] = {"key": self.key, "value": self.value}
        if self.last:
            return entry
        entry["options"] = {"concurrency": "first-write"}
        return entry if self.etag is None else {**entry, "etag": self.etag}
