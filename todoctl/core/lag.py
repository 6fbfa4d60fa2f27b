"""How far a consumer group is behind, in messages and in seconds, and whether that is too far."""

from __future__ import annotations

from dataclasses import dataclass

from todoctl.core.logs import parse_duration


@dataclass(frozen=True)
class Facts:
    """What was observed of a group on one partition.

    `committed` is the offset that it reads next, None where it never committed; `oldest_ms` the time of the oldest
    record that it has not read, None where no record is there; `reads_new_only` says that the group starts at the
    newest record, so that what lies before its first commit is none of its business; `has_commits` says that it
    committed anywhere, so that on an empty partition there was only nothing to commit.
    """

    group: str
    state: str
    members: int
    is_held: bool
    topic: str
    partition: int
    committed: int | None
    start: int
    end: int
    oldest_ms: int | None
    reads_new_only: bool = False
    has_commits: bool = True


@dataclass(frozen=True)
class PartitionLag:
    """The lag on one partition; None where it can't be told. `problem` says why nobody works it off, or why not told.

    `owes_nothing` marks a group that reads only what is new and has not committed yet: no lag, and no 0 either.
    """

    group: str
    topic: str
    partition: int
    state: str
    committed: int | None
    end: int
    messages: int | None
    seconds: float | None
    problem: str = ""
    owes_nothing: bool = False


def judge(facts: Facts, now: float) -> PartitionLag:
    """The lag that the facts amount to, `now` in seconds since 1970; nothing is 0 unless a member would read on."""
    problem = _problem(facts)
    messages: int | None = None
    if facts.committed is not None:
        unread = max(0, facts.end - max(facts.committed, facts.start))
        # Markers of transactions take offsets, too, and no consumer ever commits behind them.
        messages = unread if facts.oldest_ms is not None else 0
    elif facts.end == facts.start and facts.has_commits:
        messages = 0
    if messages == 0 and problem:
        messages = None
    seconds = None
    if messages == 0:
        seconds = 0.0
    elif messages and facts.oldest_ms is not None and facts.oldest_ms >= 0:
        seconds = round(max(0.0, now - facts.oldest_ms / 1000), 3)
    return PartitionLag(
        facts.group,
        facts.topic,
        facts.partition,
        facts.state,
        facts.committed,
        facts.end,
        messages,
        seconds,
        problem,
        owes_nothing=not problem and messages is None,
    )


def _problem(facts: Facts) -> str:
    if facts.state == "Dead":
        return "the broker knows no such group"
    if facts.members == 0:
        return "no member is connected"
    if not facts.is_held:
        return "no member holds the partition" if facts.state == "Stable" else f"the group is {_words(facts.state)}"
    if facts.committed is not None:
        return _misplaced(facts, facts.committed)
    if facts.reads_new_only or (facts.end == facts.start and facts.has_commits):
        return ""
    return f"never committed; {facts.end - facts.start} records are there"


def _misplaced(facts: Facts, committed: int) -> str:
    """Where the group stands outside of what the partition has; its own reset policy decides what it reads next."""
    if committed > facts.end:
        return f"it stands at {committed}, behind the end: set back, or the topic lost records"
    gone = facts.start - committed
    return f"{gone} records were removed by retention before they were read" if gone > 0 else ""


def _words(state: str) -> str:
    """`PreparingRebalance` as a person says it."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in state).strip()


@dataclass(frozen=True)
class Limit:
    """The most that is accepted, in messages or in seconds."""

    messages: int | None = None
    seconds: float | None = None

    def is_kept(self, row: PartitionLag) -> bool:
        """Whether the row is within the limit; what can't be told is not."""
        if row.owes_nothing:
            return True
        if row.problem or row.messages is None:
            return False
        if self.messages is not None:
            return row.messages <= self.messages
        return row.seconds is not None and row.seconds <= (self.seconds or 0)

    def __str__(self) -> str:
        """The limit as it is said."""
        return f"{self.messages} messages" if self.messages is not None else f"{self.seconds:g} s"


def parse_limit(text: str) -> Limit:
    """`100` messages, or a duration such as 30s.

    Raises:
        ValueError: it is neither.
    """
    if text.isascii() and text.isdigit() and len(text) < 19:
        return Limit(messages=int(text))
    try:
        return Limit(seconds=parse_duration(text).total_seconds())
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is neither a number of messages nor a duration such as 30s") from error


def unknown(group: str, topic: str, state: str, problem: str) -> PartitionLag:
    """A row for a group of which no partition can be looked at."""
    return PartitionLag(group, topic, -1, state, None, -1, None, None, problem)
