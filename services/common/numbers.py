"""Whole numbers in JSON bodies: pydantic would read true as 1 and "7" as 7."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticKnownError


def json_number(value: object) -> object:
    """`value` if it is no truth value and no text; what is left of it that is no whole number, `int` refuses."""
    if isinstance(value, bool | str):
        raise PydanticKnownError("int_type")
    return value


WholeNumber = Annotated[int, BeforeValidator(json_number)]
