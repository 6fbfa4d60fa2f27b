"""Releases on this machine: deployed under load, failed, killed, gone back from; a small platform made of a copy of ours."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
import yaml
from confluent_kafka import Producer

from tests.live.conftest import Platform, _new_home, until
from tests.live.users import User, register
from tests.program import Ended
from todoctl.adapters.processes import supervisor
from todoctl.core.dead_letters import DeadLetter, Origin, to_cloud_event
from todoctl.core.site import Folders

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("auth", "api", "recurring")  # services of the small platform: each deploy starts every one of them
HEALTH = "services/common/webapp.py"
VERSIONS = "services/migrations/versions"

MIGRATION = '''"""{title}"""

from alembic import op

revision = "{revision}"
down_revision = "{before}"
{more}

def upgrade() -> None:
    op.execute("{sql}")


def downgrade() -> None:
    pass
'''


@dataclass(frozen=True)
class Workshop(Platform):
    """A platform whose checkout is a copy that a test may edit."""

    checkout: Path

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | {"PYTHONPATH": str(self.checkout)}

    def edit(self, name: str, change: Callable[[str], str]) -> None:
        """Change a file of the checkout."""
        path = self.checkout / name
        path.write_text(change(path.read_text()))

    def say(self, word: str) -> None:
        """Have every service's /healthz say the word."""
        self.edit(HEALTH, lambda text: text.replace(_said_in(text), f'"status": "ok", "word": "{word}"'))

    def word(self, service: str = "api") -> str | None:
        """The word that a service says, None where it says none."""
        with httpx.Client(trust_env=False, timeout=10) as client:
            return dict(client.get(f"{self.url(service)}/healthz").json()).get("word")

    def migration(self, number: int, sql: str, more: str = "") -> Path:
        """A new revision of the checkout."""
        path = self.checkout / VERSIONS / f"{number:04}_test.py"
        names = {"revision": f"{number:04}", "before": f"{number - 1:04}", "title": f"Test {number}.", "sql": sql}
        path.write_text(MIGRATION.format(**names, more=more))
        return path

    @property
    def newest(self) -> int:
        """The number of the checkout's newest revision."""
        return max(int(path.name[:4]) for path in (self.checkout / VERSIONS).glob("0*.py"))

    def schema(self) -> str:
        """The database's revision."""
        with psycopg.connect(self.database("todo_owner")) as link:
            row = link.execute("SELECT version_num FROM public.alembic_version").fetchone()
        assert row is not None
        return str(row[0])

    def deploy(self, *more: str) -> Ended:
        """`deploy` without the smoke chain, which this small platform has not all services for."""
        return self.run("deploy", "--no-smoke", "--timeout", "400", "-o", "json", *more, seconds=1800)

    def history(self) -> list[dict[str, Any]]:
        return list(self.must("history", "-o", "json").json())


def _said_in(text: str) -> str:
    return text.partition("return {")[2].partition("}")[0]


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    """The small platform, up from its checkout, with a first release."""
    home = _new_home()
    made = Workshop(home, home / "checkout")
    for name in ("todoctl", "services", "chart"):
        shutil.copytree(ROOT / name, made.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    made.edit("chart/values.yaml", _small)
    try:
        made.must("up", "--no-smoke", "--timeout", "400", seconds=1800)
        first = made.deploy()
        assert first.code == 0, first.err
        yield made
    finally:
        result = made.run("down", "--purge", "--yes")
        left = made.processes()
        shutil.rmtree(home, ignore_errors=True)
        assert result.code == 0, result.err
        assert not left


def _small(text: str) -> str:
    values = yaml.safe_load(text)
    values["services"] = {name: values["services"][name] for name in KEPT}
    for service in values["services"].values():
        service["invokes"] = [item for item in service.get("invokes", ()) if item["service"] in KEPT]
    return str(yaml.safe_dump(values, sort_keys=False))


def test_a_release_is_deployed_under_load(shop: Workshop) -> None:
    """A visible change arrives while every request is answered, on kept and new connections; nothing acknowledged is lost."""
    shop.say("second")
    differing = shop.run("diff", "-o", "json")
    assert differing.code == 4
    assert [item["name"] for item in differing.json()["differences"]] == [HEALTH]
    over = threading.Event()
    with ThreadPoolExecutor(max_workers=2) as pool, register(shop) as user:
        clients = [pool.submit(_created, user, over, keep=keep) for keep in (True, False)]
        try:
            result = shop.deploy()
        finally:
            over.set()
        acknowledged = [task for client in clients for task in client.result()]
        assert result.code == 0, result.err
        assert {task["id"] for task in user.tasks()} == set(acknowledged)
    assert len(acknowledged) > 20
    assert [shop.word(service) for service in KEPT] == ["second"] * len(KEPT)
    assert result.json()["state"] == "deployed"
    assert [(item["revision"], item["state"]) for item in shop.history()] == [(1, "superseded"), (2, "deployed")]
    assert shop.run("diff").code == 0
    again = shop.deploy()
    assert again.code == 0
    assert "nothing to deploy" in again.err


def _created(user: User, over: threading.Event, *, keep: bool) -> list[int]:
    """Ids of tasks that were created one after the other, without a single retry."""
    limits = httpx.Limits(max_keepalive_connections=None if keep else 0)
    headers = {"Authorization": f"Bearer {user.token}"}
    made = []
    with httpx.Client(trust_env=False, timeout=60, limits=limits, headers=headers) as client:
        while not over.wait(0.1):
            answer = client.post(f"{user.platform.url('api')}/api/tasks", json={"title": secrets.token_hex(4)})
            assert answer.status_code == 201, answer.text
            made.append(int(answer.json()["id"]))
    return made


def test_edits_are_for_the_next_release(shop: Workshop) -> None:
    """`restart` starts the release again, whatever was edited since, and says so."""
    shop.say("edited")
    result = shop.must("restart", "recurring", "--timeout", "400")
    assert shop.word("recurring") == "second"
    assert "edits of the checkout are not in it" in result.err
    shop.say("second")


def test_a_release_that_crashes_goes_back(shop: Workshop) -> None:
    """Exit 1, the old one serves, the evidence has the last words of what crashed, and no secret."""
    shop.edit("services/recurring/app.py", lambda text: text + '\nraise SystemExit("boom")\n')
    shop.say("broken")
    try:
        result = shop.deploy()
    finally:
        shop.edit("services/recurring/app.py", lambda text: text.replace('\nraise SystemExit("boom")\n', ""))
        shop.say("second")
    assert result.code == 1, result.err
    record = shop.history()[-1]
    assert record["state"] == "failed"
    folder = Path(record["result"].rpartition("evidence: ")[2])
    assert str(folder) in result.err
    assert "boom" in (folder / "recurring-next.log").read_text()
    assert json.loads((folder / "status.json").read_text())["release"]["pending"] == record["revision"]
    stored = shop.secrets()
    hidden = [*stored["passwords"].values(), stored["app_token"], stored["dapr_token"], stored["service_token"]]
    text = "".join(path.read_text(errors="replace") for path in folder.iterdir())
    assert not [secret for secret in hidden if secret in text]
    assert [shop.word(service) for service in KEPT] == ["second"] * len(KEPT)
    assert shop.must("status", "-o", "json").json()["healthy"] is True


def test_a_migration_that_fails_changes_nothing(shop: Workshop) -> None:
    """Exit 1 with PostgreSQL's words; no service was touched, the schema is as it was."""
    before = {name: part["pid"] for name, part in shop.parts().items() if name in KEPT}
    schema = shop.schema()
    path = shop.migration(shop.newest + 1, "ALTER TABLE api.nowhere ADD COLUMN x int")
    try:
        result = shop.deploy()
    finally:
        path.unlink()
    assert result.code == 1
    assert 'relation "api.nowhere" does not exist' in result.err
    assert shop.schema() == schema
    assert {name: part["pid"] for name, part in shop.parts().items() if name in KEPT} == before


def test_a_killed_deploy_is_noticed_and_unlocked(shop: Workshop) -> None:
    """Two at once: the second is refused and names the first. Killed half-way: told, refused, repaired by `unlock`."""
    before = {name: part["pid"] for name, part in shop.parts().items()}
    shop.say("half")
    running = shop.start("deploy", "--no-smoke", "--timeout", "400")
    until(600, lambda: shop.parts()["auth"]["pid"] not in {None, before["auth"]}, "a deploy that is half-way")
    second = shop.deploy()
    assert second.code == 8
    assert f"todoctl deploy (pid {running.pid}) is working" in second.err
    assert f"todoctl deploy (pid {running.pid})" in shop.run("status", "-o", "json").json()["release"]["worked_on_by"]
    running.send_signal(signal.SIGKILL)
    running.communicate()
    status = shop.run("status", "-o", "json")
    assert status.json()["release"]["pending_state"] == "pending-upgrade"
    assert status.json()["release"]["worked_on_by"] is None
    assert "its deploy was killed; todoctl unlock" in status.err
    refused = shop.deploy()
    assert refused.code == 8
    assert "todoctl unlock" in refused.err
    shop.must("unlock", "--timeout", "400", seconds=1800)
    assert [shop.word(service) for service in KEPT] == ["second"] * len(KEPT)
    assert shop.history()[-1]["state"] == "failed"
    nothing = shop.run("unlock")
    assert nothing.code == 2
    assert "nothing to unlock" in nothing.err
    shop.say("second")


def test_a_deploy_killed_as_it_starts_the_next_version_leaves_none(shop: Workshop) -> None:
    """Killed before the next version could ask who its parent is: nothing of it stays on the service's port."""
    folders = Folders(shop.home / "local")
    spec = supervisor.spec_path(folders, "auth-next")
    before = spec.stat().st_mtime_ns
    shop.say("orphan")
    with shop.start("deploy", "--no-smoke", "--timeout", "400") as running:
        deadline = time.monotonic() + 600
        while spec.stat().st_mtime_ns == before and time.monotonic() < deadline:
            time.sleep(0.001)  # the window is the start of one Python
        running.kill()
    assert spec.stat().st_mtime_ns != before
    shop.must("unlock", "--timeout", "400", seconds=1800)
    assert shop.word("auth") == "second"
    orphan = folders.run / "auth-next.json"
    assert not orphan.exists() or not psutil.pid_exists(json.loads(orphan.read_text())["pid"])
    shop.say("second")


def test_old_code_runs_on_the_new_schema_until_a_contract(shop: Workshop) -> None:
    """Back over a migration that adds: done, and users are served. Back over one that takes away: refused, with the reason."""
    old, new = shop.schema(), f"{shop.newest + 1:04}"
    shop.migration(int(new), "ALTER TABLE api.tasks ADD COLUMN color text")
    shop.say("third")
    third = shop.deploy()
    assert third.code == 0, third.err
    assert shop.schema() == new
    back = shop.run("rollback", "--no-smoke", "--timeout", "400", "-o", "json", seconds=1800)
    assert back.code == 0, back.err
    assert (back.json()["returns_to"], back.json()["schema_revision"]) == (2, old)
    assert shop.word() == "second"
    assert shop.schema() == new
    with register(shop) as user:
        assert user.create(title="on the new schema")["id"] in {task["id"] for task in user.tasks()}
    assert "lives with it" in shop.must("up", "--no-smoke", "--timeout", "400", seconds=1800).err

    last = shop.newest + 1
    shop.migration(last, "ALTER TABLE api.tasks DROP COLUMN color", f'phase = "contract"\nlives_with = "{new}"')
    refused = shop.deploy()
    assert refused.code == 8
    assert "takes away what is needed by release" in refused.err
    contracted = shop.deploy("--allow-contract", "--yes")
    assert contracted.code == 0, contracted.err
    barred = shop.run("rollback", "2", "--dry-run", "-o", "json")
    assert barred.code == 8
    assert f"{last:04} (Test {last}.) took away what a release that needs {old} works with" in barred.err
    assert [(item["about"], item["can_be_forced"]) for item in barred.json()["obstacles"]] == [("schema", False)]
    assert shop.run("rollback", "2", "--force", "--yes").code == 8
    assert shop.run("rollback", str(third.json()["revision"]), "--dry-run").code == 0


def test_dead_letters_that_the_old_release_can_not_read_are_in_the_way(shop: Workshop) -> None:
    """A letter with an event of another major version: refused with the number, overridden by --force --yes only."""
    event = json.dumps({"type": "task.created", "data": {"schema_version": "2.0"}}).encode()
    letter = json.dumps(
        to_cloud_event(
            DeadLetter(
                consumer="audit",
                kind="permanent",
                error_class="UnsupportedEventError",
                message="a newer version",
                attempts=1,
                origin=Origin(topic="task-events", partition=0, offset=0),
                value=base64.b64encode(event).decode(),
                failed_at=datetime.now(UTC),
            )
        )
    )
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{shop.port('kafka')}"})
    producer.produce("dlq-events", letter)
    assert producer.flush(30) == 0
    superseded = [item for item in shop.history() if item["state"] == "superseded"]
    newest = max(item["schema_revision"] for item in superseded)
    target = str(next(item["revision"] for item in superseded if item["schema_revision"] == newest))
    refused = shop.run("rollback", target, "--dry-run", "-o", "json")
    assert refused.code == 8
    assert "dead letters: 1 of version 2; the release reads 1" in refused.err
    assert "replay or park them" in refused.err
    assert shop.run("rollback", target, "--dry-run", "--force").code == 0
    unasked = shop.run("rollback", target, "--force")
    assert unasked.code == 8
    assert "not done without agreement" in unasked.err
