"""Whole numbers as clients give them; pydantic alone would read true as 1 and 1_0 as 10."""

from __future__ import annotations

import re

from pydantic import BeforeValidator
from pydantic_core import PydanticKnownError

_DIGITS = re.compile(r"-?[0-9]+")


def json_number(value: object) -> object:
    """`value` if it is no truth value and no text; what is left of it that is no whole number, `int` refuses."""
    if isinstance(value, bool | str):
        raise PydanticKnownError("int_type")
    return value


def written_number(value: object) -> object:
    """`value` if it is no text, or one of digits only: 1_0, 1.0 and a blank before it are nobody's usual way."""
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise PydanticKnownError("int_parsing")
    return value


# For a whole number in a JSON body, and in an address. They stand behind its bounds, which JSON Schema loses else.
AS_JSON = BeforeValidator(json_number)
AS_WRITTEN = BeforeValidator(written_number)
