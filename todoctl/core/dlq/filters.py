"""Which letters an operator means: filters that all must hold, and names of single letters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from todoctl.core.dlq.decisions import State
from todoctl.core.dlq.letters import Letter
from todoctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Filter:
    """What must hold of a letter; None and () let everything pass. Words are globs, times Unix milliseconds.

    `names` are `partition/offset`, letter ids or event ids; `since` and `until` are about when the letter was written.
    """

    states: tuple[State, ...] = ("pending",)
    error: str | None = None
    consumer: str | None = None
    event_type: str | None = None
    topic: str | None = None
    form: str | None = None
    text: str | None = None
    user_id: int | None = None
    correlation_id: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    names: tuple[str, ...] = ()

    def matches(self, letter: Letter, state: State) -> bool:
        """Whether the letter is meant."""
        return (
            state in self.states
            and _glob(self.error, letter.reason.error_class)
            and _glob(self.consumer, letter.reason.consumer)
            and _glob(self.event_type, letter.hints.event_type)
            and _glob(self.topic, letter.origin.topic if letter.origin else None)
            and _glob(self.form, letter.form)
            and self.user_id in {None, letter.hints.user_id}
            and self.correlation_id in {None, letter.hints.correlation_id}
            and (self.since_ms is None or letter.written_ms >= self.since_ms)
            and (self.until_ms is None or letter.written_ms < self.until_ms)
            and (self.text is None or _has_text(self.text, letter))
            and (not self.names or is_named(letter, self.names))
        )

    @property
    def stated(self) -> Mapping[str, str]:
        """Option → value of everything that was stated, for plans and messages."""
        shown = {
            "state": ",".join(self.states),
            "error": self.error,
            "consumer": self.consumer,
            "type": self.event_type,
            "origin": self.topic,
            "form": self.form,
            "text": self.text,
            "user": self.user_id,
            "correlation": self.correlation_id,
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "letters": ",".join(self.names) or None,
        }
        return {name: str(value) for name, value in shown.items() if value is not None}


def is_named(letter: Letter, names: tuple[str, ...]) -> bool:
    """Whether one of the names is this letter's."""
    return bool({letter.name, letter.letter_id, letter.hints.event_id}.intersection(names))


def read_name(name: str) -> tuple[int, int] | None:
    """Partition and offset of a letter that is named by its place; None for an id.

    Raises:
        UsageError: a place that is none.
    """
    partition, slash, offset = name.partition("/")
    if not slash:
        return None
    is_number = name.isascii() and partition.isdigit() and offset.isdigit()
    if not (is_number and len(partition) < 10 and len(offset) < 19):
        raise UsageError(f"{name!r} is no letter: say PARTITION/OFFSET or an id", hint="todoctl dlq list --letters")
    return int(partition), int(offset)


def _glob(pattern: str | None, word: str | None) -> bool:
    # What nobody wrote down is found as "unknown", as lists show it.
    return pattern is None or fnmatchcase((word or "unknown").lower(), pattern.lower())


def _has_text(text: str, letter: Letter) -> bool:
    return text in (letter.reason.message or "") or (
        letter.value is not None and text.encode(errors="surrogateescape") in letter.value
    )
