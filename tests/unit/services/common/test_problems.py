"""Refusals say what is wrong in words for those who sent the request."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from services.common.moments import Moment
from services.common.webapp import make_app


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = ""
    number: Annotated[int, Field(ge=1, le=9)] = 1
    many: tuple[str, ...] = ()
    map: dict[str, str] = {}
    choice: Literal["a", "b"] = "a"
    moment: Moment | None = None
    plain: Annotated[str, Field(min_length=2, max_length=3, pattern="^[a-z]*$")] = "ab"
    id: UUID | None = None


class Lengths(BaseModel):
    line: Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
    secret: Annotated[SecretStr, Field(max_length=3)]
    tags: Annotated[tuple[str, ...], Field(max_length=2)]


async def test_lengths_of_texts_are_told_in_characters() -> None:
    """Whatever the framework counts; only lists have items."""
    app = make_app(title="t", registry=CollectorRegistry(), checks={}, body_limit=1000)

    @app.post("/lengths")
    async def lengths(body: Lengths) -> None:
        """Answer nothing."""

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        answer = await http.post("/lengths", json={"line": " ", "secret": "abcd", "tags": ["a", "b", "c"]})
    assert {error["field"]: error["message"] for error in answer.json()["errors"]} == {
        "line": "should have at least 1 character",
        "secret": "should have at most 3 characters",
        "tags": "should have at most 2 items",
    }


_MOMENT = "is no date and time that there is; write it like 2030-01-31T09:00:00+01:00"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"text": 1}', "must be text"),
        ('{"surplus": 1}', "is not known here"),
        ('{"number": "ten"}', "must be a whole number"),
        ('{"number": 1.5}', "must be a whole number"),
        ('{"number": []}', "must be a whole number"),
        ('{"number": "' + "9" * 5000 + '"}', "is too large a number"),
        ('{"number": 0}', "must be at least 1"),
        ('{"number": 10}', "must be at most 9"),
        ('{"many": "a"}', "must be a list"),
        ('{"map": 1}', "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("", "is missing"),
        ('{"choice": "c"}', "must be 'a' or 'b'"),
        ('{"moment": "2030-01-31T09:00:00"}', "has no offset; add Z or one such as +01:00"),
        ('{"moment": "2030-02-30T09:00:00Z"}', _MOMENT),
        ('{"moment": "0000-01-31T09:00:00Z"}', _MOMENT),
        ('{"moment": "2030-01-31T09:00:00 01:00"}', "the offset has lost its +; in an address write + as %2B"),
        ('{"plain": "a"}', "should have at least 2 characters"),
        ('{"plain": "abcd"}', "should have at most 3 characters"),
        ('{"plain": "A1"}', "has a character that is not allowed here"),
        ('{"id": "a"}', "must be a UUID"),
        ('{"text": "a"', "is not JSON: expecting ',' delimiter at character 12"),
    ],
)
async def test_a_refusal_has_no_words_of_the_programs(body: str, message: str) -> None:
    """Who sends a request knows JSON and addresses, not the language that the service is written in."""
    app = make_app(title="t", registry=CollectorRegistry(), checks={}, body_limit=10_000)

    @app.post("/form")
    async def form(body: Form) -> None:
        """Answer nothing."""

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        answer = await http.post("/form", content=body, headers={"content-type": "application/json"})
    (error,) = answer.json()["errors"]
    assert error["message"] == message
