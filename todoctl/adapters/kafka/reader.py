"""Reading partitions from offset to offset, in batches of librdkafka's own messages: the quick way, and the only one.

A place is a (topic, partition). What ends a reading is observed, never guessed from silence: a partition is done when
its position has passed its stop, or when the broker says that it has nothing before the stop any more (markers of
transactions and compaction leave offsets without a record). Silence is asked about: after `patience` seconds without
anything the leaders of the unfinished partitions are asked for their offsets, and one that does not answer is named.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.client import SECONDS, Broker, KafkaError, Place, failure, leaders, translated

_BATCH = 1000  # messages; one call to librdkafka for each of them would be thirty times slower
_PAUSE = 0.05  # seconds that a batch may take to fill, so the delay of a record that is followed

_SETTINGS = {
    # Partitions are assigned and nothing is committed: the group is a name that librdkafka asks for.
    "group.id": "todoctl",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",
    "log_level": "0",
    "socket.connection.setup.timeout.ms": "2000",
    "reconnect.backoff.ms": "20",
    "reconnect.backoff.max.ms": "1000",
    "queued.min.messages": "100000",
    # A full queue is looked at again after this; its default, a second, is a hole in every long reading.
    "fetch.queue.backoff.ms": "5",
    "fetch.wait.max.ms": "100",
}


class Reader:
    """Partitions from `starts` up to `stops`, exclusive; a stop of None follows what is still to come.

    Use it as a context manager. `lost` says how many offsets of a place were gone when they were to be read, because
    the topic's retention removed them meanwhile.
    """

    def __init__(
        self,
        broker: Broker,
        starts: Mapping[Place, int],
        stops: Mapping[Place, int | None],
        *,
        read_committed: bool = True,
        patience: float = 10.0,
        ahead_kib: int = 8192,
    ) -> None:
        """Plan the reading; at most `ahead_kib` are fetched ahead, whatever the number of partitions.

        More than the default would be memory that is new to the process all the time.
        """
        from confluent_kafka import Consumer

        self._broker = broker
        self._stops = {place: stops.get(place) for place in starts}
        self._open = {place for place, start in starts.items() if not reached(start, self._stops[place])}
        self._positions = dict(starts)
        self._seen = {place: starts[place] for place in self._open}  # where librdkafka is, which may be behind a stop
        self._asked = [_at(place) for place in self._seen]
        self._at_end: set[Place] = set()
        self._paused: set[Place] = set()
        self._patience = patience
        self._complaint = ""
        self.lost: dict[Place, int] = {}
        level = "read_committed" if read_committed else "read_uncommitted"
        with translated("open a reader"):
            self._consumer: Any = Consumer(
                {
                    **_SETTINGS,
                    **broker.settings,
                    "isolation.level": level,
                    "queued.max.messages.kbytes": str(ahead_kib),
                    "error_cb": self._complain,
                }
            )

    def __enter__(self) -> Self:
        with translated("start to read"):
            self._consumer.assign([_at(place, offset) for place, offset in self._seen.items()])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._consumer.close()

    def add(self, starts: Mapping[Place, int]) -> None:
        """Read and follow these partitions, too, from their starts on: the topics were given more of them."""
        with translated("read more partitions"):
            for topic in {topic for topic, _ in starts}:
                # Of a partition that it has not heard of yet the client would say that it is not there.
                self._consumer.list_topics(topic, timeout=SECONDS)
            self._consumer.incremental_assign([_at(place, offset) for place, offset in starts.items()])
        self._stops |= dict.fromkeys(starts)
        self._open |= starts.keys()
        self._positions |= starts
        self._seen |= starts
        self._asked = [_at(place) for place in self._seen]

    @property
    def positions(self) -> Mapping[Place, int]:
        """Place → the offset that is read next, after the batch that was given last."""
        return self._positions

    @property
    def unfinished(self) -> set[Place]:
        """The places that are not at their stop yet."""
        return self._open

    @property
    def at_end(self) -> set[Place]:
        """The places of which the broker has nothing more at present."""
        return self._at_end

    def batches(self) -> Iterator[list[Any]]:
        """Messages as they come, up to a thousand at once; an empty list each time that nothing came for a moment.

        Within a partition they are in the order of their offsets. Ends when every partition is done.

        Raises:
            KafkaError: a topic is gone, a record can't be read, or a partition's leader does not answer.
        """
        heard = time.monotonic()
        while self._open:
            with translated("read"):
                batch = self._consumer.consume(self._expected(), _PAUSE)
            if batch:
                heard = time.monotonic()
                batch = self._sorted_out(batch)
            elif time.monotonic() - heard > self._patience and self._open - self._paused:
                self._ask()
                heard = time.monotonic()
            yield batch

    def _expected(self) -> int:
        """How many messages to wait for: no more than can come, or each reading would end with a pause."""
        left = 0
        for place in self._open:
            stop = self._stops[place]
            if stop is None:
                return _BATCH
            left += stop - self._positions[place]
        return max(1, min(left, _BATCH))

    def pause(self, places: set[Place]) -> None:
        """Leave these partitions for now; what was fetched of them is given up and fetched again."""
        self._consumer.pause([_at(place) for place in places])
        self._paused |= places

    def resume(self, places: set[Place]) -> None:
        """Go on with paused partitions where they were left."""
        self._consumer.resume([_at(place) for place in places & self._open])
        self._paused -= places

    def _sorted_out(self, batch: list[Any]) -> list[Any]:
        """The records of a batch up to their stops; the events among them are heard."""
        events: list[Any] = []
        if any(columns.errors(batch)):
            events = [message for message in batch if message.error() is not None]
            batch = [message for message in batch if message.error() is None]
        records = self._up_to_stops(batch)
        for event in events:
            self._hear(event)
        return records

    def _up_to_stops(self, batch: list[Any]) -> list[Any]:
        """The batch without what lies at or behind a stop; one look per partition, not per message, decides."""
        passed: dict[Place, int] = {}
        for item in self._consumer.position(self._asked):
            place, offset = (item.topic, item.partition), item.offset
            if offset <= self._seen[place]:
                continue
            self._seen[place] = offset
            self._at_end.discard(place)
            stop = self._stops[place]
            if stop is not None and offset >= stop:
                self._close(place)
                passed[place] = stop
            self._positions[place] = offset if stop is None else min(offset, stop)
        if passed:
            batch = [m for m in batch if m.offset() < passed.get((m.topic(), m.partition()), m.offset() + 1)]
        return batch

    def _close(self, place: Place) -> None:
        if place in self._open:
            self._open.discard(place)
            self._positions[place] = self._stops[place] or 0
            self._consumer.pause([_at(place)])

    def _hear(self, event: Any) -> None:
        from confluent_kafka import KafkaError as Code

        error, place = event.error(), (event.topic(), event.partition())
        code = error.code()
        if code == Code._PARTITION_EOF:  # noqa: SLF001 - the constant's name
            if place in self._open and event.offset() >= self._seen[place]:
                self._at_end.add(place)
                if reached(event.offset(), self._stops[place]):
                    self._close(place)
        elif code == Code._AUTO_OFFSET_RESET:  # noqa: SLF001 - the constant's name
            self._skip_lost(place)
        elif code in _gone():
            raise KafkaError(f"Kafka: {_name(place)} is gone: the topic was deleted", hint="todoctl topics list")
        elif not error.retriable() and code not in _of_no_concern():
            raise KafkaError(f"Kafka: could not read {_name(place)}: {error.str()}", hint="todoctl topics describe")

    def _skip_lost(self, place: Place) -> None:
        """Go on at the oldest record that is still there, when retention was quicker than the reader."""
        with translated(f"find what is left of {_name(place)}"):
            start, end = self._consumer.get_watermark_offsets(_at(place), timeout=SECONDS)
        position = self._positions[place]
        if position > end:
            message = f"Kafka: {_name(place)} ends at offset {end}, before {position}: the topic was made anew"
            raise KafkaError(message, hint=f"todoctl topics describe {place[0]}")
        self.lost[place] = self.lost.get(place, 0) + start - position
        self._positions[place] = self._seen[place] = start
        if reached(start, self._stops[place]):
            self._close(place)
        else:
            self._consumer.incremental_unassign([_at(place)])
            self._consumer.incremental_assign([_at(place, start)])

    def _ask(self) -> None:
        """Nothing came for long: an answer from every leader proves that there is only nothing to read."""
        silent = self._open - self._paused
        for leader, places in leaders(self._broker, silent).items():
            place = min(places)
            try:
                with translated("ask"):
                    _, end = self._consumer.get_watermark_offsets(_at(place), timeout=SECONDS)
            except KafkaError as error:
                names = ", ".join(_name(place) for place in sorted(places))
                why = self._complaint or error.message
                message = f"Kafka: {leader}, which leads {names}, does not answer"
                raise failure(self._broker, message, (why,)) from error
            stop = self._stops[place]
            if stop is not None and stop > end:
                message = f"Kafka: {_name(place)} ends at offset {end}, before {stop}: the topic was made anew"
                raise KafkaError(message, hint=f"todoctl topics describe {place[0]}")

    def _complain(self, error: Any) -> None:
        self._complaint = error.str()


def _at(place: Place, offset: int = -1001) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(*place, offset)


def reached(offset: int, stop: int | None) -> bool:
    """Whether nothing is left to read before the stop; None is no stop."""
    return stop is not None and offset >= stop


def _name(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _gone() -> set[int]:
    from confluent_kafka import KafkaError as Code

    return {Code.UNKNOWN_TOPIC_OR_PART, Code.UNKNOWN_TOPIC_ID, Code._UNKNOWN_PARTITION, Code._UNKNOWN_TOPIC}  # noqa: SLF001


def _of_no_concern() -> set[int]:
    """What `_ask` finds out better, and what belongs to a group, which is not used."""
    from confluent_kafka import KafkaError as Code

    return {Code._TRANSPORT, Code._ALL_BROKERS_DOWN, Code._RESOLVE, Code._TIMED_OUT, Code.GROUP_AUTHORIZATION_FAILED}  # noqa: SLF001
