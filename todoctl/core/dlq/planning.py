"""Planning a replay: for each letter what is done, where its record goes, and why not; and what that may reorder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from todoctl.core.dlq import edits
from todoctl.core.dlq.foreign import UNREADABLE, Place
from todoctl.core.dlq.letters import MARK, Letter, Record, came_back
from todoctl.core.dlq.plan import Act, Entry, Target

Edit = Callable[[Letter, bytes], bytes]


@dataclass
class Planner:
    """Decides letter by letter; `counts`, `because`, `used` (the topics that records go to) and `risks` sum up.

    `targets` are the topics that records may go to, `sizes` how large a record of each may be in bytes. A letter that
    came back `max_returns` times is parked. `edit` gives the new value of a letter's record; its ValueError skips it.
    `takes_invalid` also sends what the consumers' model refuses.
    """

    targets: Mapping[str, Target]
    sizes: Mapping[str, int]
    max_returns: int
    edit: Edit | None = None
    takes_invalid: bool = False
    counts: Counter[Act] = field(default_factory=Counter)
    because: Counter[str] = field(default_factory=Counter)
    used: set[str] = field(default_factory=set)
    _seen: dict[bytes, str] = field(default_factory=dict)
    _held: set[int] = field(default_factory=set)
    _overtaken: set[int] = field(default_factory=set)
    _by_key: int = 0
    _bare: int = 0

    def entry(self, letter: Letter, original: Record | None) -> Entry:
        """What to do with one letter; `original` is the record at the letter's origin, where there still is one."""
        entry = self._decide(letter, original if original and is_original(letter, original) else None)
        self.counts[entry.act] += 1
        if entry.because and entry.act in {"skip", "park"}:
            self.because[entry.because.partition(":")[0]] += 1
        if entry.topic:
            self.used.add(entry.topic)
        entry.is_wrapped = letter.form == "todoctl"
        self._watch_order(letter, entry)
        entry.about = _about(letter)
        return entry

    @property
    def risks(self) -> tuple[str, ...]:
        """What the replay may do to the order of records, and what is not known."""
        found = []
        if self.counts["replay"]:
            found.append(
                "re-published records come after newer ones of the same key: consumers of the platform are right in any "
                "order, other readers may not be"
            )
            found.append(
                "all groups of a topic see its records again, not only the one that failed; they are idempotent"
            )
        if self._overtaken:
            found.append(f"{len(self._overtaken)} keys have a letter that is held back and a later one that is sent")
        if self._by_key:
            found.append(
                f"{self._by_key} records go where their key belongs: their own partition is not known or not there"
            )
        if self._bare:
            found.append(f"{self._bare} records are gone from their topic: they go without the headers that they had")
        return tuple(found)

    def _decide(self, letter: Letter, original: Record | None) -> Entry:
        origin = letter.origin
        if origin is None:
            return _without(letter, "skip", "no origin: the letter does not say where its record lay")
        target = self.targets.get(origin.topic)
        if target is None:
            return _without(letter, "skip", f"not ours: the platform does not own the topic {origin.topic}")
        if (first := self._seen.get(_identity(letter))) is not None:
            return Entry(letter.partition, letter.offset, letter.digest, "cover", origin.topic, same_as=first)
        returned = max(letter.came_back, came_back(original.headers) if original else 0)
        if returned >= self.max_returns:
            return _without(letter, "park", f"came back: {returned} times")
        if original is None and not letter.is_whole:
            return _without(letter, "skip", "not whole: the letter has it cut, and its topic has it no more")
        entry = self._entry(letter, origin, original, returned + 1)
        if entry.act == "replay":
            self._seen[_identity(letter)] = letter.name
        return entry

    def _entry(self, letter: Letter, origin: Place, original: Record | None, count: int) -> Entry:
        if any(name == UNREADABLE for name, _ in (original or letter).headers):
            return _without(letter, "skip", "headers not readable: one has a name that is not UTF-8")
        value = original.value if original else letter.value
        entry = Entry(letter.partition, letter.offset, letter.digest, "replay", origin.topic, count=count)
        entry.key = original.key if original else letter.key
        entry.headers = tuple(item for item in (original or letter).headers if item[0] != MARK)
        if value != letter.value:
            entry.has_value, entry.value = True, value
        if self.edit and value is not None:
            try:
                edited = self.edit(letter, value)
            except ValueError as error:
                return _without(letter, "skip", f"edit failed: {error}")
            if edited != value:
                if (refusal := edits.against(origin.topic, value, edited)) is not None:
                    return _without(letter, "skip", f"edit refused: {refusal}")
                entry.has_value, entry.value, entry.is_edited = True, edited, True
                entry.before, value = value, edited
        if len(value or b"") > self.sizes[origin.topic]:
            return _without(letter, "skip", f"too large: {len(value or b'')} bytes")
        if not self.takes_invalid and (found := edits.problems(origin.topic, value)):
            return _without(letter, "skip", f"does not fit: {found[0]}")
        has_partition = origin.partition is not None and 0 <= origin.partition < self.targets[origin.topic].partitions
        entry.to = origin.partition if has_partition else None
        self._by_key += not has_partition
        self._bare += original is None and not letter.has_headers
        return entry

    def _watch_order(self, letter: Letter, entry: Entry) -> None:
        if letter.key is None or letter.origin is None:
            return
        key = hash((letter.origin.topic, letter.key))
        if entry.act in {"skip", "park"}:
            self._held.add(key)
        elif key in self._held:
            self._overtaken.add(key)


def is_original(letter: Letter, record: Record) -> bool:
    """Whether a record at the letter's origin is the one that died: a recreated topic has others there."""
    origin = letter.origin
    if origin is None or (origin.timestamp_ms is not None and origin.timestamp_ms != record.timestamp_ms):
        return False
    if letter.is_whole or letter.value is None or record.value is None:
        return record.value == letter.value
    return record.value.startswith(letter.value)


def _identity(letter: Letter) -> bytes:
    """What letters of one record have in common: two consumers that failed on it wrote one letter each."""
    origin = letter.origin
    if origin is None or origin.partition is None or origin.offset is None:
        return letter.name.encode()
    seen = blake2b(letter.value or b"-", digest_size=12)
    seen.update(f"/{origin.topic}/{origin.partition}/{origin.offset}".encode())
    return seen.digest()


def _without(letter: Letter, act: Act, because: str) -> Entry:
    return Entry(letter.partition, letter.offset, letter.digest, act, because=because[:300])


def _about(letter: Letter) -> dict[str, str | None]:
    return {
        "error": letter.reason.error_class,
        "consumer": letter.reason.consumer,
        "type": letter.hints.event_type,
        "event": letter.hints.event_id,
    }
