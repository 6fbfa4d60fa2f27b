"""Bringing an environment up and taking it down, wherever it runs: what `up` and `down` know of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from todoctl.operations.steps import StepEvent


@dataclass(frozen=True)
class Asked:
    """What somebody wants of `up`; `seconds` is how long one part may take to be ready."""

    seconds: float
    checkout: bool = False
    bundle: Path | None = None


@dataclass(frozen=True)
class Stopped:
    """Something is gone: its name, and how it went."""

    name: str
    how: str


class Lifecycle(Protocol):
    """One environment whose beginning and end are ours."""

    def alone(self, what: str, *, seconds: float) -> AbstractContextManager[None]:
        """Work as the only one on this machine; WaitTimeoutError names who else does."""

    def up(self, asked: Asked, warn: Callable[[str], None]) -> Generator[StepEvent, None, None]:
        """Bring everything up that is not; yields what happens.

        Raises:
            UsageError: what is asked means nothing here.
            TodoctlError: a part does not get ready; run again, it goes on.
        """

    def undo(self) -> Iterator[StepEvent]:
        """After an interruption of `up`: end what can't be left as it is."""

    @property
    def has_changed(self) -> bool:
        """Whether `up` started or changed anything, so that it is to be proven."""

    def words(self) -> str:
        """Where the platform is now, in a sentence."""

    def loses(self) -> str:
        """What `down` with `purge` would remove, "" where there is nothing."""

    def down(self, *, purge: bool, foreign: bool) -> Iterator[Stopped]:
        """Stop everything; yields what was stopped.

        Raises:
            RefusedError: it is not ours, and `foreign` does not say that it may be stopped all the same.
        """
