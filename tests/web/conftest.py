"""The page in a real browser, on one real platform for all tests of a run."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.live.conftest import Platform, platform  # noqa: F401 - the fixture

PASSWORD = "correct horse battery"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# Seen by the page itself: what the policy forbids.
_WATCH = "addEventListener('securitypolicyviolation', (e) => console.error('CSP', e.violatedDirective, e.blockedURI));"


def chromium() -> str:
    """Where Chromium is; a test without it fails and says how to get it."""
    found = shutil.which("chromium") or "/usr/bin/chromium"
    assert Path(found).exists(), "no chromium on PATH; on Debian: apt-get update && apt-get install -y chromium"
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=_ARGUMENTS)
        yield started
        started.close()


@dataclass
class Site:
    """The page's address and the windows that were opened; `complaints` is what they wrote into the console."""

    platform: Platform
    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.platform.url("api")

    def window(
        self,
        *,
        width: int = 1280,
        height: int = 900,
        before: Callable[[BrowserContext], None] | None = None,
        **options: Any,
    ) -> Page:
        """A new browser profile with the page in it; `before` may put something between it and the network."""
        context = self.browser.new_context(viewport={"width": width, "height": height}, **options)
        context.add_init_script(_WATCH)
        context.set_default_timeout(15_000)
        self.contexts.append(context)
        if before is not None:
            before(context)
        page = context.new_page()
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.goto(self.url)
        return page

    def joined(self, **options: Any) -> Page:
        """A window whose user has just made an account, the list ready."""
        page = self.window(**options)
        page.get_by_role("button", name="Create an account").click()
        page.get_by_label("E-mail address").fill(f"web-{secrets.token_hex(6)}@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Create account").click()
        ready(page)
        return page

    def again(self, page: Page, **options: Any) -> Page:
        """Another window of the same user."""
        second = self.window(storage_state=page.context.storage_state(), **options)
        ready(second)
        return second

    def call(self, page: Page, method: str, path: str, body: Any = None) -> Any:
        """A request of the page's user, beside the page."""
        token = page.evaluate("JSON.parse(localStorage.getItem('todo.session')).token")
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, trust_env=False)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def task(self, page: Page, **fields: Any) -> dict[str, Any]:
        """A new task of the page's user, made beside the page."""
        return dict(self.call(page, "POST", "/api/tasks", fields))

    def _heard(self, kind: str, text: str) -> None:
        # Chromium reports each refused or failed request as an error; those are what some tests are about.
        expected = ("Failed to load resource", "WebSocket connection to")
        if kind in {"error", "warning"} and not text.startswith(expected):
            self.complaints.append(f"{kind}: {text}")


def ready(page: Page) -> None:
    """Wait until the page shows the user's tasks."""
    page.locator("#app").wait_for()
    page.locator("#list[aria-busy=false]").wait_for()
    page.locator("#connection[data-state=polling], #connection[data-state=live]").wait_for()


def due(**later: int) -> str:
    """A due date so much later than now."""
    return (datetime.now(UTC).replace(microsecond=0) + timedelta(**later)).isoformat()


@pytest.fixture
def site(platform: Platform, browser: Browser) -> Iterator[Site]:  # noqa: F811 - the fixture
    """The page; after the test no window may have broken the policy or logged an error."""
    made = Site(platform, browser)
    yield made
    for context in made.contexts:
        context.close()
    assert not made.complaints
