"""Edits of JSON by a jq expression; the only importer of the `jq` library."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from todoctl.errors import MissingError, UsageError


def editor(expression: str) -> Callable[[bytes], bytes]:
    """What gives a JSON text's bytes as the expression makes them; unchanged content keeps its bytes.

    The editor raises ValueError where a value is no JSON, the expression doesn't give exactly one value, or jq would
    round a number that was none of its business: its numbers are doubles.

    Raises:
        UsageError: the expression is none. MissingError: the library is not installed.
    """
    try:
        library = import_module("jq")
    except ImportError as error:
        raise MissingError("--jq needs the library jq", hint="pip install 'todoctl[kafka]'") from error
    try:
        program, identity = library.compile(expression), library.compile(".")
    except ValueError as error:
        raise UsageError(f"--jq: {expression!r} is no jq expression: {error}") from error

    def edit(value: bytes) -> bytes:
        with _ended_by_ctrl_c():
            try:
                return edited(value.decode())
            except RecursionError as error:
                raise ValueError("it is nested too deep") from error

    def edited(before: str) -> bytes:
        if _parsed(identity, before) != [json.loads(before)]:
            raise ValueError("jq would round a number of it")
        results = _parsed(program, before)
        if len(results) != 1:
            raise ValueError(f"the expression gives {len(results)} values, not one")
        if results[0] == json.loads(before):
            return before.encode()
        return json.dumps(results[0], ensure_ascii=False, separators=(",", ":")).encode()

    return edit


@contextmanager
def _ended_by_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process at once: an expression may loop for ever, and Python hears nothing while jq runs."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _parsed(program: Any, text: str) -> list[Any]:
    return [json.loads(line) for line in program.input_text(text).text().splitlines()]
