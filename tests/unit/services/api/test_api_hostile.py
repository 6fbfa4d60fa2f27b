"""Hostile input: an exact status and a field's name for each, never a 500, and nothing written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.api.schemas import LARGEST
from tests.unit.services.api.api_server import INTERNAL, Api

DUE = "2030-03-01T09:00:00Z"
DEEP = "[" * 50_000 + "]" * 50_000
SURROGATE = "\\ud800"

FIELDS: list[tuple[str, Any]] = [
    ("title", ""),
    ("title", "   "),
    ("title", "\u200b"),
    ("title", " \ufeff\u00ad\u3164\U000e0041 "),
    ("title", "x" * 201),
    ("title", "a\x00b"),
    ("title", "a\r\nBcc: x@y"),
    ("title", "\x1b]52;c;x\x07"),
    ("title", "\x9bm"),
    ("title", None),
    ("title", 7),
    ("title", ["a"]),
    ("title", {"$ne": ""}),
    ("title", True),
    ("description", "x" * 10_001),
    ("description", "a\x00b"),
    ("description", "\x1b[2J"),
    ("description", None),
    ("priority", "highest"),
    ("priority", "HIGH"),
    ("priority", 1),
    ("priority", None),
    ("tags", "a"),
    ("tags", None),
    ("tags", ["a"] * 21),
    ("tags", [f"t{n}" for n in range(10_000)]),
    ("tags.0", [""]),
    ("tags.1", ["a", "x" * 51]),
    ("tags.0", ["a\x00"]),
    ("tags.0", [1]),
    ("tags.1", ["a", "\u2060\u2800"]),
    ("tags.0", [["a"]]),
    ("due_date", "2030-03-01"),
    ("due_date", "2030-03-01T09:00:00"),
    ("due_date", "2001-03-01T09:00:00Z"),
    ("due_date", "2030-01-31T12:00:00Z"),
    ("due_date", "9999-12-31T23:59:59Z"),
    ("due_date", "9999-12-31T23:59:59-12:00"),
    ("due_date", "0001-01-01T00:00:00+14:00"),
    ("due_date", "2030-02-30T09:00:00Z"),
    ("due_date", "tomorrow"),
    ("due_date", "1900000000"),
    ("due_date", 1_900_000_000),
    ("due_date", 10**400),
    ("due_date", ""),
    ("due_date", {}),
    ("zone", "Mars/Olympus"),
    ("zone", "../../etc/passwd"),
    ("zone", "UTC\x00"),
    ("zone", "localtime"),
    ("zone", "x" * 65),
    ("zone", 3),
    ("reminder_offset", "1 hour"),
    ("reminder_offset", "P1M"),
    ("reminder_offset", "P1Y"),
    ("reminder_offset", "-PT5M"),
    ("reminder_offset", "P"),
    ("reminder_offset", "PT"),
    ("reminder_offset", "P367D"),
    ("reminder_offset", "PT99999999999999999999S"),
    ("reminder_offset", 3600),
    ("recurrence_rule", "FREQ=SECONDLY;COUNT=1000000000"),
    ("recurrence_rule.frequency", {"frequency": "secondly"}),
    ("recurrence_rule.frequency", {}),
    ("recurrence_rule.interval", {"frequency": "daily", "interval": 0}),
    ("recurrence_rule.interval", {"frequency": "daily", "interval": 10**400}),
    ("recurrence_rule.count", {"frequency": "daily", "count": 10**9}),
    ("recurrence_rule.count", {"frequency": "daily", "count": "2"}),
    ("recurrence_rule.until", {"frequency": "daily", "until": "2030-03-01T09:00:00Z"}),
    ("recurrence_rule.until", {"frequency": "daily", "until": "2030-02-01"}),
    ("recurrence_rule.days_of_week", {"frequency": "daily", "days_of_week": ["mon"]}),
    ("recurrence_rule.bydate", {"frequency": "daily", "bydate": 1}),
    ("user_id", 8),
    ("id", 1),
    ("version", 1),
    ("status", "completed"),
    ("created_at", DUE),
    ("is_admin", True),
    ("__proto__", {}),
]

SHAPES = [
    (f'{{"title": "{SURROGATE}"}}', "title"),
    (f'{{"title": "a", "description": "{SURROGATE}"}}', "description"),
    (f'{{"title": "a", "tags": ["{SURROGATE}"]}}', "tags.0"),
    (f'{{"title": "a", "{SURROGATE}": 1}}', "body"),
    (f'{{"title": "a", "zone": "{SURROGATE}"}}', "zone"),
    (f'{{"title": "a", "due_date": "{SURROGATE}"}}', "due_date"),
    (f'{{"title": "a", "reminder_offset": "{SURROGATE}"}}', "reminder_offset"),
    ('{"title": NaN}', "title"),
    ('{"title": "a", "tags": [Infinity]}', "tags.0"),
    ("[]", "body"),
    ("null", "body"),
    ('"title"', "body"),
    ("7", "body"),
    ("", "body"),
    ('{"title": "a", "reminder_offset": "PT5M"}', "reminder_offset"),
    ('{"title": "a", "recurrence_rule": {"frequency": "daily"}}', "recurrence_rule"),
    ('{"title": "a", "title": "b"}', "title"),
    (f'{{"title": "a", "due_date": "{DUE}", "due_date": "{DUE}"}}', "due_date"),
    (f'{{"title": "a", "{SURROGATE}": 1, "{SURROGATE}": 2}}', "\ud800"),
    ('{"title": "a", "recurrence_rule": {"frequency": "daily", "frequency": "weekly"}}', "recurrence_rule.frequency"),
    ('{"title": "a", "tags": ["a", {"b": 1, "b": 1}]}', "tags.1.b"),
    ('[[{"title": "a", "title": "b"}]]', "body"),
    ("{" + '"a": 1,' * 30_000 + '"a": 1}', "a"),
]

BROKEN = [
    b"{",
    b'{"title": "a"',
    b"title=a",
    b"\xff\xfe",
    b'{"title": "\xff"}',
    b"\x00",
    b"{'title': 'a'}",
    DEEP.encode(),
    b'{"a": {"b": 1, "b": 1}, "c": ' + DEEP.encode(),
    b'{"a": {"b": 1, "b": 1}, "c": ',
    b'{"a":' * 30_000,
    b'{"title": "a", "version": ' + b"9" * 5000 + b"}",
]

PARAMETERS = [
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=" + "9" * 5000, "limit"),
    ("limit=ten", "limit"),
    ("limit=1_0", "limit"),
    ("limit=1.0", "limit"),
    ("limit=+1", "limit"),
    ("offset=%D9%A3", "offset"),
    ("offset=-1", "offset"),
    (f"offset={LARGEST + 1}", "offset"),
    ("sort=password", "sort"),
    ("sort=id;drop table tasks", "sort"),
    ("order=sideways", "order"),
    ("status=deleted", "status.0"),
    ("priority=low&priority=none", "priority.1"),
    ("tags=" + "x" * 51, "tags.0"),
    ("tags=%00", "tags.0"),
    ("&".join(["tags=a"] * 21), "tags"),
    ("due_from=2030-01-01", "due_from"),
    ("due_to=9999-12-31T23:59:59-12:00", "due_to"),
    ("q=%00", "q"),
    ("q=" + "x" * 201, "q"),
    ("user_id=8", "user_id"),
    ("unknown=1", "unknown"),
    ("limit=1&limit=2", "limit"),
    ("offset=0&limit=1&offset=0", "offset"),
    ("q=a&q=b", "q"),
    ("due_from=2030-01-31T09:00:00+01:00", "due_from"),
]

PATHS = [
    ("PUT", "/api/tasks", 405),
    ("DELETE", "/api/tasks", 405),
    ("TRACE", "/api/tasks", 405),
    ("BREW", "/api/tasks/1", 405),
    ("GET", "/api/tasks/1/complete", 405),
    ("GET", "/internal/occurrences", 405),
    ("GET", "/api/tasks/", 404),
    ("GET", "//api/tasks", 404),
    ("GET", "/api/Tasks", 404),
    ("GET", "/api", 404),
    ("GET", "/docs", 404),
    ("GET", "/openapi.json", 404),
    ("POST", "/api/tasks/1/steal", 404),
    ("POST", "/dapr/subscribe", 404),
]


async def test_a_field_that_does_not_fit_is_named(api: Api) -> None:
    """Each is a 422 whose error names the field, and no row is written."""
    for field, value in FIELDS:
        body = {"title": "a", "due_date": DUE, field.partition(".")[0]: value}
        await _refused_by_field(api, json.dumps(body).encode(), field)


async def test_a_body_of_the_wrong_shape_is_named(api: Api) -> None:
    """What is JSON but no task is a 422, lone surrogates and numbers that are none among it."""
    for body, field in SHAPES:
        await _refused_by_field(api, body.encode(), field)


async def test_a_body_that_is_not_json_is_400(api: Api) -> None:
    """What can't be parsed is a 400, nested 50,000 deep and numbers of 5,000 digits among it."""
    for body in BROKEN:
        response = await _post(api, body)
        assert response.status_code == 400, body[:50]
        assert response.headers["content-type"] == "application/problem+json"
    assert api.count("tasks") == 0


async def test_another_content_type_is_415(api: Api) -> None:
    """A body must say that it is JSON; a browser's form can't."""
    for media in ("text/plain", "application/x-www-form-urlencoded", "", "application/jsonx", "x" * 500):
        assert (await _post(api, b'{"title": "a"}', media)).status_code == 415, media
    assert api.count("tasks") == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_413(api: Api, announced: bool) -> None:
    """256 KiB is enough for any task, announced or in chunks."""

    async def chunks() -> Any:
        for _ in range(30):
            yield b"x" * 10_000

    content = b"x" * 300_000 if announced else chunks()
    assert (await _post(api, content)).status_code == 413


async def test_an_id_that_can_not_be_one_is_422(api: Api) -> None:
    """An id is a whole number that fits into the database."""
    for task_id in ("0", "-1", "1.5", "1.0", "1_0", "+1", "%201", "abc", "%00", str(LARGEST + 1), "9" * 5000, "1;2"):
        for method, suffix in (("GET", ""), ("DELETE", ""), ("POST", "/complete"), ("POST", "/reopen")):
            response = await api.call(method, f"/api/tasks/{task_id}{suffix}")
            assert response.status_code == 422, task_id
            assert response.json()["errors"][0]["field"] == "task_id"


async def test_the_largest_id_is_merely_not_there(api: Api) -> None:
    """An id within the database's range that nobody has is a 404."""
    assert (await api.call("GET", f"/api/tasks/{LARGEST}")).status_code == 404


async def test_a_parameter_that_does_not_fit_is_named(api: Api) -> None:
    """Parameters are checked as bodies are, unknown ones among them."""
    for query, field in PARAMETERS:
        response = await api.call("GET", f"/api/tasks?{query}")
        assert response.status_code == 422, query[:50]
        assert [error["field"] for error in response.json()["errors"]] == [field]


async def test_what_takes_several_values_may_be_repeated(api: Api) -> None:
    """Status, priority and tags; the other reads refuse a repeated parameter as the list does."""
    many = "status=open&status=completed&priority=low&priority=high&tags=a&tags=a&limit=1"
    assert (await api.call("GET", f"/api/tasks?{many}")).status_code == 200
    for path in (
        "/api/tasks/search?q=a&q=a",
        "/api/tasks/filter?sort=priority&sort=due_date",
        "/api/changes?since=1&since=0",
    ):
        response = await api.call("GET", path)
        told = [(error["field"], error["message"]) for error in response.json()["errors"]]
        assert told == [(path.partition("?")[2].partition("=")[0], "is given more than once")]


async def test_parameters_of_the_other_reads_are_checked(api: Api) -> None:
    """A search needs words, a cursor is not negative, a page has its limit."""
    for path in ("/api/tasks/search", "/api/tasks/search?q=", "/api/changes?since=-1", "/api/changes?limit=501"):
        assert (await api.call("GET", path)).status_code == 422, path


async def test_text_is_only_text(api: Api) -> None:
    """SQL, patterns and markup are stored and found as they were written."""
    for text in ("'; DROP TABLE api.tasks; --", "%", "_", "\\", "${jndi:ldap://x}", "{{7*7}}", "<script>"):
        made = await api.create(title=f"a{text}b", description=text, tags=[text])
        assert (made["title"], made["description"], made["tags"]) == (f"a{text}b", text, [text])
        for path, params in (("search", {"q": f"A{text}B"}), ("filter", {"tags": text})):
            found = await api.call("GET", f"/api/tasks/{path}", params=params)
            assert [task["id"] for task in found.json()["items"]] == [made["id"]], text


async def test_unknown_paths_and_methods(api: Api) -> None:
    """Unknown paths are 404 and unknown methods 405, as problems, without a redirect."""
    for method, path, status in PATHS:
        response = await api.call(method, path)
        told = (response.status_code, response.headers["content-type"])
        assert told == (status, "application/problem+json"), (method, path)


async def test_without_a_token_there_is_nothing(api: Api) -> None:
    """No token, half a token and a sidecar's token are 401."""
    for path in ("/api/tasks", "/api/tasks/1", "/api/tasks/search?q=a", "/api/tasks/filter", "/api/changes"):
        for headers in ({}, {"authorization": "Bearer"}, {"authorization": "Bearer a.b.c"}, INTERNAL):
            assert (await api.http.get(path, headers=headers)).status_code == 401, path


async def test_auth_away_is_503(api: Api) -> None:
    """A token that can't be checked now is not called wrong."""
    token = api.daprd.token(7)
    api.daprd.away = True
    response = await api.http.get("/api/tasks", headers={"authorization": f"Bearer {token}"})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def _post(api: Api, content: Any, media: str = "application/json") -> Any:
    headers = {"content-type": media} if media else {}
    return await api.call("POST", "/api/tasks", content=content, headers=headers)


async def _refused_by_field(api: Api, body: bytes, field: str) -> None:
    response = await _post(api, body)
    assert response.status_code == 422, (body[:200], response.text)
    assert response.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field], body[:200]
    assert api.count("user_seqs") == 0
