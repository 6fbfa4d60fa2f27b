"""One field of each message of a batch, taken in C: a loop of Python's own would cost more than reading the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter, length_hint, methodcaller
from typing import Any

from confluent_kafka import Message

from todoctl.core.dlq.foreign import UNREADABLE, Header

# What a message is given that has a name that is not UTF-8: the client leaves that as a null pointer, so that the second
# look at the headers would end the process.
_UNREADABLE: list[Header] = [(UNREADABLE, None)]

# A plain call of Python's would not see the client's error, and fail somewhere behind.
_ask_headers = methodcaller("headers")

Column = Callable[[list[Any]], Iterable[Any]]

topics: Column = partial(map, Message.topic)
partitions: Column = partial(map, Message.partition)
offsets: Column = partial(map, Message.offset)
keys: Column = partial(map, Message.key)
values: Column = partial(map, Message.value)
errors: Column = partial(map, Message.error)


def headers(batch: Sequence[Any]) -> Iterable[Any]:
    """Each message's headers, None where it has none; one of the name `UNREADABLE` where they can't be read."""
    found: list[Any] = []
    left = map(Message.headers, batch)
    while len(found) < len(batch):
        try:
            found.extend(left)
        except (SystemError, UnicodeDecodeError):
            batch[len(found)].set_headers(_UNREADABLE)
            found.append(_UNREADABLE)
    return found


def have_headers(batch: Sequence[Any]) -> bool:
    """Whether one of the messages has headers; nothing is kept of them."""
    left = iter(batch)
    try:
        return any(map(Message.headers, left))
    except (SystemError, UnicodeDecodeError):
        batch[len(batch) - length_hint(left) - 1].set_headers(_UNREADABLE)
        return True


def headers_of(message: Any) -> Sequence[Header]:
    """One message's headers, as `headers` gives them; empty where it has none."""
    try:
        return _ask_headers(message) or ()
    except (SystemError, UnicodeDecodeError):
        message.set_headers(_UNREADABLE)
        return _UNREADABLE


class Timed(list[Any]):
    """Messages whose times are known already: to ask each of them again would be a tenth of all that is done to it."""

    def __init__(self, messages: list[Any], known: list[int]) -> None:
        super().__init__(messages)
        self.times = known


def times(batch: list[Any]) -> Iterable[int]:
    """Timestamps in milliseconds; -1 where a record has none."""
    return batch.times if isinstance(batch, Timed) else map(itemgetter(1), map(Message.timestamp, batch))


def parts(batch: list[Any], size: int) -> Iterator[list[Any]]:
    """The batch in pieces of up to `size` messages, with their times where those are known."""
    for at in range(0, len(batch), size):
        found = batch[at : at + size]
        yield Timed(found, batch.times[at : at + size]) if isinstance(batch, Timed) else found
