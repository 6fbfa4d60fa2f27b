"""What JSON Schema can't say about our bodies: moments lie ahead, and some fields go together.

Loaded by Schemathesis; it changes only data that is meant to be accepted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st

_FUTURE = st.datetimes(min_value=datetime(2100, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis takes naive bounds

schemathesis.openapi.format("date-time", _FUTURE.map(lambda moment: moment.isoformat()))
schemathesis.openapi.format(
    "iana-time-zone", st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Apia"])
)
schemathesis.openapi.format("duration", st.sampled_from(["PT0S", "PT30M", "P1D", "P2W", "P365DT23H59M59S"]))
schemathesis.openapi.format("email", st.from_regex(r"[a-z0-9]{1,20}@example\.(org|com)", fullmatch=True))


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Make the fields of a body fit each other; a body that is meant to be refused stays as it is."""
    meant_to_be_accepted = case.meta is None or case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE
    if meant_to_be_accepted and isinstance(case.body, dict):
        _fit_task(case.body)


def _fit_task(body: dict[str, Any]) -> None:
    rule = body.get("recurrence_rule")
    if body.get("due_date") is None:
        for name in ("reminder_offset", "recurrence_rule"):
            body.pop(name, None)
    elif isinstance(rule, dict):
        _fit_rule(rule)


def _fit_rule(rule: dict[str, Any]) -> None:
    if rule.get("frequency") != "weekly":
        rule.pop("days_of_week", None)
    if rule.get("frequency") != "monthly":
        rule.pop("day_of_month", None)
    rule.pop("until", None)
