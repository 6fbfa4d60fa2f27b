"""Event routes of any service: what each delivery is answered and what becomes of the record."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Route

from services.common.consumer import BulkRoute, Consumer, EventMetrics, EventRoute
from services.common.context import correlation_id, user_id
from services.common.delivery import AnyEvent, Delivery, read_event
from services.common.failures import Refused, Unavailable
from services.common.letters import Letters
from services.common.verdicts import PermanentError
from tests.unit.services.fake_broker import FakeBroker, FakeClock, original
from tests.unit.services.records import (
    BAD_BYTES,
    EVENT_TOPICS,
    bad_records,
    bulk_body,
    generated_records,
    origin_headers,
    record,
    single_body,
)
from todoctl.core.dead_letters import Origin

TOPIC = "task-events"


def accept(_: AnyEvent) -> None:
    """A verdict that lets every event pass."""


@dataclass
class Service:
    """A service with a single and a bulk route for each topic; handled events are kept, `verdict` may raise."""

    broker: FakeBroker = field(default_factory=FakeBroker)
    clock: FakeClock = field(default_factory=FakeClock)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    handled: list[AnyEvent] = field(default_factory=list)
    verdict: Callable[[AnyEvent], None] = accept
    routes: dict[str, EventRoute] = field(default_factory=dict)
    bulk_routes: dict[str, BulkRoute[AnyEvent]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        single, bulk = EventMetrics.in_registry(self.registry), EventMetrics.in_registry(CollectorRegistry())
        for topic in EVENT_TOPICS:
            self.routes[topic] = EventRoute(
                self._handle, consumer="recurring", topic=topic, sidecar=self.broker, clock=self.clock, metrics=single
            )
            self.bulk_routes[topic] = BulkRoute(
                Consumer(
                    topic=topic,
                    read=read_event,
                    handle=self._handle_all,
                    letters=Letters(self.broker, consumer="audit", clock=self.clock),
                    clock=self.clock,
                    metrics=bulk,
                )
            )
        routes = [Route(f"/single/{topic}", route.endpoint, methods=["POST"]) for topic, route in self.routes.items()]
        routes += [
            Route(f"/bulk/{topic}", route.endpoint, methods=["POST"]) for topic, route in self.bulk_routes.items()
        ]
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://app", trust_env=False
        )

    async def _handle(self, event: AnyEvent, _: Origin) -> None:
        self.verdict(event)
        self.handled.append(event)

    async def _handle_all(self, events: Any) -> None:
        for event in events:
            self.verdict(event)
        self.handled.extend(events)

    async def deliver(self, value: bytes, *, topic: str = TOPIC, **place: Any) -> str:
        """Deliver one record as daprd does; the status it is answered."""
        headers = origin_headers(topic, **{"offset": 1} | place)
        answer = await self.client.post(f"/single/{topic}", content=single_body(value, topic), headers=headers)
        assert answer.status_code == 200
        assert set(answer.json()) == {"status"}
        return str(answer.json()["status"])

    async def deliver_bulk(self, values: list[bytes], *, topic: str = TOPIC, **place: Any) -> list[str]:
        """Deliver records of one partition as daprd does; their statuses."""
        answer = await self.client.post(f"/bulk/{topic}", content=bulk_body(values, topic, **place))
        assert answer.status_code == 200
        statuses = answer.json()["statuses"]
        assert [status["entryId"] for status in statuses] == [str(index) for index in range(len(values))]
        return [status["status"] for status in statuses]

    def outcomes(self, outcome: str) -> float:
        """How many deliveries to the single route of task-events came out so."""
        return self.registry.get_sample_value("events_processed_total", {"topic": TOPIC, "outcome": outcome}) or 0.0


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service of its own for each test."""
    service = Service()
    async with service.client:
        yield service


def fail_with(error: Exception) -> Callable[[AnyEvent], None]:
    """A verdict that raises for every event."""

    def verdict(_: AnyEvent) -> None:
        raise error

    return verdict


def fail_when(is_culprit: Callable[[int], bool]) -> Callable[[AnyEvent], None]:
    """A verdict with a bug that some events trip, told by their user_seq."""

    def verdict(event: AnyEvent) -> None:
        if is_culprit(event.user_seq):
            raise ZeroDivisionError

    return verdict


# Sound records


@pytest.mark.parametrize("topic", EVENT_TOPICS)
async def test_a_sound_record_is_handled_once_and_answered_success(service: Service, topic: str) -> None:
    """The handler gets the event, and there is no letter."""
    assert await service.deliver(record(topic), topic=topic) == "SUCCESS"
    assert [event.user_id for event in service.handled] == [7]
    assert service.broker.published == []


async def test_a_batch_of_sound_records_is_handled_in_order(service: Service) -> None:
    """The whole batch reaches the handler in the order of the partition."""
    assert await service.deliver_bulk([record(TOPIC, user_seq=n) for n in range(1, 201)]) == ["SUCCESS"] * 200
    assert [event.user_seq for event in service.handled] == list(range(1, 201))


async def test_an_unknown_field_of_a_newer_producer_is_ignored(service: Service) -> None:
    """A newer minor version with more fields is still read."""
    newer = json.loads(record(TOPIC))
    newer["data"] |= {"schema_version": "1.7", "mood": "good"}
    assert await service.deliver(json.dumps(newer).encode()) == "SUCCESS"
    assert len(service.handled) == 1


async def test_an_event_that_dapr_did_not_wrap_is_read_too(service: Service) -> None:
    """A subscription that is not raw by mistake delivers the envelope itself."""
    answer = await service.client.post(f"/single/{TOPIC}", content=record(TOPIC))
    assert answer.json() == {"status": "SUCCESS"}
    entries = [{"entryId": "a", "event": json.loads(record(TOPIC)), "metadata": None}]
    answer = await service.client.post(f"/bulk/{TOPIC}", json={"entries": entries})
    assert answer.json() == {"statuses": [{"entryId": "a", "status": "SUCCESS"}]}
    assert len(service.handled) == 2


# Records that no retry can save


@pytest.mark.parametrize("topic", EVENT_TOPICS)
async def test_each_bad_record_is_answered_success_with_exactly_one_letter(service: Service, topic: str) -> None:
    """Every kind of bad record, delivered alone, becomes one letter with its bytes and its place."""
    for offset, (name, value) in enumerate(bad_records(topic).items()):
        service.broker.published.clear()
        assert await service.deliver(value, topic=topic, partition=2, offset=offset) == "SUCCESS", name
        [letter] = service.broker.letters
        assert letter.kind == "permanent", name
        assert letter.attempts == 1
        assert letter.consumer == "recurring"
        assert letter.origin == Origin(topic=topic, partition=2, offset=offset, key="7", timestamp_ms=1795475961184), (
            name
        )
        whole = len(value) <= 1_450_000
        assert original(letter) == (value if whole else value[:1_450_000]), name
        assert letter.message.startswith("[value cut") != whole
    assert service.handled == []


@pytest.mark.parametrize("topic", EVENT_TOPICS)
async def test_a_batch_of_bad_records_gives_one_letter_each(service: Service, topic: str) -> None:
    """The same in bulk, with sound records between them that are handled."""
    bad = list(bad_records(topic).values())
    values = [value for pair in zip(bad, [record(topic)] * len(bad), strict=True) for value in pair]
    assert await service.deliver_bulk(values, topic=topic) == ["SUCCESS"] * len(values)
    assert sorted(letter.origin.offset or 0 for letter in service.broker.letters) == list(range(0, len(values), 2))
    assert len(service.handled) == len(bad)


def test_there_are_hundreds_of_bad_records() -> None:
    """The tables stay as wide as they are meant to be."""
    assert sum(len(bad_records(topic)) for topic in EVENT_TOPICS) > 300


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=generated_records())
async def test_any_bytes_become_exactly_one_letter(service: Service, value: bytes) -> None:
    """Generated noise, JSON and envelopes: one letter each, alone and in bulk."""
    service.broker.published.clear()
    offset = len(service.broker.published)
    answer = await service.client.post(f"/single/{TOPIC}", content=single_body(value, TOPIC))
    assert (answer.status_code, answer.json()) == (200, {"status": "SUCCESS"})
    body = json.loads(bulk_body([value], TOPIC, first_offset=offset))
    body["entries"][0]["metadata"] = {}
    answer = await service.client.post(f"/bulk/{TOPIC}", json=body)
    assert answer.json() == {"statuses": [{"entryId": "0", "status": "SUCCESS"}]}
    assert [original(letter) for letter in service.broker.letters] == [value, value]


@pytest.mark.parametrize("name", BAD_BYTES)
async def test_a_body_that_daprd_never_sends_becomes_a_letter(service: Service, name: str) -> None:
    """Without Dapr's wrapping the body is the record: 200 and one letter, on both kinds of route."""
    answer = await service.client.post(f"/single/{TOPIC}", content=BAD_BYTES[name])
    assert (answer.status_code, answer.json()) == (200, {"status": "SUCCESS"})
    answer = await service.client.post(f"/bulk/{TOPIC}", content=BAD_BYTES[name])
    assert (answer.status_code, answer.json()) == (200, {"statuses": []})
    assert len(service.broker.letters) == 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=generated_records())
async def test_any_list_of_entries_is_answered_with_200(service: Service, entries: bytes) -> None:
    """Entries of any shape: a status for each that has an id, a letter for each."""
    try:
        listed = [json.loads(entries), {"entryId": "x", "event": json.loads(entries), "metadata": json.loads(entries)}]
    except ValueError:
        listed = [{"entryId": "x"}, {"entryId": 5, "event": "AAAA"}, {"entryId": None}, None, "text", {}]
    service.broker.published.clear()
    answer = await service.client.post(f"/bulk/{TOPIC}", content=json.dumps({"entries": listed}).encode())
    assert answer.status_code == 200
    assert {status["status"] for status in answer.json()["statuses"]} <= {"SUCCESS"}
    assert 1 <= len(service.broker.letters) <= len(listed)


async def test_hostile_places_are_no_reason_to_fail(service: Service) -> None:
    """Headers that are missing, no numbers or far too long give a letter without a place."""
    for headers in (
        {},
        {"__offset": "-1", "__partition": "x", "__key": "%ff%00"},
        {"__offset": "9" * 5000, "__partition": "1.5", "__timestamp": "NaN"},
        {"__key": "k" * 1_000_000},
    ):
        service.broker.published.clear()
        answer = await service.client.post(f"/single/{TOPIC}", content=b"x", headers=headers)
        assert answer.json() == {"status": "SUCCESS"}
        [letter] = service.broker.letters
        assert (letter.origin.partition, letter.origin.offset) == (None, None)
        assert len(letter.origin.key or "") <= 10_000


@pytest.mark.parametrize(
    ("escaped", "key"),
    [
        ("7", "7"),
        ("", ""),
        ("7+a%2Bb%2F%25", "7 a+b/%"),
        ("%E2%82%AC", "€"),
        ("%FF", "\\xff"),
        ("%00%0D%0A", "\\x00\r\n"),
    ],
)
async def test_the_key_is_what_lay_on_the_topic(service: Service, escaped: str, key: str) -> None:
    """Dapr escapes keys for HTTP; a letter has the key itself."""
    headers = origin_headers(TOPIC, offset=1) | {"__key": escaped}
    await service.client.post(f"/single/{TOPIC}", content=single_body(b"x", TOPIC), headers=headers)
    assert service.broker.letters[0].origin.key == key


async def test_a_record_without_key_gives_a_letter_without_key(service: Service) -> None:
    """No key and an empty key are two things."""
    await service.deliver(b"x", key=None)
    assert service.broker.letters[0].origin.key is None
    assert service.broker.published[0][2] is None


async def test_a_letter_lies_in_its_users_partition(service: Service) -> None:
    """The letter's message key is the record's."""
    await service.deliver(b"x", key="7")
    assert service.broker.published[0][2] == "7"


async def test_a_letter_says_what_the_record_said_about_itself(service: Service) -> None:
    """Event id, type, user and correlation are taken over where they can be read."""
    bad = json.loads(record(TOPIC))
    bad["data"]["version"] = "newest"
    await service.deliver(json.dumps(bad).encode())
    [letter] = service.broker.letters
    assert (letter.event_id, letter.event_type) == (bad["id"], "task.completed")
    assert (letter.user_id, letter.correlation_id) == (7, "request-1")
    assert (letter.error_class, letter.message.split(":")[0]) == ("InvalidEventError", "version")


@pytest.mark.parametrize(
    ("value", "error_class"),
    [
        (b"\xff", "UnreadableRecordError"),
        (b"[]", "UnreadableRecordError"),
        (b'{"data":{"schema_version":"2.0"}}', "UnsupportedEventError"),
        (b'{"data":{"schema_version":"1.0"}}', "InvalidEventError"),
    ],
)
async def test_letters_tell_kinds_of_bad_records_apart(service: Service, value: bytes, error_class: str) -> None:
    """`dlq list` groups by this name."""
    await service.deliver(value)
    assert service.broker.letters[0].error_class == error_class


async def test_letters_are_sound_events_themselves(service: Service) -> None:
    """The letter's own id is the envelope's, and its text can be stored and shown anywhere."""
    for value in BAD_BYTES.values():
        await service.deliver(value, offset=len(service.broker.published))
    for _, envelope, _ in service.broker.published:
        assert envelope["id"] == envelope["data"]["letter_id"]
        assert not re.search("[\x00\ud800-\udfff]", json.dumps(envelope["data"], ensure_ascii=False))


async def test_a_record_that_is_delivered_again_gets_no_second_letter(service: Service) -> None:
    """The answer was lost, or the batch came again: the letter is out already."""
    for _ in range(3):
        assert await service.deliver(b"x", offset=5) == "SUCCESS"
    assert len(service.broker.letters) == 1
    assert service.outcomes("repeated") == 2


async def test_a_restarted_consumer_repeats_the_same_letter(service: Service) -> None:
    """After a crash the letter may come twice, but with one id, so whoever reads letters sees one."""
    await service.deliver(b"x", offset=5)
    again = Service(broker=service.broker)
    async with again.client:
        await again.deliver(b"x", offset=5)
        await again.deliver(b"x", offset=6)
    ids = [letter.letter_id for letter in service.broker.letters]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("failure", [Unavailable("broker away"), Refused("scope"), RuntimeError("bug")])
async def test_without_its_letter_a_bad_record_stays_on_the_topic(service: Service, failure: Exception) -> None:
    """Whatever keeps the letter back, the record is delivered again, and its letter goes out when it can."""
    service.broker.failure = failure
    assert await service.deliver(b"x") == "RETRY"
    assert await service.deliver_bulk([b"x", record(TOPIC)]) == ["RETRY", "SUCCESS"]
    service.broker.failure = None
    assert await service.deliver(b"x") == "SUCCESS"
    assert len(service.broker.letters) == 1


async def test_a_rule_that_refuses_an_event_is_permanent(service: Service) -> None:
    """A handler that knows no retry can help gets a letter at once."""
    service.verdict = fail_with(PermanentError("the task never existed"))
    assert await service.deliver(record(TOPIC)) == "SUCCESS"
    [letter] = service.broker.letters
    assert (letter.kind, letter.attempts, letter.message) == ("permanent", 1, "the task never existed")


# A dependency is away


@pytest.mark.parametrize("error", [Unavailable("api away"), ConnectionResetError(), TimeoutError()])
async def test_while_a_dependency_is_away_records_are_delivered_again(service: Service, error: Exception) -> None:
    """However long it takes, there is no letter, no pause and no loss."""
    service.verdict = fail_with(error)
    for _ in range(300):
        assert await service.deliver(record(TOPIC)) == "RETRY"
    assert service.broker.published == []
    assert service.routes[TOPIC].consumer.problem is None
    service.verdict = accept
    assert await service.deliver(record(TOPIC)) == "SUCCESS"


async def test_a_batch_waits_with_its_letters_until_the_dependency_is_back(service: Service) -> None:
    """The batch comes again as a whole, so its bad record's letter is sent once, at the end."""
    service.verdict = fail_with(Unavailable("database away"))
    values = [record(TOPIC), b"x", record(TOPIC)]
    for _ in range(5):
        assert await service.deliver_bulk(values) == ["RETRY"] * 3
    assert service.broker.published == []
    service.verdict = accept
    assert await service.deliver_bulk(values) == ["SUCCESS"] * 3
    assert len(service.broker.letters) == 1


# Unknown failures


async def test_an_unknown_failure_is_tried_five_times_with_growing_pauses(service: Service) -> None:
    """Then it becomes a letter that says so; deliveries during the back-off don't count."""
    service.verdict = fail_with(ZeroDivisionError("bug"))
    value, answers, tries = record(TOPIC), [], 0
    for _ in range(200):
        answers.append(await service.deliver(value))
        service.clock.move(milliseconds=100)
        tries += 1
        if answers[-1] == "SUCCESS":
            break
    assert service.outcomes("unknown") == 4
    # Half a second, one, two, four.
    assert tries == pytest.approx(76, abs=5)
    [letter] = service.broker.letters
    assert (letter.kind, letter.attempts, letter.error_class) == ("unknown", 5, "ZeroDivisionError")
    assert original(letter) == value


async def test_an_unknown_failure_that_passes_leaves_no_trace(service: Service) -> None:
    """A record that succeeds at the third try is simply done."""
    value = record(TOPIC)
    service.verdict = fail_with(ZeroDivisionError("bug"))
    for _ in range(2):
        assert await service.deliver(value) == "RETRY"
        service.clock.move(seconds=10)
    service.verdict = accept
    assert await service.deliver(value) == "SUCCESS"
    assert service.broker.published == []


async def test_in_a_batch_only_the_culprit_is_tried_again(service: Service) -> None:
    """One record that trips a bug does not hold the others back, and becomes the only letter."""
    service.verdict = fail_when(lambda seq: seq == 3)
    values = [record(TOPIC, user_seq=n) for n in range(1, 6)]
    for _ in range(4):
        assert await service.deliver_bulk(values) == ["SUCCESS", "SUCCESS", "RETRY", "SUCCESS", "SUCCESS"]
        service.clock.move(seconds=10)
    assert await service.deliver_bulk(values) == ["SUCCESS"] * 5
    assert [letter.origin.offset for letter in service.broker.letters] == [2]


async def test_what_fails_only_together_is_told(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A bug that one batch trips and its records do not leaves a line with the error: no letter would tell of it."""
    failures = iter([RuntimeError("twice at once")])

    def once(_: object) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    service.verdict = once
    assert await service.deliver_bulk([record(TOPIC)] * 3) == ["SUCCESS"] * 3
    [line] = [line for line in caplog.records if line.name.startswith("services.common")]
    assert (line.levelname, line.__dict__["error"], line.__dict__["records"]) == (
        "WARNING",
        "RuntimeError: twice at once",
        3,
    )


async def test_a_record_in_its_back_off_does_not_hold_its_batch_back(service: Service) -> None:
    """While one record waits, the others of its batch are handled."""
    service.verdict = fail_when(lambda seq: seq == 1)
    values = [record(TOPIC, user_seq=n) for n in (1, 2)]
    for _ in range(20):
        assert await service.deliver_bulk(values) == ["RETRY", "SUCCESS"]
    assert service.broker.published == []


# The pause


async def trip(service: Service, *, count: int = 200) -> None:
    """Deliver many different records while every one fails."""
    service.verdict = fail_with(ZeroDivisionError("bug"))
    for offset in range(count):
        await service.deliver(record(TOPIC), offset=offset)


async def test_when_most_records_fail_the_consumer_pauses(service: Service) -> None:
    """It stops trying, says why, and does not fill the dead letters."""
    await trip(service)
    handled = service.outcomes("unknown")
    assert handled == 20
    assert service.broker.published == []
    problem = service.routes[TOPIC].consumer.problem
    assert problem is not None
    assert problem.startswith("task-events: 20 of the last 20 attempts failed for unknown reasons")
    assert service.registry.get_sample_value("consumer_paused", {"topic": TOPIC}) == 1
    assert service.outcomes("paused") == 180


async def test_a_pause_ends_by_itself_when_a_probe_succeeds(service: Service) -> None:
    """After the pause one record goes through; when it succeeds, all do."""
    await trip(service)
    service.verdict = accept
    assert await service.deliver(record(TOPIC), offset=1000) == "RETRY"
    service.clock.move(seconds=6)
    assert await service.deliver(record(TOPIC), offset=1000) == "SUCCESS"
    assert service.routes[TOPIC].consumer.problem is None
    assert service.registry.get_sample_value("consumer_paused", {"topic": TOPIC}) == 0
    assert await service.deliver(record(TOPIC), offset=1001) == "SUCCESS"


async def test_a_pause_lets_one_record_through_at_a_time_and_grows(service: Service) -> None:
    """While probes fail the pauses double up to a minute, so a broken day costs few letters."""
    await trip(service)
    before = service.outcomes("unknown")
    for second in range(3600):
        for partition in range(3):
            await service.deliver(record(TOPIC), partition=partition, offset=second)
        service.clock.move(seconds=1)
    probes = service.outcomes("unknown") - before
    assert 55 <= probes <= 70
    assert len(service.broker.letters) == 0


async def test_a_paused_consumer_still_gets_past_a_single_culprit(service: Service) -> None:
    """When the first record of the only partition is to blame, its probes count as its attempts."""
    await trip(service)
    service.verdict = fail_when(lambda seq: seq == 3)
    culprit = record(TOPIC, user_seq=3)
    for _ in range(600):
        if await service.deliver(culprit, offset=5000) == "SUCCESS":
            break
        service.clock.move(seconds=1)
    assert [letter.origin.offset for letter in service.broker.letters] == [5000]
    service.clock.move(seconds=61)
    assert await service.deliver(record(TOPIC, user_seq=4), offset=5001) == "SUCCESS"
    assert service.routes[TOPIC].consumer.problem is None


async def test_bad_records_do_not_pause_a_consumer(service: Service) -> None:
    """Permanent failures are the records' fault, however many there are."""
    for offset in range(150):
        await service.deliver(b"x", offset=offset)
    assert service.routes[TOPIC].consumer.problem is None
    assert len(service.broker.letters) == 150


async def test_a_failing_minority_does_not_pause_a_consumer(service: Service) -> None:
    """With four failures in ten the others go on."""
    service.verdict = fail_when(lambda seq: seq % 10 < 4)
    for offset in range(1, 301):
        await service.deliver(record(TOPIC, user_seq=offset), offset=offset)
    assert service.routes[TOPIC].consumer.problem is None


async def test_a_bug_stops_a_batch_early(service: Service) -> None:
    """In bulk too, a handler that fails for everything is called a few times, not once per record."""
    service.verdict = fail_with(ZeroDivisionError("bug"))
    assert await service.deliver_bulk([record(TOPIC)] * 200) == ["RETRY"] * 200
    assert service.bulk_routes[TOPIC].consumer.problem is not None
    service.verdict = accept
    service.clock.move(seconds=10)
    assert await service.deliver_bulk([record(TOPIC)] * 200) == ["SUCCESS"] * 200
    assert service.broker.published == []


async def test_topics_pause_alone(service: Service) -> None:
    """A bug that one topic's events trip leaves the other topics running."""
    await trip(service)
    service.verdict = accept
    assert await service.deliver(record("reminders"), topic="reminders") == "SUCCESS"


async def test_a_record_that_may_not_become_a_letter_is_tried_for_ever() -> None:
    """Where letters are not allowed a bug delays a record, a minute at most, and never gives it up."""
    clock, tries = FakeClock(), 0

    async def handle(_: Any) -> None:
        nonlocal tries
        tries += 1
        raise ZeroDivisionError

    consumer = Consumer(
        topic=TOPIC,
        read=read_event,
        handle=handle,
        letters=None,
        clock=clock,
        metrics=EventMetrics.in_registry(CollectorRegistry()),
    )
    delivery = Delivery(record(TOPIC), Origin(topic=TOPIC, partition=0, offset=1))
    for _ in range(7200):
        assert await consumer.settle([delivery]) == ["RETRY"]
        clock.move(seconds=1)
    assert tries == pytest.approx(120, abs=15)


# An operator's probe


async def test_a_probe_passes_without_effect_or_letter(service: Service) -> None:
    """A probe record is answered SUCCESS, handled by nobody and no dead letter, alone and in a batch."""
    probe = json.dumps({"specversion": "1.0", "id": "p", "type": "todoctl.probe", "source": "/t", "data": {}}).encode()
    assert await service.deliver(probe) == "SUCCESS"
    assert await service.deliver_bulk([probe, record(TOPIC), probe]) == ["SUCCESS"] * 3
    assert len(service.handled) == 1
    assert not service.broker.letters
    assert service.outcomes("probe") == 1


# Logs


async def test_logs_say_whose_record_it_was(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A dead letter's log line has the ids that the record claims, and where it lay."""
    bad = json.loads(record(TOPIC))
    bad["data"]["version"] = "newest"
    await service.deliver(json.dumps(bad).encode(), partition=4, offset=12)
    [line] = [vars(found) for found in caplog.records if found.message == "dead letter"]
    assert (line["correlation_id"], line["user_id"], line["event_id"]) == ("request-1", 7, bad["id"])
    assert (line["topic"], line["partition"], line["offset"]) == (TOPIC, 4, 12)
    assert line["error_class"] == "InvalidEventError"


async def test_a_handler_logs_under_its_events_ids(service: Service) -> None:
    """Whatever a handler logs carries the correlation and the user of the event it handles."""
    seen = []
    service.verdict = lambda _: seen.append((correlation_id.get(), user_id.get()))
    await service.deliver(record(TOPIC, correlation_id="c-9", user_id=12))
    assert seen == [("c-9", 12)]


async def test_an_outage_is_one_log_line_per_delivery(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """A batch of 200 that waits is one warning, not 200 a second."""
    service.verdict = fail_with(Unavailable("database away"))
    await service.deliver_bulk([record(TOPIC)] * 200)
    assert len([line for line in caplog.records if line.name.startswith("services.common")]) == 1
