"""The relay: every event once or more, in each user's order, whatever fails on the way."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from contextlib import AsyncExitStack
from typing import Any

import psycopg

from tests.unit.services.api.api_server import Api, make_api, until
from tests.unit.services.api.fake_daprd import nothing_refused
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase
from todoctl.core.dead_letters import DeadLetter
from todoctl.core.events import parse_event


def _empty(api: Api) -> bool:
    return api.count("outbox") == 0


def _fill(api: Api, users: int, each: int, topics: tuple[str, ...] = ("task-events", "task-updates")) -> None:
    """Put entries into the outbox, one user's after another's, with no request behind them."""
    query = """
        INSERT INTO api.outbox (user_id, user_seq, topic, key, event_id, envelope)
        SELECT usr, seq, tpc, usr::text, gen_random_uuid(), jsonb_build_object('id', usr || '-' || seq || '-' || tpc,
            'data', jsonb_build_object('user_seq', seq, 'correlation_id', 'c' || seq))
        FROM generate_series(1, %s) AS s(seq), generate_series(1, %s) AS u(usr), unnest(%s::text[]) AS t(tpc)
        ORDER BY s.seq, u.usr, t.tpc
    """
    with psycopg.connect(api.todo.admin_url) as link:
        link.execute(query, (each, users, list(topics)))


def _in_order(api: Api, each: int) -> bool:
    """Whether each lane has every number, and the first appearance of each is in order."""
    return all(list(dict.fromkeys(lane)) == list(range(1, each + 1)) for lane in api.daprd.by_lane().values())


async def test_a_write_is_on_its_topics_soon_and_the_outbox_empty(relaying: Api) -> None:
    """A created task is published to both topics with the user's key, as valid events with the task in them."""
    task = await relaying.create(title="Hello", tags=["ä"])
    await until(lambda: _empty(relaying))
    for topic in ("task-events", "task-updates"):
        (record,) = relaying.daprd.on(topic)
        event = parse_event(topic, record.envelope)
        assert record.key == "7"
        assert record.envelope["id"] == str(event.event_id)
        assert (event.task_id, event.user_seq, event.payload.task.title) == (task["id"], 1, "Hello")  # type: ignore[union-attr]
        assert relaying.sample("outbox_published_total", topic=topic) == 1


async def test_each_lane_keeps_its_order_with_one_entry_on_its_way(relaying: Api) -> None:
    """40 users with 25 events each: all published once, in order, never two of a lane at a time, in bulks."""
    _fill(relaying, users=40, each=25)
    await until(lambda: _empty(relaying))
    assert len(relaying.daprd.records) == 40 * 25 * 2
    assert len(relaying.daprd.by_lane()) == 80
    assert _in_order(relaying, 25)
    assert relaying.daprd.overlaps == 0
    assert relaying.daprd.largest_bulk == 40


async def test_a_user_with_thousands_of_events_does_not_keep_others_waiting(relaying: Api) -> None:
    """An event that comes behind 3,000 of another user is out long before those are."""
    relaying.daprd.away = True
    _fill(relaying, users=1, each=1500)
    with psycopg.connect(relaying.todo.admin_url) as link:
        link.execute(
            "INSERT INTO api.outbox (user_id, user_seq, topic, key, event_id, envelope) VALUES"
            ' (2, 1, \'task-events\', \'2\', gen_random_uuid(), \'{"id": "late", "data": {"user_seq": 1}}\')'
        )
    relaying.daprd.away = False
    await until(lambda: _empty(relaying), seconds=60)
    assert [record.event_id for record in relaying.daprd.records].index("late") <= 50
    assert relaying.daprd.by_lane()["1", "task-events"] == list(range(1, 1501))


async def test_a_bulk_has_at_most_a_hundred_entries(relaying: Api) -> None:
    """More users than fit into one call are taken in turn."""
    _fill(relaying, users=250, each=2)
    await until(lambda: _empty(relaying))
    assert relaying.daprd.largest_bulk == 100
    assert _in_order(relaying, 2)


async def test_large_events_go_in_small_bulks(relaying: Api) -> None:
    """A bulk stays below what the sidecar takes as one body."""
    for user in range(1, 101):
        await relaying.create(user, description="\N{GRINNING FACE}" * 10_000)
    await until(lambda: _empty(relaying))
    assert len(relaying.daprd.records) == 200
    assert relaying.daprd.largest_bulk <= 25


async def test_an_entry_that_fails_for_now_holds_up_its_own_lane_only(relaying: Api) -> None:
    """While one user's partition is away the others go on; afterwards that user's events follow in order."""
    relaying.daprd.failing = lambda _, envelope: "leader not available" if envelope["id"].startswith("3-") else None
    _fill(relaying, users=5, each=10)
    await until(lambda: relaying.count("outbox") == 20)
    assert {key for key, _ in relaying.daprd.by_lane()} == {"1", "2", "4", "5"}
    assert relaying.sample("outbox_failed_total", topic="task-events") > 0
    relaying.daprd.failing = nothing_refused
    await until(lambda: _empty(relaying))
    assert _in_order(relaying, 10)
    assert relaying.daprd.overlaps == 0
    assert relaying.daprd.on("dlq-events") == []


async def test_a_topic_that_is_away_does_not_hold_up_the_other(relaying: Api) -> None:
    """While one topic takes nothing, the other one gets everything."""
    relaying.daprd.failing = lambda topic, _: "broker away" if topic == "task-events" else None
    _fill(relaying, users=3, each=5)
    await until(lambda: len(relaying.daprd.on("task-updates")) == 15)
    assert relaying.daprd.on("task-events") == []
    relaying.daprd.failing = nothing_refused
    await until(lambda: _empty(relaying))
    assert _in_order(relaying, 5)


async def test_a_sidecar_that_was_away_gets_everything_when_it_is_back(relaying: Api) -> None:
    """Writes are acknowledged while the sidecar is away, and published once it is back."""
    await relaying.create()
    await until(lambda: _empty(relaying))
    relaying.daprd.away = True
    for number in range(3):
        await relaying.create(title=f"Task {number}")
    refused = relaying.daprd.calls["/v1.0-alpha1/publish/bulk/pubsub/task-events"]
    await until(lambda: relaying.daprd.calls["/v1.0-alpha1/publish/bulk/pubsub/task-events"] > refused + 2)
    assert relaying.count("outbox") == 6
    relaying.daprd.away = False
    await until(lambda: _empty(relaying))
    assert relaying.daprd.by_lane()["7", "task-events"] == [1, 2, 3, 4]


async def test_a_refused_entry_becomes_a_dead_letter_and_the_lane_goes_on(relaying: Api) -> None:
    """An event that the broker will never take goes to dlq-events, whole, with the reason, and its successors follow."""
    words = "kafka server: Message was too large, server rejected it to avoid allocation error"
    relaying.daprd.refusing = lambda topic, envelope: words if envelope["id"] == f"2-2-{topic}" else None
    _fill(relaying, users=3, each=3)
    await until(lambda: _empty(relaying))
    letters = [DeadLetter.model_validate(record.data) for record in relaying.daprd.on("dlq-events")]
    assert [(letter.origin.topic, letter.origin.key, letter.kind) for letter in letters] in (
        [("task-events", "2", "permanent"), ("task-updates", "2", "permanent")],
        [("task-updates", "2", "permanent"), ("task-events", "2", "permanent")],
    )
    letter = letters[0]
    assert words in letter.message
    assert (letter.consumer, letter.error_class, letter.user_id, letter.correlation_id) == ("api", "Refused", 2, "c2")
    assert json.loads(b64decode(letter.value))["id"] == f"2-2-{letter.origin.topic}"
    assert {record.key for record in relaying.daprd.on("dlq-events")} == {"2"}
    assert relaying.daprd.by_lane()["2", "task-events"] == [1, 3]
    assert relaying.sample("outbox_refused_total", topic="task-events") == 1


async def test_a_scope_that_forbids_the_topic_makes_dead_letters(relaying: Api) -> None:
    """A whole call that is refused is taken apart, and every entry in it becomes a dead letter."""
    relaying.daprd.forbidden = True
    _fill(relaying, users=2, each=2)
    await until(lambda: _empty(relaying))
    assert len(relaying.daprd.on("dlq-events")) == 8
    assert relaying.daprd.by_lane() == {}


async def test_an_event_too_large_even_as_a_letter_leaves_a_letter_without_it(relaying: Api) -> None:
    """Where the letter with the event in it is refused, one without it says what is missing."""
    relaying.daprd.refusing = lambda topic, envelope: (
        "message too large" if topic != "dlq-events" or envelope["data"]["value"] else None
    )
    _fill(relaying, users=1, each=1, topics=("task-events",))
    await until(lambda: _empty(relaying))
    (record,) = relaying.daprd.on("dlq-events")
    assert record.data["value"] == ""
    assert "is left out" in record.data["message"]


async def test_an_event_that_not_even_the_dead_letters_take_stays(relaying: Api) -> None:
    """Nothing is dropped: with every door shut the entry waits, and leaves once one opens."""
    relaying.daprd.refusing = lambda topic, _: "message too large" if topic in {"task-events", "dlq-events"} else None
    _fill(relaying, users=1, each=1)
    path = "/v1.0/publish/pubsub/dlq-events"
    await until(lambda: relaying.daprd.calls[path] > 4)
    assert relaying.count("outbox") == 1
    relaying.daprd.refusing = lambda topic, _: "message too large" if topic == "task-events" else None
    await until(lambda: _empty(relaying))
    assert len(relaying.daprd.on("dlq-events")) == 1


async def test_a_relay_whose_backend_is_terminated_goes_on_and_loses_nothing(relaying: Api) -> None:
    """The relay's connection is cut again and again under load: every event arrives, each lane in order."""
    relaying.daprd.hold = asyncio.Event()
    _fill(relaying, users=20, each=20)
    for _ in range(3):
        await until(lambda: relaying.daprd.waiting > 0)
        await until(lambda: _terminate_relays(relaying) > 0)
        relaying.daprd.hold.set()
        await until(lambda: relaying.daprd.waiting == 0 or _empty(relaying))
        relaying.daprd.hold.clear()
    relaying.daprd.hold.set()
    await until(lambda: _empty(relaying), seconds=30)
    assert _in_order(relaying, 20)
    ids = [record.event_id for record in relaying.daprd.records]
    assert len(set(ids)) == 20 * 20 * 2
    # What was on its way when the connection broke is repeated under the same id.
    assert len(ids) > len(set(ids))


async def test_a_second_relay_waits_and_takes_over(todo: TodoDatabase, clock: FakeClock) -> None:
    """Of two processes one publishes; when it dies in the middle, the other repeats what was on its way and goes on."""
    first, second = make_api(todo, clock), make_api(todo, clock)
    async with AsyncExitStack() as seconds_life:
        async with first.app.router.lifespan_context(first.app):
            await until(lambda: first.sample("outbox_relay_leads") == 1)
            await seconds_life.enter_async_context(second.app.router.lifespan_context(second.app))
            await until(lambda: len(_relays(first)) == 2)
            _fill(first, users=2, each=1)
            await until(lambda: _empty(first))
            assert (second.daprd.records, second.sample("outbox_relay_leads")) == ([], 0)
            first.daprd.hold = asyncio.Event()
            await first.create(user=9)
            await until(lambda: first.daprd.waiting == 2)
            assert second.daprd.records == []
        await until(lambda: _empty(second))
        assert second.sample("outbox_relay_leads") == 1
        assert set(second.daprd.by_lane()) == {("9", "task-events"), ("9", "task-updates")}


async def test_a_killed_server_loses_no_event(fragile: tuple[PostgresServer, TodoDatabase], clock: FakeClock) -> None:
    """PostgreSQL dies under the relay and comes back: everything committed is published, in order."""
    server, database = fragile
    api = make_api(database, clock)
    async with api.app.router.lifespan_context(api.app):
        api.daprd.hold = asyncio.Event()
        _fill(api, users=10, each=10)
        await until(lambda: api.daprd.waiting > 0)
        await asyncio.to_thread(server.kill)
        api.daprd.hold.set()
        await until(lambda: api.sample("outbox_relay_leads") == 0)
        server.start()
        await until(lambda: _empty(api), seconds=30)
        assert len(api.daprd.by_lane()) == 20
        assert _in_order(api, 10)
    await api.http.aclose()


async def test_a_missed_notification_costs_a_second(relaying: Api) -> None:
    """Entries that come without a NOTIFY are found by the slow poll."""
    await until(lambda: relaying.sample("outbox_relay_leads") == 1)
    with psycopg.connect(relaying.todo.admin_url) as link:
        link.execute("ALTER TABLE api.outbox DISABLE TRIGGER outbox_wakes_relay")
    _fill(relaying, users=1, each=1)
    await until(lambda: _empty(relaying), seconds=5)


async def test_the_gauges_say_what_waits(relaying: Api) -> None:
    """The outbox's size and the age of its oldest entry are measured; not a number where it can't be asked."""
    await relaying.create()
    await until(lambda: _empty(relaying))
    relaying.daprd.away = True
    await relaying.create()
    relaying.clock.move(seconds=90)
    # A measurement may come between the write and the clock's move, so the age is waited for, too.
    await until(lambda: relaying.sample("outbox_oldest_age_seconds") == 90)
    assert relaying.sample("outbox_entries") == 2


def _relays(api: Api) -> list[dict[str, Any]]:
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'api-relay' AND datname = current_database()"
    return api.rows(query)


def _terminate_relays(api: Api) -> int:
    rows = api.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'api-relay' AND datname = current_database()"
    )
    return len(rows)
