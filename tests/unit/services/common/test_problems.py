"""Refusals say what is wrong in words for those who sent the request."""

from __future__ import annotations

from typing import Annotated

import httpx
from prometheus_client import CollectorRegistry
from pydantic import AfterValidator, BaseModel, Field, SecretStr

from services.common.webapp import make_app


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
