"""docs/data-model.md and the mapped classes say what is really in the database."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg

from services.api.models import Base
from tests.unit.services.postgres_server import TodoDatabase

DOCUMENT = Path(__file__).parents[3] / "docs" / "data-model.md"
COLUMNS = """
SELECT table_name, column_name, is_nullable = 'YES' FROM information_schema.columns
WHERE table_schema = %s ORDER BY table_name, column_name
"""
INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname IN ('auth', 'api', 'audit') AND indexname LIKE 'idx%%'"


def _read(todo: TodoDatabase, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(todo.admin_url) as link:
        return link.execute(query.encode(), values).fetchall()


def _documented() -> dict[str, set[str]]:
    """The columns that the document describes, by table."""
    tables: dict[str, set[str]] = {}
    for section in re.split(r"^### ", DOCUMENT.read_text(), flags=re.MULTILINE)[1:]:
        head = section.partition("\n## ")[0]
        table, _, text = head.partition("\n")
        rows = text.partition("| index |")[0]
        tables[table.strip()] = {
            name
            for row in re.findall(r"^\| (`[^|]*) \|", rows, flags=re.MULTILINE)
            for name in re.findall(r"`(\w+)`", row)
        }
    return tables


def test_the_document_has_each_table_and_column(todo: TodoDatabase) -> None:
    """No table or column is missing, and none is described that is not there."""
    real: dict[str, set[str]] = defaultdict(set)
    for schema in ("auth", "api", "audit"):
        for table, column, _ in _read(todo, COLUMNS, schema):
            real[table].add(column)
    assert _documented() == real


def test_the_document_has_each_index(todo: TodoDatabase) -> None:
    """An index that nobody explains is one that nobody dares to drop."""
    text = DOCUMENT.read_text()
    assert [name for (name,) in _read(todo, INDEXES) if name not in text] == []


def test_the_mapped_classes_fit_the_tables(todo: TodoDatabase) -> None:
    """Each mapped column exists, and may be null exactly where the class says so."""
    real = {(table, column): nullable for table, column, nullable in _read(todo, COLUMNS, "api")}
    mapped = {
        (table.name, column.name): bool(column.nullable)
        for table in Base.metadata.tables.values()
        for column in table.columns
    }
    assert mapped == real
