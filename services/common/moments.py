"""Moments as clients write them: a date and a time with an offset, never a bare number."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")
# In an address a bare + is read as a blank.
_LOST_PLUS = re.compile(r"[^ ]+[Tt ][0-9:.,]+ [0-9]{2}:?[0-9]{2}")


def date_time_text(value: object) -> object:
    """`value` if it looks like a date and a time; ValueError else, for pydantic would read a number as seconds."""
    if isinstance(value, str) and _LOST_PLUS.fullmatch(value):
        raise ValueError("the offset has lost its +; in an address write + as %2B")
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE_TIME.match(value)):
        return value
    raise ValueError("use an ISO 8601 date and time with an offset, such as 2030-01-31T09:00:00+01:00")


Moment = Annotated[AwareDatetime, BeforeValidator(date_time_text)]
