"""Operators and the audit log on the real platform: who sees what, and that tampering is found."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.live import users
from tests.live.conftest import Platform, until
from tests.live.users import User

_LOGS = "/api/audit/logs"


def logs(user: User, **filters: str) -> httpx.Response:
    """What audit answers the user."""
    url = f"{user.platform.url('audit')}{_LOGS}"
    return user.client.get(url, params={"limit": "500", **filters}, headers={"Authorization": f"Bearer {user.token}"})


def owners(user: User) -> set[int]:
    """Whose rows the user sees."""
    answer = logs(user)
    assert answer.status_code == 200, answer.text
    return {row["user_id"] for row in answer.json()["items"]}


def log_in_again(user: User) -> User:
    """The same user with a token of now."""
    account = {"email": user.email, "password": users.PASSWORD}
    answer = user.client.post(f"{user.platform.url('auth')}/api/auth/login", json=account)
    assert answer.status_code == 200, answer.text
    user.token = answer.json()["access_token"]
    return user


def test_operators_see_everything_and_users_their_own(platform: Platform) -> None:
    """`users grant` takes effect at the next log-in and `users revoke` takes it back; others' rows are 403 before."""
    with users.register(platform) as ann, users.register(platform) as bob:
        ann.create(title="Ann's")
        bob.create(title="Bob's")
        until(30, lambda: owners(ann) == {ann.id} and owners(bob) == {bob.id}, "both see their own rows")
        assert logs(ann, user_id=str(bob.id)).status_code == 403
        granted = platform.must("users", "grant", ann.email, "-o", "json").json()
        assert granted == {"id": ann.id, "email": ann.email, "zone": "UTC", "role": "operator"}
        assert platform.must("users", "grant", ann.email.upper(), "-o", "json").json() == granted
        assert logs(ann, user_id=str(bob.id)).status_code == 403, "a token keeps the role that it was made with"
        log_in_again(ann)
        assert len(owners(ann)) > 1
        assert {row["user_id"] for row in logs(ann, user_id=str(bob.id)).json()["items"]} == {bob.id}
        assert owners(bob) == {bob.id}
        assert "until they end" in platform.must("users", "revoke", ann.email).err
        assert owners(log_in_again(ann)) == {ann.id}


def test_an_unknown_address_has_no_role(platform: Platform) -> None:
    """Nobody is made by granting; what is no address is said to be none."""
    ended = platform.run("users", "grant", "nobody@example.org")
    assert (ended.code, "no user has the address" in ended.err) == (1, True), ended.err
    ended = platform.run("users", "grant", "no/address")
    assert (ended.code, "not an e-mail address" in ended.err) == (1, True), ended.err


def test_todoctl_logs_in_as_an_operator(platform: Platform) -> None:
    """Its account is made when it is needed, its password lies in a private file and shows nowhere."""
    findings = platform.run("doctor", "-o", "json").json()
    finding = next(finding for finding in findings if finding["check"] == "operator")
    assert finding["verdict"] == "ok", finding
    account = platform.secrets()["operator"]
    assert account["email"] in finding["seen"]
    assert stat.S_IMODE((platform.home / "local" / "secrets.json").stat().st_mode) == 0o600
    found = [
        path for path in (platform.home / "local").rglob("*") if path.is_file() and _holds(path, account["password"])
    ]
    assert found == [platform.home / "local" / "secrets.json"]
    assert account["password"] not in json.dumps(findings)


def _holds(path: Path, secret: str) -> bool:
    return secret.encode() in path.read_bytes()


@pytest.fixture
def tampered(platform: Platform) -> Any:
    """One audit row edited by the server's administrator; put back afterwards."""
    administrator = platform.database("postgres").rpartition("/")[0] + "/todo"
    with psycopg.connect(administrator, autocommit=True) as link:
        link.execute("SET session_replication_role = replica")
        row = link.execute(
            "SELECT log_id, topic, partition, chain_seq, user_id FROM audit.audit_logs WHERE user_id IS NOT NULL"
            " ORDER BY log_id LIMIT 1"
        ).fetchone()
        assert row is not None
        link.execute("UPDATE audit.audit_logs SET user_id = user_id + 1 WHERE log_id = %s", (row[0],))
        yield row
        link.execute("UPDATE audit.audit_logs SET user_id = %s WHERE log_id = %s", (row[4], row[0]))


def test_the_log_of_the_platform_is_whole(platform: Platform, tmp_path: Path) -> None:
    """Exit 0 with a row for each chain; a later run holds it to what an earlier one wrote."""
    seen = platform.must("verify", "audit", "-o", "json")
    assert seen.json()["whole"] is True
    assert seen.json()["rows"] == sum(chain["rows"] for chain in seen.json()["chains"]) > 0
    noted = tmp_path / "heads.json"
    noted.write_text(seen.out)
    assert "whole" in platform.must("verify", "audit", "--known", str(noted)).out
    document = seen.json()
    document["chains"][0]["head"]["hash"] = "00" * 32
    noted.write_text(json.dumps(document))
    ended = platform.run("verify", "audit", "--known", str(noted))
    assert (ended.code, "rewritten" in ended.err) == (5, True), ended.err


def test_a_tampered_row_is_named(platform: Platform, tampered: tuple[int, str, int, int, int]) -> None:
    """Exit 5, and topic, partition, position and number of the row, for people and for programs."""
    log_id, topic, partition, position, _ = tampered
    ended = platform.run("verify", "audit", "-o", "json")
    assert ended.code == 5
    assert f"{topic}/{partition} row {position} (log_id {log_id}) changed: " in ended.err
    [bad] = [chain for chain in ended.json()["chains"] if chain["broken"]]
    assert (bad["topic"], bad["partition"]) == (topic, partition)
    assert (bad["broken"]["chain_seq"], bad["broken"]["log_id"], bad["broken"]["damage"]) == (
        position,
        log_id,
        "changed",
    )
