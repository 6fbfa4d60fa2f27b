"""Event routes: the answer to each delivery, whatever the record.

A route always answers 200 with SUCCESS or RETRY per record. It never says DROP (Dapr would send a letter of its own
where one is configured) and never 404 (Dapr would lose the record in silence).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.common.breaker import Clock
from services.common.context import correlation_id, user_id
from services.common.delivery import AnyEvent, read_bulk, read_event, read_single
from services.common.letters import Letters, Publisher
from services.common.settling import Consumer, EventMetrics, Item
from todoctl.core.dead_letters import Origin

__all__ = [
    "EVENT_BODY_LIMIT",
    "MANY_EVENTS",
    "ONE_EVENT",
    "BulkRoute",
    "Consumer",
    "EventMetrics",
    "EventRoute",
    "consumer_check",
]

# A refused delivery would come again for ever, so only the app token bounds what is read: 200 records of 1 MiB fit.
EVENT_BODY_LIMIT = 2**30

_STATUS = {"type": "string", "enum": ["SUCCESS", "RETRY"]}


def _described(answer: dict[str, Any]) -> dict[str, Any]:
    """What the OpenAPI document says of an event route: any body, one answer."""
    schema = {"type": "object", "required": list(answer), "properties": answer}
    media = {"application/json": {"schema": schema}}
    body = {"description": "What daprd delivers; nothing in it is refused.", "content": {"*/*": {"schema": {}}}}
    return {"openapi_extra": {"requestBody": body, "responses": {"200": {"content": media}}}}


# For `add_api_route`, beside the route's endpoint.
ONE_EVENT = _described({"status": _STATUS})
_ENTRY = {"type": "object", "properties": {"entryId": {"type": "string"}, "status": _STATUS}}
MANY_EVENTS = _described({"statuses": {"type": "array", "items": _ENTRY}})


class EventRoute:
    """The route of a subscription that delivers one record at a time: `handler(event, origin)`."""

    def __init__(
        self,
        handler: Callable[[AnyEvent, Origin], Awaitable[None]],
        *,
        consumer: str,
        topic: str,
        sidecar: Publisher,
        clock: Clock,
        metrics: EventMetrics,
    ) -> None:
        async def handle(items: Sequence[tuple[AnyEvent, Origin]]) -> None:
            for event, origin in items:
                # The logs of the handler, and the request's own line, are about this event.
                correlation_id.set(event.correlation_id)
                user_id.set(event.user_id)
                await handler(event, origin)

        self.consumer: Consumer[tuple[AnyEvent, Origin]] = Consumer(
            topic=topic,
            read=lambda delivery: (read_event(delivery), delivery.origin),
            handle=handle,
            letters=Letters(sidecar, consumer=consumer, clock=clock),
            clock=clock,
            metrics=metrics,
        )

    async def endpoint(self, request: Request) -> Response:
        """Answer the sidecar's POST."""
        delivery = read_single(await request.body(), request.headers, self.consumer.topic)
        [status] = await self.consumer.settle([delivery])
        return JSONResponse({"status": status})


class BulkRoute(Generic[Item]):
    """The route of a subscription that delivers many records of one partition at a time."""

    def __init__(self, consumer: Consumer[Item]) -> None:
        self.consumer = consumer

    async def endpoint(self, request: Request) -> Response:
        """Answer the sidecar's POST with a status per entry."""
        deliveries = read_bulk(await request.body(), self.consumer.topic)
        answers = zip(deliveries, await self.consumer.settle(deliveries), strict=True)
        statuses = [
            {"entryId": delivery.entry_id, "status": status} for delivery, status in answers if delivery.entry_id
        ]
        return JSONResponse({"statuses": statuses})


def consumer_check(*consumers: Consumer[Any]) -> Callable[[], Awaitable[str | None]]:
    """Ready while no consumer is paused; says which are, and why."""

    async def check() -> str | None:
        problems = [consumer.problem for consumer in consumers if consumer.problem]
        return f"paused: {'; '.join(problems)}" if problems else None

    return check
