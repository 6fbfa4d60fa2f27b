"""Edits by jq: exactly what was asked for, or a reason."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from todoctl.adapters.jq import editor
from todoctl.errors import UsageError


def test_an_edit_changes_what_it_says() -> None:
    """And nothing else; other text stays readable."""
    assert editor(".a |= . + 1")('{"a": 1, "b": "ü", "c": [1.5]}'.encode()) == '{"a":2,"b":"ü","c":[1.5]}'.encode()


@pytest.mark.parametrize("expression", [".", ".a = 1", "del(.x)"])
def test_an_edit_that_changes_nothing_keeps_the_bytes(expression: str) -> None:
    """Also where jq would write them another way."""
    value = b'{ "a" : 1.0 }'
    assert editor(expression)(value) == value


def test_a_number_that_jq_would_round_is_refused() -> None:
    """Its numbers are doubles; an id of 64 bits must not change because a title does."""
    with pytest.raises(ValueError, match="round"):
        editor(".t = 1")(json.dumps({"id": 2**63 - 1}).encode())


@pytest.mark.parametrize(
    ("expression", "value"),
    [(".a[]", b'{"a": [1, 2]}'), ("empty", b"{}"), (".", b"no json"), (".a.b", b'{"a": 1}'), (".", b"\xff")],
)
def test_what_gives_not_one_value_fails(expression: str, value: bytes) -> None:
    """With a ValueError, which skips the letter."""
    with pytest.raises(ValueError):  # noqa: PT011 - jq's own words
        editor(expression)(value)


def test_what_is_no_expression_is_refused_at_once() -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match="no jq expression"):
        editor(".a |")


def test_a_value_that_is_nested_too_deep_fails() -> None:
    """As any other that can't be edited: jq takes more levels than Python's parser."""
    with pytest.raises(ValueError, match="deep"):
        editor(".t = 1")(b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}")


def test_ctrl_c_ends_an_expression_that_loops() -> None:
    """Python hears no signal while jq runs."""
    program = "from todoctl.adapters.jq import editor; print('begun', flush=True); editor('def f: f; f')(b'{}')"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as looping:
        assert looping.stdout is not None
        looping.stdout.readline()
        try:
            # Between the line and jq it may be heard by Python, which ends it as well.
            looping.send_signal(signal.SIGINT)
            assert looping.wait(60) != 0
        finally:
            looping.kill()
