"""Routes that refuse what is given twice: which of two values a client meant is not ours to guess."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.datastructures import QueryParams
from starlette.responses import Response

from services.common.problems import field_problem

_TWICE = "is given more than once"


class StrictRoute(APIRoute):
    """Answers 422, with the name, to a repeated JSON key and to a repeated query parameter that takes one value."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The framework's handler, given a request that reads its body strictly."""
        answer = super().get_route_handler()
        single = frozenset(_single(self.dependant))

        async def strict(request: Request) -> Response:
            request = _StrictRequest(request.scope, request.receive)
            if request.scope["query_string"]:
                _refuse_repeated(request.query_params, single)
            try:
                return await answer(request)
            except _Repeated as found:
                raise field_problem(found.field, _TWICE) from None

        return strict


class _Repeated(BaseException):
    """A key stands twice in an object; FastAPI would answer 400 without its name to an Exception here."""

    def __init__(self, field: str = "body") -> None:
        super().__init__(field)
        self.field = field


class _StrictRequest(Request):
    async def json(self) -> Any:
        """The body, each key of each object once; the framework asks for it once."""
        return _parse(await self.body())


def _refuse_repeated(given: QueryParams, single: frozenset[str]) -> None:
    if len(given.multi_items()) == len(given):
        return
    for name in given:
        if name in single and len(given.getlist(name)) > 1:
            raise field_problem(name, _TWICE)


def _single(dependant: Dependant) -> Iterable[str]:
    """The names of the query parameters that take one value."""
    for field in dependant.query_params:
        model = field.field_info.annotation
        fields = model.model_fields.items() if isinstance(model, type) and issubclass(model, BaseModel) else ()
        named = [(info.alias or name, info.annotation) for name, info in fields] or [(field.alias, model)]
        yield from (name for name, annotation in named if get_origin(annotation) not in {tuple, list, set, frozenset})


def _parse(body: bytes) -> Any:
    text = body.decode(json.detect_encoding(body), "surrogatepass")
    try:
        return _ONCE.decode(text)
    except _Repeated:
        # Only now is it worth the time to find out where the key stands.
        place = _PLACE.decode(text)
        raise _Repeated(".".join(place.path) if isinstance(place, _Place) else "body") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Repeated
    return made


@dataclass(frozen=True)
class _Place:
    """Where a repeated key stands, seen from the value that holds it."""

    path: tuple[str, ...]


def _place(pairs: list[tuple[str, Any]]) -> _Place | None:
    seen = set()
    for name, value in pairs:
        if name in seen:
            return _Place((name,))
        seen.add(name)
        members = enumerate(value) if isinstance(value, list) else [("", value)]
        for at, member in members:
            if isinstance(member, _Place):
                return _Place(tuple(part for part in (name, str(at), *member.path) if part))
    return None


_ONCE = json.JSONDecoder(object_pairs_hook=_once)
_PLACE = json.JSONDecoder(object_pairs_hook=_place)
