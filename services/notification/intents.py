"""The intent behind each reminder's mail, kept in Dapr's state: who works on it, how far it is, what came of it.

claimed ──► handing-over ──► sent
   │             ├──► unknown   the answer after DATA was lost: it may have been sent, so it is not sent again
   │             └──► failed    refused for good; a replay from another place of the topic tries again
   └──► stale    moved, or its task is done
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from todoctl.core.dead_letters import Origin

State = Literal["claimed", "handing-over", "sent", "unknown", "failed", "stale"]
Step = Literal["claim", "wait", "give up", "tell"]

# Longer than everything that may happen in the state: an expired claim is taken over, an expired hand-over is not.
CLAIM_LEASE = timedelta(seconds=30)
HANDING_OVER_LEASE = timedelta(seconds=90)


class Intent(BaseModel):
    """How far the mail for one reminder is; `token` is the process that works on it until `until`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    state: State
    token: str
    until: AwareDatetime
    at: AwareDatetime
    message_id: str
    words: str | None = None
    partition: int | None = None
    offset: int | None = None

    def moved(self, state: State, now: datetime, *, words: str | None = None) -> Intent:
        """The intent in its next state."""
        lease = HANDING_OVER_LEASE if state == "handing-over" else CLAIM_LEASE
        return self.model_copy(update={"state": state, "at": now, "until": now + lease, "words": words})


def new_intent(token: str, origin: Origin, message_id: str, now: datetime) -> Intent:
    """A fresh claim on a reminder."""
    place = {"partition": origin.partition, "offset": origin.offset}
    return Intent(state="claimed", token=token, until=now + CLAIM_LEASE, at=now, message_id=message_id, **place)


def next_step(intent: Intent | None, *, token: str, origin: Origin, now: datetime) -> Step:
    """What a process that is given the reminder does; it is not working on it already."""
    if intent is None:
        return "claim"
    mine = intent.token == token
    if intent.state == "claimed":
        return "claim" if mine or intent.until <= now else "wait"
    if intent.state == "handing-over":
        # Ours without an outcome: this process never came to DATA, or it would remember what came of it.
        return "claim" if mine else "give up" if intent.until <= now else "wait"
    if intent.state == "failed" and (intent.partition, intent.offset) != (origin.partition, origin.offset):
        return "claim"
    return "tell"
