"""What is wrong with a field, in words for those who sent it; pydantic's are for those who wrote the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_MOMENT = "is no date and time that there is; write it like 2030-01-31T09:00:00+01:00"

_FIXED = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large a number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "string_pattern_mismatch": "has a character that is not allowed here",
    "timezone_aware": "has no offset; add Z or one such as +01:00",
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "uuid_parsing": "must be a UUID",
    "uuid_type": "must be a UUID",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def words(item: Mapping[str, Any]) -> str:
    """What is wrong with the field of one of pydantic's errors."""
    kind = item["type"]
    if kind in _FIXED:
        return _FIXED[kind]
    say: Callable[[Mapping[str, Any]], str] = _OTHERS.get(kind, _as_said)
    return say(item)


def _as_said(item: Mapping[str, Any]) -> str:
    said = str(item["msg"]).removeprefix("Value error, ")
    return f"must be {said.removeprefix('Input should be ')}" if said.startswith("Input should be ") else said


def _broken(item: Mapping[str, Any]) -> str:
    return f"is not JSON: {str(item['ctx']['error']).lower().removesuffix(' at')} at character {item['loc'][-1]}"


def _bound(item: Mapping[str, Any]) -> str:
    side, name = _BOUNDS[item["type"]]
    return f"must be {side} {item['ctx'][name]}"


def _length(item: Mapping[str, Any]) -> str:
    """Pydantic counts items also where it is a text's characters that it counts."""
    side = "min" if item["type"].endswith("short") else "max"
    unit = "character" if item["ctx"].get("field_type", "Value") == "Value" else "item"
    bound = item["ctx"][f"{side}_length"]
    return f"should have at {'least' if side == 'min' else 'most'} {bound} {unit}{'' if bound == 1 else 's'}"


_OTHERS = {
    "json_invalid": _broken,
    **dict.fromkeys(_BOUNDS, _bound),
    **dict.fromkeys(("too_short", "too_long", "string_too_short", "string_too_long"), _length),
}
