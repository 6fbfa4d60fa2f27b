"""What Strimzi's operators say of a resource, read from its status as the server has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

# A reason is the name of the exception that ended the operator's work. These are about what the resource wants; time-outs,
# an API server that is away or a broker that starts are not, and the operator tries again by itself.
_FINAL = frozenset(
    {
        "InvalidConfigParameterException",
        "InvalidConfigurationException",
        "InvalidResourceException",
        "KafkaUpgradeException",
        "NoImageException",
        "NotSupported",
        "ResourceConflict",
        "SchemaValidatedInvalidResourceException",
        "UnsupportedKafkaVersionException",
    }
)
# What a topic's KafkaError quotes of the broker.
_FINAL_OF_BROKER = frozenset(
    {"InvalidConfigurationException", "InvalidPartitionsException", "InvalidTopicException", "PolicyViolationException"}
)
# Something else has to be made first, and may be.
_MAY_COME = re.compile("does not exist|no KafkaNodePools found", re.IGNORECASE)
_BAD = {("NotReady", "True"), ("Ready", "False")}
# A topic that is annotated as not managed is nobody's to make ready.
_GOOD = {("Ready", "True"), ("Unmanaged", "True")}
_PAUSED = ("ReconciliationPaused", "True")


@dataclass(frozen=True)
class Said:
    """How far a resource is; in the operator's own words where it has any."""

    ready: bool
    words: str
    refused: bool = False  # for a reason that does not pass by itself
    unseen: bool = False  # no operator has ever looked at it


def said(item: Document | None) -> Said:
    """What the operator says of a resource's newest generation."""
    if item is None:
        return Said(ready=False, words="is not there yet")
    status = item.get("status") or {}
    if not status:
        return Said(ready=False, words="no operator has looked at it yet", unseen=True)
    conditions = {(one.get("type"), one.get("status")): one for one in status.get("conditions") or ()}
    if _PAUSED in conditions:
        return Said(ready=False, words="ReconciliationPaused: its operator was told to leave it alone", refused=True)
    observed, bad = status.get("observedGeneration"), next((conditions[key] for key in conditions if key in _BAD), None)
    if int(observed or 0) < int(item["metadata"].get("generation", 0)):
        # The first word on a new Kafka comes without a generation, long before the operator is done with it.
        first = _words(bad) if bad is not None and observed is None else ""
        return Said(ready=False, words=first or "its operator has not seen the newest change yet")
    if bad is not None:
        return Said(ready=False, words=_words(bad), refused=_is_final(bad))
    # A node pool has no such condition: its brokers are the Kafka's matter.
    is_ready = item.get("kind") == "KafkaNodePool" or not _GOOD.isdisjoint(conditions)
    return Said(is_ready, "ready" if is_ready else "its operator does not say that it is ready")


def _words(condition: Document) -> str:
    told = (str(condition.get(key) or "").strip() for key in ("reason", "message"))
    return ": ".join(filter(None, told)) or "NotReady"


def _is_final(condition: Document) -> bool:
    reason, message = str(condition.get("reason") or ""), str(condition.get("message") or "")
    if _MAY_COME.search(message):
        return False
    if reason == "KafkaError":
        return not _FINAL_OF_BROKER.isdisjoint(re.findall(r"\w+Exception", message))
    return reason in _FINAL
