"""Ends a release in a cluster whose deploy or rollback was killed, at whatever step of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from todoctl.core import releases as rules
from todoctl.core.releases import Release
from todoctl.errors import UsageError
from todoctl.operations.kubernetes.revisions import Revisions
from todoctl.operations.releases import failed
from todoctl.operations.steps import StepEvent


def unlock(revisions: Revisions) -> Iterator[StepEvent]:
    """What ran before runs again, or nothing where nothing did; one colour works. Killed itself, it is called again.

    A rollback to the other colour lets the pods that ran end. One that was killed after that can't be undone without an
    outage, so it is finished: what it brings back ran well once, and serves by then.

    Raises:
        UsageError: no release is pending.
        TodoctlError: a part does not get ready.
    """
    history, newest = revisions.history(), revisions.newest()
    stuck = [item for item in history if item.is_pending]
    if not stuck:
        raise UsageError("no release is pending: there is nothing to unlock", hint="todoctl history")
    words = f"did not end; {revisions.by} unlocked it"
    begun = [item for item in stuck if item.revision <= newest]
    if not begun:
        # Nothing got to Helm; a colour may have been switched on.
        yield from revisions.settle(rules.deployed(history))
    elif back := _comes_back(revisions, history, begun[-1]):
        # A release that Helm does not know yet leaves its number to this one.
        yield from revisions.return_to(back, f"release {begun[-1].revision} {words}")
    else:
        yield from revisions.remove()
        for item in stuck[len(begun) :]:
            revisions.records.forget(item.revision)
    for item in begun or stuck:
        revisions.records.write(failed(item, words), revisions.records.manifest(item.revision))
    # The step before a switch is no newest revision any more.
    revisions.records.fail_pending(words)


def _comes_back(revisions: Revisions, history: Sequence[Release], killed: Release) -> int | None:
    """The release that is to run; None where none ever did."""
    ran = rules.deployed(history) or rules.to_go_back_to(history)
    if ran is None:
        return None
    if killed.returns_to is not None and not revisions.can_turn_to(revisions.objects(ran.revision)):
        return killed.returns_to
    return ran.revision
