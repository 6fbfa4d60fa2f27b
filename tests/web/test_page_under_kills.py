"""A page that stays open while every part is killed in turn shows in the end exactly what is there."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx
import jwt
import pytest
from playwright.sync_api import Page, expect

from tests.live.conftest import until
from tests.live.kills import assert_agreement, write_under_kills
from tests.live.users import User, register
from tests.web.conftest import Site

_SHOWN = """
() => [...document.querySelectorAll('#list li[data-id]')].map((row) => [
  Number(row.dataset.id), row.querySelector('.title').textContent, row.querySelector('.tick').checked])
"""


@pytest.mark.slow
def test_the_page_agrees_after_kills(site: Site, request: pytest.FixtureRequest) -> None:
    """Without a reload it comes to the acknowledged state, page by page; the other users' parts agree as well."""
    option = request.config.getoption
    page = site.joined()
    page.locator("#status label", has_text="All").click()
    page.locator("#sort").select_option(label="Newest")
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=10, trust_env=False))
        users = [_user(site, page, client)]
        users += [stack.enter_context(register(site.platform)) for _ in range(option("--kill-clients") - 1)]
        scribes = write_under_kills(site.platform, users, option("--kill-writes"), seed=option("--kill-seed"))
        assert_agreement(site.platform, scribes)
        expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=60_000)
        tasks = sorted(users[0].tasks(), key=lambda task: -task["id"])
        expected = [[task["id"], task["title"], task["status"] == "completed"] for task in tasks]
        shown: list[Any] = []
        while len(shown) < len(expected):
            wanted = expected[len(shown) : len(shown) + 25]
            until(30, lambda wanted=wanted: page.evaluate(_SHOWN) == wanted, f"{wanted}")  # type: ignore[misc]
            shown += wanted
            if len(shown) < len(expected):
                page.get_by_role("button", name="Next").click()


def _user(site: Site, page: Page, client: httpx.Client) -> User:
    """The page's user as a client beside the page."""
    token = page.evaluate("JSON.parse(localStorage.getItem('todo.session')).token")
    claims = jwt.decode(token, options={"verify_signature": False})
    return User(site.platform, client, int(claims["sub"]), token)
