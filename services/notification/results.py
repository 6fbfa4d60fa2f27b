"""What came of a reminder, as events; their ids follow from the reminder, so a repeated one is known as such."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID, uuid5

from services.common.sidecar import BulkEntry, Sidecar
from services.notification.intents import Intent
from services.notification.mail import moment_of
from todoctl.core.events import REMINDERS, ReminderEvent, partition_key, to_cloud_event

SOURCE = "/todo/notification"

_NAMESPACE = UUID("0c5ad0d1-8c0f-4f2e-9f6a-3a4f6f0b7c52")
_TYPES: dict[str, Literal["reminder.sent", "reminder.failed", "reminder.unknown"]] = {
    "sent": "reminder.sent",
    "failed": "reminder.failed",
    "unknown": "reminder.unknown",
}


class Results:
    """Publishes what came of reminders, many at a time."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def tell(self, ended: Sequence[tuple[ReminderEvent, Intent]]) -> dict[UUID, str]:
        """Publish the events that tell the ends of intents, where there is something to tell.

        What the broker said of those that it does not have, by the id of the reminder's event.

        Raises:
            ServiceFailure: the sidecar or the broker has none of them.
        """
        results = {str(event.event_id): result for event, intent in ended if (result := result_of(event, intent))}
        entries = [
            BulkEntry(name, to_cloud_event(result, source=SOURCE), key=partition_key(result.user_id))
            for name, result in results.items()
        ]
        failed = await self._sidecar.publish_bulk(REMINDERS, entries)
        return {UUID(name): f"publish to {REMINDERS}: {error}" for name, error in failed.items()}


def intent_key(event: ReminderEvent) -> str:
    """The name of a reminder's intent; one that was moved has another."""
    return f"reminder-{event.payload.reminder_id}-{moment_of(event)}"


def result_of(event: ReminderEvent, intent: Intent) -> ReminderEvent | None:
    """The event that tells an intent's end; None where there is nothing to tell."""
    kind = _TYPES.get(intent.state)
    if kind is None:
        return None
    return ReminderEvent(
        event_id=uuid5(_NAMESPACE, f"{intent_key(event)}/{kind}"),
        event_type=kind,
        user_id=event.user_id,
        task_id=event.task_id,
        user_seq=event.user_seq,
        version=event.version,
        occurred_at=intent.at,
        correlation_id=event.correlation_id,
        payload=event.payload.model_copy(update={"message_id": intent.message_id, "reason": _reason(intent)}),
    )


def _reason(intent: Intent) -> str | None:
    return None if intent.state == "sent" else intent.words
