"""Why a record could not be processed, and what follows from it.

permanent   PermanentError: no retry will help, a dead letter at once
            ├── UnreadableRecordError     the bytes are no JSON object
            ├── UnsupportedEventError     a schema version that this code does not read
            ├── InvalidEventError         the data does not fit the event's model or breaks one of our rules
            └── RefusedByRuleError        another service refused the effect
transient   Unavailable, or a broken connection: delivered again until the dependency is back
unknown     anything else, a bug or a surprise: tried a few times more, then a dead letter
"""

from __future__ import annotations

from typing import Literal

from services.common.failures import Unavailable

FailureKind = Literal["permanent", "transient", "unknown"]


class PermanentError(Exception):
    """No retry of this record can succeed."""


class UnreadableRecordError(PermanentError):
    """The record's bytes are not a JSON object."""


class UnsupportedEventError(PermanentError):
    """The event's major schema version is not one that this code reads."""


class InvalidEventError(PermanentError):
    """The event's data does not fit its model or breaks one of our rules."""


class RefusedByRuleError(PermanentError):
    """Another service refused the effect of this event by a rule."""


def kind_of(error: Exception) -> FailureKind:
    """Which of the three kinds of failure an exception is."""
    if isinstance(error, PermanentError):
        return "permanent"
    # Broken connections and time-outs come from outside, whatever library raised them.
    return "transient" if isinstance(error, (Unavailable, OSError)) else "unknown"
