"""Runs steps in parallel as soon as what they need is done, and yields what happens."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from todoctl.errors import TodoctlError

State = Literal["waiting", "starting", "ready", "failed"]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Step:
    """One thing to do: `run` gets a function to tell what it waits for, and returns what it saw at the end."""

    name: str
    run: Callable[[Tell], str]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class StepEvent:
    """A step changed: its state, what it waits for or saw, seconds since the beginning."""

    name: str
    state: State
    detail: str
    elapsed: float
    error: BaseException | None = None


@dataclass
class _Run:
    steps: dict[str, Step]
    done: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    events: queue.Queue[StepEvent] = field(default_factory=queue.Queue)
    since: float = field(default_factory=time.monotonic)

    def tell(self, name: str, state: State, detail: str, error: BaseException | None = None) -> None:
        self.events.put(StepEvent(name, state, detail, time.monotonic() - self.since, error))

    def work(self, step: Step) -> None:
        self.tell(step.name, "starting", "")
        try:
            seen = step.run(lambda detail: self.tell(step.name, "starting", detail))
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.tell(step.name, "failed", str(error), error)
        else:
            self.tell(step.name, "ready", seen)

    def start_free(self) -> None:
        for step in self.steps.values():
            if step.name not in self.started and step.needs <= self.done:
                self.started.add(step.name)
                # A daemon thread: an interrupted command must not wait for a network call to end.
                threading.Thread(target=self.work, args=(step,), name=step.name, daemon=True).start()


def run_steps(steps: Iterable[Step]) -> Iterator[StepEvent]:
    """Run all steps, independent ones in parallel; what was started is awaited, what needs a failed one is not started.

    Raises:
        ValueError: steps need unknown ones or each other.
        the first failed step's error, after the steps that were running have ended.
    """
    run = _Run({step.name: step for step in steps})
    _check(run.steps)
    for step in run.steps.values():
        yield StepEvent(step.name, "waiting", f"for {', '.join(sorted(step.needs))}" if step.needs else "", 0.0)
    first: BaseException | None = None
    run.start_free()
    ended = 0
    while ended < len(run.started):
        event = run.events.get()
        yield event
        if event.state == "ready":
            run.done.add(event.name)
        elif event.state == "failed" and first is None:
            first = event.error
        ended += event.state in {"ready", "failed"}
        if first is None or isinstance(first, TodoctlError):
            run.start_free()
        elif not isinstance(first, Exception):
            break
    if first is not None:
        raise first
    if stuck := set(run.steps) - run.started:
        raise ValueError(f"steps that need each other: {', '.join(sorted(stuck))}")


def _check(steps: dict[str, Step]) -> None:
    for step in steps.values():
        if unknown := step.needs - set(steps):
            raise ValueError(f"step {step.name} needs unknown steps: {', '.join(sorted(unknown))}")
