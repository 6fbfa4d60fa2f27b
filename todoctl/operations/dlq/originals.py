"""The records that died, where their topics still have them: with the keys and headers that a letter may not know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from todoctl.adapters.kafka.client import Broker, Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.adapters.kafka.records import Record, to_record
from todoctl.core.dlq.foreign import Place as Origin

# Reading past so many records costs as much as opening another reader.
_GAP = 50_000


def find_originals(
    broker: Broker, origins: Iterable[Origin | None], ranges: Mapping[Place, tuple[int, int]]
) -> dict[tuple[str, int, int], Record]:
    """(topic, partition, offset) → the record there, for all origins that the `ranges` of the topics still cover."""
    wanted: dict[Place, set[int]] = {}
    for origin in origins:
        if origin is None or origin.partition is None or origin.offset is None:
            continue
        start, end = ranges.get((origin.topic, origin.partition), (0, 0))
        if start <= origin.offset < end:
            wanted.setdefault((origin.topic, origin.partition), set()).add(origin.offset)
    found = {}
    for stretch in _stretches(wanted):
        starts = {place: offsets[0] for place, offsets in stretch.items()}
        stops: dict[Place, int | None] = {place: offsets[-1] + 1 for place, offsets in stretch.items()}
        with Reader(broker, starts, stops) as reader:
            for batch in reader.batches():
                for message in batch:
                    place = (message.topic(), message.partition())
                    if message.offset() in wanted[place]:
                        found[*place, message.offset()] = to_record(message)
    return found


def _stretches(wanted: Mapping[Place, set[int]]) -> Iterator[dict[Place, list[int]]]:
    """What to read at once: of each partition one stretch of offsets without a large gap."""
    runs = {place: _runs(sorted(offsets)) for place, offsets in wanted.items()}
    while stretch := {place: run for place, rest in runs.items() if (run := next(rest, None))}:
        yield stretch


def _runs(offsets: list[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for offset in offsets:
        if run and offset - run[-1] > _GAP:
            yield run
            run = []
        run.append(offset)
    if run:
        yield run
