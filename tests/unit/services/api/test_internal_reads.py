"""What sync reads from api: one user's changes, the heads of many users, and who may not."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.database import Database
from tests.unit.services.api.api_server import INTERNAL, Api


async def read(api: Api, query: str, user: int = 7) -> dict[str, Any]:
    """A page of changes."""
    answer = await api.http.get(f"/internal/users/{user}/changes{query}", headers=INTERNAL)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


@pytest.fixture
async def changed(api: Api) -> Api:
    """An api where user 7 has five changes and user 8 one."""
    for number in range(5):
        await api.create(title=f"task {number}")
    await api.create(user=8)
    return api


async def test_pages_lead_to_the_head(changed: Api) -> None:
    """Every change once, in order, of this user alone."""
    seen, cursor = [], 1
    while True:
        page = await read(changed, f"?since={cursor}&limit=2")
        seen += [item["user_seq"] for item in page["items"]]
        cursor = page["cursor"]
        if cursor == page["head"]:
            break
    assert seen == [2, 3, 4, 5]


async def test_without_a_cursor_there_is_only_the_head(changed: Api) -> None:
    """Who has listed the tasks after that goes on from there."""
    assert await read(changed, "") == {"items": [], "cursor": 5, "head": 5, "resync": True}
    assert await read(changed, "", user=9) == {"items": [], "cursor": 0, "head": 0, "resync": True}


async def test_a_cursor_from_elsewhere_leads_to_a_resync(changed: Api) -> None:
    """As in the public route."""
    assert (await read(changed, "?since=99"))["resync"] is True


async def test_a_number_without_a_change_is_passed(changed: Api) -> None:
    """A reader arrives at the head though no change has its number."""
    owner = Database(changed.todo.url("todo_owner"), name="test")
    async with owner.transaction() as session:
        await (await session.connection()).exec_driver_sql("UPDATE api.user_seqs SET last_seq = 6 WHERE user_id = 7")
    await owner.aclose()
    page = await read(changed, "?since=4")
    assert ([item["user_seq"] for item in page["items"]], page["cursor"], page["head"]) == ([5], 6, 6)
    assert await read(changed, "?since=6") == {"items": [], "cursor": 6, "head": 6, "resync": False}


async def test_heads_of_many_users_come_at_once(changed: Api) -> None:
    """Who has no change yet is left out."""
    answer = await changed.http.post("/internal/heads", json={"user_ids": [7, 8, 9]}, headers=INTERNAL)
    assert answer.json() == {"heads": {"7": 5, "8": 1}}


@pytest.mark.parametrize("ids", [None, [0], [2**63], [True], ["7"], [7.5], list(range(1, 1002))])
async def test_a_question_that_does_not_fit_is_refused(api: Api, ids: list[Any] | None) -> None:
    """The field is named."""
    body = {} if ids is None else {"user_ids": ids}
    answer = await api.http.post("/internal/heads", json=body, headers=INTERNAL)
    assert answer.status_code == 422
    assert "user_ids" in answer.text


@pytest.mark.parametrize("missing", INTERNAL)
async def test_only_services_may_ask(api: Api, missing: str) -> None:
    """Without either token there is no answer."""
    headers = {name: value for name, value in INTERNAL.items() if name != missing}
    assert (await api.http.get("/internal/users/7/changes?since=0", headers=headers)).status_code == 401
    assert (await api.http.post("/internal/heads", json={"user_ids": [7]}, headers=headers)).status_code == 401
