"""The intent behind each reminder's mail, kept in Dapr's state: who hands it over, and what came of it.

   ┌──► handing-over ──► sent
   │     │       ├─────► unknown   the answer after DATA was lost: it may have been sent, so it is not sent again
   │     ▼       └─────► failed    refused for good; a replay from another place of the topic tries again
   └── claimed                     put back: refused for now
failed and stale (moved, or its task is done) also come of mails that were not handed over.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from todoctl.core.dead_letters import Origin

# An earlier release claimed reminders for 30 s before it came to hand them over.
State = Literal["claimed", "handing-over", "sent", "unknown", "failed", "stale"]
Step = Literal["send", "wait", "give up", "tell"]

# Longer than everything that may happen in the state.
LEASE = timedelta(seconds=90)


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

    @property
    def document(self) -> dict[str, Any]:
        """The intent as it is stored."""
        return self.model_dump(mode="json")

    def moved(self, state: State, now: datetime, *, words: str | None = None) -> Intent:
        """The intent in its next state."""
        return self.model_copy(update={"state": state, "at": now, "words": words})

    def put_back(self, now: datetime) -> Intent:
        """The intent of a mail that was not handed over: from now on any process may send it."""
        return self.model_copy(update={"state": "claimed", "at": now, "until": now})


def new_intent(token: str, origin: Origin, message_id: str, now: datetime) -> Intent:
    """The intent of a mail that is about to be handed over."""
    place = {"partition": origin.partition, "offset": origin.offset}
    return Intent(state="handing-over", token=token, until=now + LEASE, at=now, message_id=message_id, **place)


def next_step(intent: Intent | None, *, token: str, origin: Origin, now: datetime) -> Step:
    """What a process that is given the reminder does; it is not working on it already."""
    if intent is None:
        return "send"
    mine = intent.token == token
    if intent.state == "claimed":
        return "send" if mine or intent.until <= now else "wait"
    if intent.state == "handing-over":
        # Ours without an outcome: this process never came to DATA, or it would remember what came of it.
        return "send" if mine else "give up" if intent.until <= now else "wait"
    if intent.state == "failed" and (intent.partition, intent.offset) != (origin.partition, origin.offset):
        return "send"
    return "tell"
