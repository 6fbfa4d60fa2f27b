"""What a migration's statements lock, and what they take away: squawk, run on real SQL."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from todoctl.adapters import release_store
from todoctl.adapters.sql_linter import BREAKING, lock_risks

STATEMENTS = [
    # SQL, the largest risk, whether it takes something away.
    ("CREATE TABLE api.x (id bigint PRIMARY KEY)", None, False),
    ("ALTER TABLE api.tasks ADD COLUMN color text", None, False),
    ("ALTER TABLE api.tasks ADD COLUMN color text NOT NULL DEFAULT 'red'", None, False),
    ("CREATE INDEX i ON api.tasks (title)", "medium", False),
    ("ALTER TABLE api.tasks ADD CONSTRAINT k CHECK (id > 0)", "medium", False),
    ("ALTER TABLE api.tasks ADD CONSTRAINT k CHECK (id > 0) NOT VALID", None, False),
    ("ALTER TABLE api.tasks ADD COLUMN r uuid DEFAULT gen_random_uuid()", "high", False),
    ("ALTER TABLE api.tasks ALTER COLUMN title SET NOT NULL", "high", False),
    ("ALTER TABLE api.tasks ADD CONSTRAINT u UNIQUE (title)", "high", False),
    ("SELECT 1; CREATE INDEX CONCURRENTLY i ON api.tasks (title)", "high", False),
    ("ALTER TABLE api.tasks ALTER COLUMN title TYPE varchar(10)", "high", True),
    ("ALTER TABLE api.tasks DROP COLUMN tags", "high", True),
    ("ALTER TABLE api.tasks RENAME COLUMN a TO b", "high", True),
    ("ALTER TABLE api.tasks RENAME TO jobs", "high", True),
    ("DROP TABLE api.series", "high", True),
    ("DROP SCHEMA api CASCADE", "high", True),
    ("DROP VIEW api.v", "high", True),
]


def test_statements_have_their_risks() -> None:
    """A rewrite or a scan under a lock, an index that blocks writers, whatever older code may still use."""
    found = lock_risks({sql: f"{sql};\n" for sql, _, _ in STATEMENTS})
    order = ["low", "medium", "high"]
    seen = [
        (
            sql,
            max((risk.risk for risk in found[sql]), key=order.index, default=None),
            any(risk.rule in BREAKING for risk in found[sql]),
        )
        for sql, _, _ in STATEMENTS
    ]
    assert seen == STATEMENTS


def test_a_table_of_the_same_migration_locks_nobody() -> None:
    """An index on a table that nobody can use yet is no risk."""
    assert lock_risks({"a": "CREATE TABLE x (id int);\nCREATE INDEX i ON x (id);\n"}) == {"a": ()}


def test_no_migrations_no_run() -> None:
    """Without SQL there is nothing to ask."""
    assert lock_risks({}) == {}


@pytest.mark.parametrize("word", ["DROP", "RENAME"])
def test_our_own_migrations_take_nothing_away(tmp_path: Path, word: str) -> None:
    """Those of this checkout only add, and squawk can read them all."""
    release_store.copy_checkout(tmp_path)
    told = release_store.describe(Path(sys.executable), tmp_path, os.environ)
    scripts = {item["revision"]: item["sql"] for item in told["database"]["migrations"]}
    assert len(scripts) >= 3
    assert [risk for risks in lock_risks(scripts).values() for risk in risks if risk.rule in BREAKING] == []
    broken = lock_risks(
        {"x": f"{scripts['0002']}\nALTER TABLE api.other {word} COLUMN a{' TO b' if word == 'RENAME' else ''};"}
    )
    assert [risk.rule for risk in broken["x"] if risk.rule in BREAKING]
