"""Which records a person wants to see: by key, header, type, user, correlation, JSON path or text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from todoctl.adapters.kafka import columns
from todoctl.errors import UsageError

Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Filter:
    """Every condition that is given must hold; texts with * and ? are patterns."""

    key: str | None = None
    headers: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    user: str | None = None
    correlation: str | None = None
    paths: tuple[str, ...] = ()
    text: str | None = None

    def tests(self) -> tuple[Test, ...]:
        """The conditions over librdkafka's messages, the cheap ones first.

        Raises:
            UsageError: a condition can't be understood.
        """
        found: list[Test] = []
        if self.key is not None:
            found.append(_key(self.key))
        found += [_header(text) for text in self.headers]
        if self.text is not None:
            found.append(_text(self.text))
        if self.correlation is not None:
            found.append(_field("correlation_id", self.correlation, may_be_in_envelope=True))
        if self.types:
            found.append(_type(self.types))
        if self.user is not None:
            found.append(_user(self.user))
        found += [_path(text) for text in self.paths]
        return tuple(found)


def passing(batch: list[Any], tests: Sequence[Test]) -> list[Any]:
    """The messages that pass every test."""
    for test in tests:
        batch = [message for message in batch if test(message)]
    return batch


def document(message: Any) -> Any:
    """The value as JSON; None where it is none."""
    import msgspec

    value = message.value()
    try:
        return msgspec.json.decode(value) if value else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def event_field(found: Any, name: str) -> Any:
    """A field of an event's data; None where there is none."""
    data = found.get("data") if isinstance(found, dict) else None
    return data.get(name) if isinstance(data, dict) else None


def _key(wanted: str) -> Test:
    matches = _pattern(wanted)
    return lambda message: matches((message.key() or b"").decode(errors="replace")) and message.key() is not None


def _header(text: str) -> Test:
    name, equals, wanted = text.partition("=")
    matches = _pattern(wanted) if equals else None

    def test(message: Any) -> bool:
        values = [value for key, value in columns.headers_of(message) if key == name]
        return any(matches is None or matches((value or b"").decode(errors="replace")) for value in values)

    return test


def _text(wanted: str) -> Test:
    # What was typed and is no UTF-8 is looked for as it was typed.
    needle = wanted.encode(errors="surrogateescape")
    return lambda message: needle in (message.value() or b"")


def _type(wanted: Sequence[str]) -> Test:
    patterns = [_pattern(text) for text in wanted]

    def test(message: Any) -> bool:
        found = document(message)
        kinds = [found.get("type") if isinstance(found, dict) else None, event_field(found, "event_type")]
        return any(matches(kind) for matches in patterns for kind in kinds if isinstance(kind, str))

    return test


def _user(wanted: str) -> Test:
    """The user of an event is its key, too; a dead letter keeps both."""
    if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19):
        raise UsageError(f"--user: {wanted!r} is not a user's number", hint="todoctl topics tail --help")
    number, key = int(wanted), wanted.encode()
    return lambda message: message.key() == key or event_field(document(message), "user_id") == number


def _field(name: str, wanted: str, *, may_be_in_envelope: bool) -> Test:
    needle = wanted.encode(errors="surrogateescape")

    def test(message: Any) -> bool:
        value = message.value()
        # Most records are passed over without being parsed; an escape could hide the text.
        if not value or (needle not in value and b"\\" not in value):
            return False
        found = document(message)
        inside = event_field(found, name)
        outside = found.get(name.replace("_", "")) if may_be_in_envelope and isinstance(found, dict) else None
        return wanted in {inside, outside} if isinstance(inside, str | None) else False

    return test


def _path(text: str) -> Test:
    """`PATH`, which must find something that is not null or false, or `PATH=TEXT`, whose finding must match."""
    import jsonpath

    path, wanted = _parts(text)
    try:
        compiled = jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        reason = str(error).splitlines()[0]
        raise UsageError(
            f"--json: {path!r} is not a JSON path: {reason}", hint="todoctl topics tail TOPIC --json '$.data.task_id=7'"
        ) from error
    matches = _pattern(wanted) if wanted is not None else None

    def test(message: Any) -> bool:
        found = document(message)
        if not isinstance(found, dict | list):
            return False
        values = compiled.findall(found)
        if matches is None:
            return any(value is not None and value is not False for value in values)
        return any(matches(_shown(value)) for value in values)

    return test


def _parts(text: str) -> tuple[str, str | None]:
    """The path, and what is behind the first = outside of brackets."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character in "[(") - (character in ")]")
        if character == "=" and depth == 0:
            return _rooted(text[:at]), text[at + 1 :]
    return _rooted(text), None


def _rooted(path: str) -> str:
    path = path.strip()
    if path.startswith("$"):
        return path
    return f"${path}" if path.startswith((".", "[")) else f"$.{path}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    import msgspec

    return msgspec.json.encode(value).decode()


def _pattern(text: str) -> Callable[[str], bool]:
    """Equality; with * or ? a pattern."""
    if not any(character in text for character in "*?"):
        return lambda value: value == text
    compiled = re.compile(translate(text), re.DOTALL)
    return lambda value: compiled.match(value) is not None
