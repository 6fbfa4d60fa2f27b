"""Letters counted by why, for whom and what they are about; classes that are new stand first."""

from __future__ import annotations

from dataclasses import dataclass, field

from todoctl.core.dlq.decisions import STATES, State
from todoctl.core.dlq.letters import Letter

UNKNOWN = "unknown"


@dataclass
class Group:
    """Letters of one error class, consumer and event type; times in Unix milliseconds, of the letters that count.

    `first_ms` is when the class was seen first, decided letters included; `example` is the newest that counts.
    """

    error_class: str
    consumer: str
    event_type: str
    first_ms: int
    count: int = 0
    oldest_ms: int = 0
    newest_ms: int = 0
    example: str = ""
    message: str = ""
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))


class Groups:
    """Counts letters as they come; one pass, memory by the number of groups."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], Group] = {}

    def add(self, letter: Letter, state: State, *, counts: bool) -> None:
        """Take one letter; one that doesn't count only tells how old its class is."""
        reason = letter.reason
        key = (reason.error_class or UNKNOWN, reason.consumer or UNKNOWN, letter.hints.event_type or UNKNOWN)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key, first_ms=letter.written_ms)
        group.first_ms = min(group.first_ms, letter.written_ms)
        group.states[state] += 1
        if not counts:
            return
        group.oldest_ms = min(group.oldest_ms, letter.written_ms) if group.count else letter.written_ms
        group.count += 1
        if letter.written_ms >= group.newest_ms:
            group.newest_ms, group.example, group.message = letter.written_ms, letter.name, reason.message or ""

    def rows(self) -> list[Group]:
        """The groups with letters that count: the class that was seen first last comes first, then the largest."""
        shown = [group for group in self._groups.values() if group.count]
        return sorted(shown, key=lambda group: (-group.first_ms, -group.count))

    def totals(self) -> dict[State, int]:
        """All letters by what was decided."""
        return {state: sum(group.states[state] for group in self._groups.values()) for state in STATES}
