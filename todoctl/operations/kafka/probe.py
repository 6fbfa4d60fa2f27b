"""A record produced to a topic, and the wait until a group has consumed it."""

from __future__ import annotations

import json
import time
from datetime import datetime
from uuid import uuid4

from todoctl.adapters.kafka import client, groups, records
from todoctl.core.events import PROBE_TYPE


def round_trip(broker: client.Broker, group: str, topic: str, *, seconds: float, now: datetime) -> float | None:
    """Seconds until `group` committed past a probe record on `topic`, or None when it did not in time.

    Every consumer of ours answers a probe with SUCCESS and does nothing else: its type is PROBE_TYPE.
    """
    value = json.dumps(probe(now)).encode()
    since = time.monotonic()
    partition, offset = records.produce(broker, topic, key=b"todoctl-probe", value=value, headers={})
    while time.monotonic() - since < seconds:
        rows = groups.lag(broker, group, {topic: partition + 1})
        row = next(row for row in rows if row.partition == partition)
        if row.committed is not None and row.committed > offset:
            return time.monotonic() - since
        time.sleep(0.1)
    return None


def probe(now: datetime) -> dict[str, object]:
    """The probe's CloudEvents envelope."""
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "type": PROBE_TYPE,
        "source": "/todoctl/doctor",
        "time": now.isoformat(),
        "datacontenttype": "application/json",
        "data": {},
    }
