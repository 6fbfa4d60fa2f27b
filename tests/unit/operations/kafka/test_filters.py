"""Which records a filter lets pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.operations.kafka.messages import message
from todoctl.errors import UsageError
from todoctl.operations.kafka.filters import Filter, passing

EVENT = {
    "type": "task.completed",
    "data": {
        "event_type": "task.completed",
        "user_id": 7,
        "task_id": 3,
        "correlation_id": "c-1",
        "payload": {"tags": ["a", "b"]},
    },
}
ONE = message(json.dumps(EVENT).encode(), key=b"7", headers=[("source", b"api"), ("empty", None)])
GARBAGE = [
    message(value, key=None)
    for value in (None, b"", b"\xff", b"[]", b"5", b'{"data":5}', b'{"data":{"correlation_id":["c-1"]}}', b"[" * 9999)
]


@pytest.mark.parametrize(
    "only",
    [
        Filter(),
        Filter(key="7"),
        Filter(key="?"),
        Filter(headers=("source",)),
        Filter(headers=("source=a*", "empty=")),
        Filter(types=("task.completed",)),
        Filter(types=("reminder.*", "task.*")),
        Filter(user="7"),
        Filter(correlation="c-1"),
        Filter(text='"c-1"'),
        Filter(paths=("$.data.task_id",)),
        Filter(paths=(".data.task_id=3", "data.user_id=7")),
        Filter(paths=("$.data.payload.tags[*]=b",)),
        Filter(paths=("$[?@.task_id==3]",)),
        Filter(paths=("$..correlation_id=c-*",)),
        Filter(key="7", types=("task.*",), user="7", text="completed"),
    ],
    ids=str,
)
def test_a_record_that_fits_passes(only: Filter) -> None:
    """Each condition, patterns, and all together."""
    assert passing([ONE], only.tests()) == [ONE]


@pytest.mark.parametrize(
    "only",
    [
        Filter(key="8"),
        Filter(headers=("target",)),
        Filter(headers=("source=web",)),
        Filter(types=("task.created",)),
        Filter(user="8"),
        Filter(correlation="c-2"),
        Filter(correlation="completed"),
        Filter(text="c-2"),
        Filter(paths=("$.data.nothing",)),
        Filter(paths=("$.data.task_id=4",)),
        Filter(key="7", text="nothing"),
    ],
    ids=str,
)
def test_a_record_that_does_not_fit_stays_out(only: Filter) -> None:
    """One condition that fails is enough, and garbage fits none."""
    assert passing([ONE, *GARBAGE], only.tests()) == []


def test_a_correlation_id_that_is_escaped_is_found() -> None:
    """JSON may write the same text in other ways."""
    one = message(b'{"data":{"correlation_id":"c\\u002d1"}}')
    assert passing([one], Filter(correlation="c-1").tests()) == [one]


@pytest.mark.parametrize(
    ("only", "said"),
    [
        (Filter(user="ann"), "--user: 'ann' is not a user's number"),
        (Filter(paths=("$.[",)), "--json: '\\$\\.\\[' is not a JSON path"),
    ],
)
def test_a_condition_that_is_none_is_refused(only: Filter, said: str) -> None:
    """The refusal names the option."""
    with pytest.raises(UsageError, match=said):
        only.tests()


def test_garbage_breaks_no_filter() -> None:
    """Whatever a value holds, a filter says yes or no."""
    only = Filter(headers=("a",), types=("x",), user="7", correlation="c-1", paths=("$.a=1",))
    seen: list[Any] = [one for test in only.tests() for one in passing(GARBAGE, [test])]
    assert seen == []
