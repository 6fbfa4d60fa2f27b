"""Holding the dead letters: one operator at a time decides, and each decision is in one transaction with its effect."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from todoctl.adapters.kafka.client import KafkaError
from todoctl.adapters.kafka.transactions import FencedError, RejectedError, Sends, Transactions
from todoctl.adapters.whoami import is_running
from todoctl.core.dlq.decisions import (
    DECISIONS,
    OPERATOR_KEY,
    Decided,
    Decision,
    Ledger,
    Operator,
    State,
    decision_records,
)
from todoctl.errors import PartialError, RefusedError
from todoctl.operations.dlq.desk import Desk, largest_messages, read_ledger, refuse_made_anew, require_decisions

# One for replay, park and purge: whoever takes it fences the one before.
TRANSACTIONAL_ID = "todoctl-dlq"

BATCH = 10_000

# An operator on another machine who gave no sign of life for so long is gone.
_SILENCE = timedelta(seconds=60)

# Seconds within which an operator who took over has said who it is.
_INTRODUCTION = 20.0

Clock = Callable[[], datetime]


class Holder:
    """The operator who holds the dead letters now; `ledger` has the decisions of all before, and gets this one's."""

    def __init__(self, desk: Desk, transactions: Transactions, me: Operator, ledger: Ledger, clock: Clock) -> None:
        self.desk, self.ledger, self.me = desk, ledger, me
        self._transactions, self._clock = transactions, clock

    def commit(self, decided: Iterable[Decided], pieces: Iterable[Sends] = ()) -> None:
        """Publish the records and write the decisions, all in one transaction."""
        self._transactions.begin()
        for sends in pieces:
            self._transactions.send_all(sends)
        for name, told in decision_records(self.desk.cluster, self.desk.topic_id, decided):
            self._transactions.send(DECISIONS, told, name)
        self._beat(is_done=False)
        self._transactions.commit()

    def decision(self, action: State) -> Decision:
        """A decision of this operator, made now."""
        return Decision(action, self.me.plan, f"{self.me.user}@{self.me.host}", self._clock().isoformat())

    def bury(self, keys: Iterable[bytes]) -> int:
        """Write tombstones over decisions about letters that are gone; gives how many."""
        count, left = 0, iter(keys)
        while batch := list(islice(left, BATCH)):
            self._transactions.begin()
            for key in batch:
                self._transactions.send(DECISIONS, None, key)
            self._beat(is_done=False)
            self._transactions.commit()
            count += len(batch)
        return count

    def announce(self, *, is_done: bool) -> None:
        """Say who holds the dead letters, or that nobody does any more."""
        self._transactions.begin()
        self._beat(is_done=is_done)
        self._transactions.commit()

    def _beat(self, *, is_done: bool) -> None:
        now = replace(self.me, beat=self._clock().isoformat(), is_done=is_done)
        self._transactions.send(DECISIONS, now.encode(), OPERATOR_KEY)


@contextmanager
def holding(desk: Desk, me: Operator, *, clock: Clock, take_over: bool = False) -> Iterator[Holder]:
    """Hold the dead letters: former transactions are settled, and every decision of theirs is known.

    Raises:
        RefusedError: another operator works on them, or took them over meanwhile; the message names that one. Or a topic
            was made anew since the desk was opened.
        PartialError: the broker went away; what was committed stays, the same command goes on.
    """
    require_decisions(desk)
    if not take_over:
        _refuse_when_held(read_ledger(desk).operator, me, clock())
    try:
        smallest = min(largest_messages(desk).values())
        with Transactions(desk.broker, TRANSACTIONAL_ID, batch_bytes=smallest) as transactions:
            refuse_made_anew(desk)
            # Whoever held the id is fenced now, so nothing can be added behind what is read here.
            holder = Holder(desk, transactions, me, read_ledger(desk), clock)
            holder.announce(is_done=False)
            holder.bury(holder.ledger.stale)
            try:
                yield holder
            except BaseException as error:
                # Without a broker, or fenced, there is nobody to tell.
                if isinstance(error, KafkaError) and not isinstance(error, RejectedError):
                    raise
                _let_go(transactions, holder)
                raise
            else:
                holder.announce(is_done=True)
    except FencedError as error:
        raise RefusedError(_taken_over(desk, me), hint="todoctl dlq list") from error
    except RejectedError:
        raise
    except KafkaError as error:
        raise PartialError(
            f"{error.message}; what was committed before stays, the rest is still pending",
            hint="todoctl status, then run the same command again",
        ) from error


def _let_go(transactions: Transactions, holder: Holder) -> None:
    # Where this fails the next operator sees from the process, or from its silence, that it ended.
    with contextlib.suppress(KafkaError):
        transactions.abort()
        holder.announce(is_done=True)


def _refuse_when_held(other: Operator | None, me: Operator, now: datetime) -> None:
    if other is None or other.is_done or other.session == me.session or not _is_alive(other, me, now):
        return
    raise RefusedError(
        f"{other.name} works on the dead letters; last sign of life {other.beat}",
        hint="wait for its end, or add --take-over to stop it and go on instead",
    )


def _is_alive(other: Operator, me: Operator, now: datetime) -> bool:
    if other.host == me.host:
        return is_running(other.pid, other.process_started)
    try:
        return now - datetime.fromisoformat(other.beat) < _SILENCE
    except (ValueError, TypeError):
        return False


def _taken_over(desk: Desk, me: Operator) -> str:
    """Who it was; fencing comes before the other's first record, so that one is waited for."""
    deadline, other = time.monotonic() + _INTRODUCTION, None
    while other is None or other.session == me.session:
        with contextlib.suppress(KafkaError):
            other = read_ledger(desk).operator
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    who = other.name if other and other.session != me.session else "another operator"
    return f"{who} took the dead letters over; what was committed before stays, nothing was published twice"
