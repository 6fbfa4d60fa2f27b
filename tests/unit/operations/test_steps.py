"""Steps: parallel where nothing forbids it, in order where something is needed, and what failures and interrupts do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable

import pytest

from tests.program import until
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.steps import Step, StepEvent, Tell, run_steps

# A step that never ends, interrupted from outside; the exit code says how the process ended.
INTERRUPTED = """
import sys, threading
from todoctl.operations.steps import Step, run_steps
forever = threading.Event()
try:
    for event in run_steps([Step("one", lambda tell: str(forever.wait()))]):
        print(event.state, flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


def step(name: str, *needs: str, run: Callable[[Tell], str] = lambda _: "done") -> Step:
    """A step that is done at once, unless said otherwise."""
    return Step(name, run, frozenset(needs))


def failing(error: BaseException) -> Callable[[Tell], str]:
    """What a step runs that fails."""

    def run(_tell: Tell) -> str:
        raise error

    return run


def collect(*steps: Step) -> tuple[list[StepEvent], BaseException | None]:
    """All events until the end, and the error that it ended with."""
    return observe(steps, lambda _: None)


def observe(steps: Iterable[Step], look: Callable[[StepEvent], object]) -> tuple[list[StepEvent], BaseException | None]:
    """The same, with a look at each event when it comes."""
    events = []
    try:
        for event in run_steps(steps):
            events.append(event)
            look(event)
    except BaseException as error:  # noqa: BLE001 - what it ends with is what is asked for
        return events, error
    return events, None


def final(events: list[StepEvent]) -> dict[str, str]:
    """Step → its last state."""
    return {event.name: event.state for event in events}


def test_independent_steps_run_at_the_same_time() -> None:
    """Two steps that wait for each other's start both get ready."""
    meeting = threading.Barrier(2, timeout=15)

    def meet(_tell: Tell) -> str:
        meeting.wait()
        return "met"

    events, error = collect(step("one", run=meet), step("two", run=meet))
    assert error is None
    assert final(events) == {"one": "ready", "two": "ready"}


def test_a_step_starts_after_all_that_it_needs() -> None:
    """In a diamond the last one starts when both in the middle are ready, whatever order they are given in."""
    events, _ = collect(step("last", "left", "right"), step("left", "first"), step("right", "first"), step("first"))
    order = [(event.name, event.state) for event in events]
    for name, needed in (("last", "left"), ("last", "right"), ("left", "first"), ("right", "first")):
        assert order.index((name, "starting")) > order.index((needed, "ready"))


def test_a_step_starts_as_soon_as_it_can() -> None:
    """What needs a quick step does not wait for a slow one beside it."""
    follower_ran = threading.Event()

    def slow(_tell: Tell) -> str:
        return f"follower ran: {follower_ran.wait(15)}"

    def follow(_tell: Tell) -> str:
        follower_ran.set()
        return ""

    events, _ = collect(step("quick"), step("slow", run=slow), step("follower", "quick", run=follow))
    assert (
        next(event.detail for event in events if (event.name, event.state) == ("slow", "ready")) == "follower ran: True"
    )


def test_each_step_tells_its_way() -> None:
    """First what it waits for, then that it starts, what it tells, and what it saw; times never run backwards."""

    def run(tell: Tell) -> str:
        tell("half-way")
        return "port 1"

    events, _ = collect(step("one"), step("two", "one", run=run))
    told = [(event.state, event.detail) for event in events if event.name == "two"]
    assert told == [("waiting", "for one"), ("starting", ""), ("starting", "half-way"), ("ready", "port 1")]
    times = [event.elapsed for event in events]
    assert times == sorted(times)


def test_after_a_failure_what_can_be_done_is_done() -> None:
    """What needs the failed step is never started, everything else ends, and the failure is raised."""
    gone = UnhealthyError("gone")
    events, error = collect(
        step("bad", run=failing(gone)),
        step("after bad", "bad"),
        step("after that", "after bad"),
        step("good"),
        step("after good", "good"),
    )
    assert error is gone
    assert final(events) == {
        "bad": "failed",
        "after bad": "waiting",
        "after that": "waiting",
        "good": "ready",
        "after good": "ready",
    }
    failed = next(event for event in events if event.state == "failed")
    assert (failed.detail, failed.error) == ("gone", gone)


def test_of_two_failures_the_first_is_raised() -> None:
    """The error is that of the step that failed first; the other is told as an event."""
    first, second = TodoctlError("first"), TodoctlError("second")
    failed = threading.Event()

    def later(_tell: Tell) -> str:
        failed.wait(15)
        raise second

    events, error = observe(
        [step("later", run=later), step("sooner", run=failing(first))],
        lambda event: failed.set() if event.error is first else None,
    )
    assert error is first
    assert [event.error for event in events if event.error] == [first, second]


def test_a_bug_starts_nothing_more() -> None:
    """An error that is not ours lets running steps end and starts no other."""
    bug = ZeroDivisionError()
    broken = threading.Event()

    def slow(_tell: Tell) -> str:
        broken.wait(15)
        return "ended"

    events, error = observe(
        [step("slow", run=slow), step("bad", run=failing(bug)), step("after", "slow")],
        lambda event: broken.set() if event.error is bug else None,
    )
    assert error is bug
    assert final(events) == {"slow": "ready", "bad": "failed", "after": "waiting"}


def test_an_interrupt_in_a_step_ends_at_once() -> None:
    """Nobody waits for what still runs."""
    forever = threading.Event()
    events, error = collect(
        step("stuck", run=lambda _: str(forever.wait(60))), step("bad", run=failing(KeyboardInterrupt()))
    )
    forever.set()
    assert isinstance(error, KeyboardInterrupt)
    assert final(events)["stuck"] != "ready"


def test_an_interrupt_from_outside_ends_the_process() -> None:
    """Ctrl-C while a step hangs in a call ends the command without waiting for it."""
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == ["waiting", "starting"]
        os.kill(process.pid, signal.SIGINT)
        until(lambda: process.poll() is not None, "the process ended")
    assert process.returncode == 130


def test_no_steps_are_done() -> None:
    """Nothing to do is nothing told."""
    assert collect() == ([], None)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([step("one", "absent")], "step one needs unknown steps: absent"),
        ([step("one", "one")], "steps that need each other: one"),
        ([step("one", "two"), step("two", "one"), step("three")], "steps that need each other: one, two"),
    ],
)
def test_steps_that_can_never_start_are_a_bug(steps: list[Step], said: str) -> None:
    """A need that nothing meets is said, never silently left undone."""
    _, error = collect(*steps)
    assert isinstance(error, ValueError)
    assert str(error) == said
