"""Every error todoctl raises on purpose, with the exit code and the next step it carries.

TodoctlError                1  the work failed
├─ UsageError               2  the command line or a configuration file is wrong
├─ UnhealthyError           3  a part or a check is not healthy
├─ DifferenceError          4  differences were found and the command was asked to say so
├─ VerdictError             5  an SLO, a ledger or a hypothesis did not hold
├─ PartialError             6  part of the work is done; the same command resumes it
├─ WaitTimeoutError         7  the observed state did not come before the deadline
├─ RefusedError             8  a safety gate refused
└─ MissingError             9  a tool, an extra or a permission is missing

0 is success, 130 an interruption after undoing. Anything else that surfaces is a bug and shows its traceback.
"""

from __future__ import annotations


class TodoctlError(Exception):
    """The work failed for a known reason.

    `hint` is the next step for the person who reads it, best a command; `detail` holds lines
    worth reading, such as the end of a log.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "", detail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.detail = detail


class UsageError(TodoctlError):
    """The command line or a configuration file is wrong."""

    exit_code = 2


class UnhealthyError(TodoctlError):
    """A part or a check is not healthy."""

    exit_code = 3


class DifferenceError(TodoctlError):
    """Differences were found and the command was asked to say so."""

    exit_code = 4


class VerdictError(TodoctlError):
    """An SLO, a ledger or a hypothesis did not hold."""

    exit_code = 5


class PartialError(TodoctlError):
    """Part of the work is done; the same command resumes it."""

    exit_code = 6


class WaitTimeoutError(TodoctlError):
    """The observed state did not come before the deadline; the message says what was seen last."""

    exit_code = 7


class RefusedError(TodoctlError):
    """A safety gate refused."""

    exit_code = 8


class MissingError(TodoctlError):
    """A tool, an extra or a permission is missing."""

    exit_code = 9
