"""Users of the platform in tests: they retry as a careful client does and write down what was acknowledged."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.live.conftest import Platform

PASSWORD = "correct horse battery"


@dataclass
class User:
    """One registered user with a client; `completed` has the ids of the tasks whose completion was acknowledged."""

    platform: Platform
    client: httpx.Client
    id: int
    token: str
    email: str = ""
    completed: list[int] = field(default_factory=list)

    def call(
        self, method: str, url: str, *, body: Any = None, key: str | None = None, seconds: float = 90
    ) -> httpx.Response:
        """The answer, after retries of whatever left it in doubt: no answer, 5xx, 429."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        deadline = time.monotonic() + seconds
        while True:
            try:
                answer = self.client.request(method, url, json=body, headers=headers)
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                seen = f"{answer.status_code} {answer.text[:200]}"
            except httpx.HTTPError as error:
                seen = f"{type(error).__name__}: {error}"
            assert time.monotonic() < deadline, f"{method} {url} not acknowledged: {seen}"
            pause(0.1)

    def create(self, **fields: Any) -> dict[str, Any]:
        """A new task, created exactly once."""
        answer = self.call("POST", f"{self.platform.url('api')}/api/tasks", body=fields, key=secrets.token_hex(8))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def complete(self, task_id: int) -> None:
        """Complete a task and write the acknowledgement down."""
        url = f"{self.platform.url('api')}/api/tasks/{task_id}/complete"
        answer = self.call("POST", url, key=secrets.token_hex(8))
        assert answer.status_code == 200, answer.text
        self.completed.append(task_id)

    def tasks(self) -> list[dict[str, Any]]:
        """All tasks of the user."""
        return self._pages(f"{self.platform.url('api')}/api/tasks", 200)

    def audit(self) -> list[dict[str, Any]]:
        """All audit rows of the user."""
        return self._pages(f"{self.platform.url('audit')}/api/audit/logs", 500)

    def _pages(self, url: str, size: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while True:
            answer = self.call("GET", f"{url}?limit={size}&offset={len(rows)}")
            assert answer.status_code == 200, answer.text
            page = answer.json()
            rows += page["items"]
            if not page["items"] or len(rows) >= page["total"]:
                return rows


@contextmanager
def register(platform: Platform) -> Iterator[User]:
    """A new user, logged in, with a client that is closed afterwards."""
    email = f"test-{secrets.token_hex(6)}@example.com"
    account = {"email": email, "password": PASSWORD}
    with httpx.Client(timeout=10, trust_env=False) as client:
        made = client.post(f"{platform.url('auth')}/api/auth/register", json=account)
        assert made.status_code == 201, made.text
        token = client.post(f"{platform.url('auth')}/api/auth/login", json=account)
        assert token.status_code == 200, token.text
        yield User(platform, client, made.json()["id"], token.json()["access_token"], email)


def recurring(number: int) -> dict[str, Any]:
    """The fields of a daily task that is due tomorrow."""
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    return {"title": f"task {number}", "due_date": due.isoformat(), "recurrence_rule": {"frequency": "daily"}}


def pause(seconds: float) -> None:
    """The pause of a client between two tries."""
    import threading

    threading.Event().wait(seconds)
