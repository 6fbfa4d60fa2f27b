"""`todoctl topics produce`."""

from __future__ import annotations

import getpass
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from todoctl import screen
from todoctl.adapters.kafka.producer import LARGEST_RECORD
from todoctl.commands import context
from todoctl.core.positions import is_topic_name
from todoctl.errors import UsageError
from todoctl.operations.kafka import produce as operation
from todoctl.screen import Output

_IN_MEMORY = 16 * 2**20  # bytes of stdin that are kept without a file


def produce(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic to append to.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files to read; - or none is stdin.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Append anything, unchecked.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Each file is one record, not each line.")] = False,
    tombstone: Annotated[
        bool, typer.Option("--tombstone", help="Append one record without a value; needs --raw and --key.")
    ] = False,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="The key; by default the event's user.")] = None,
    header: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A header to add.")] = None,
    partition: Annotated[
        int | None, typer.Option("-p", "--partition", metavar="N", min=0, help="This partition; by default by the key.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the input against the schema.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
) -> None:
    """Append records, each checked against the topic's event schema and marked as made by an operator.

    Each line of the input is one event: its CloudEvents envelope, or its data alone. Everything is checked before
    anything is appended. The header todoctl-operator says who did it.
    """
    if not is_topic_name(topic):
        raise UsageError(f"{topic!r} is not a name that a topic can have", hint="todoctl topics list")
    if tombstone and (files or not raw or key is None):
        raise UsageError("--tombstone is one record: it needs --raw and --key and takes no input")
    wanted = operation.Wanted(
        topic=topic,
        operator=f"{getpass.getuser()}@{socket.gethostname()}",
        key=None if key is None else os.fsencode(key),
        headers=tuple(_header(text) for text in header or ()),
        partition=partition,
        is_raw=raw,
    )
    broker = None if check else context.broker(ctx)
    with _spooled(files or [Path("-")] if not tombstone else []) as inputs:
        count = sum(1 for _ in operation.drafts(_values(inputs, whole=whole, tombstone=tombstone), wanted))
        if broker is None:
            screen.ok(f"{count} records fit {topic}")
            return
        drafts = operation.drafts(_values(inputs, whole=whole, tombstone=tombstone), wanted)
        rows = [asdict(one) | {"key": _text(one.key)} for one in operation.append(broker, topic, drafts)]
    columns = ("TOPIC", "PARTITION", "OFFSET", "KEY")
    screen.show(rows, output, lambda: screen.table(columns, [tuple(row.values()) for row in rows]))
    screen.ok(f"{len(rows)} records appended to {topic}")


@contextmanager
def _spooled(files: list[Path]) -> Iterator[list[tuple[str, IO[bytes]]]]:
    """Inputs that can be read twice: stdin and pipes are kept in memory, or in a file where they are large."""
    with ExitStack() as stack:
        yield [
            (
                ("stdin", stack.enter_context(_stdin()))
                if str(path) == "-"
                else (str(path), stack.enter_context(_open(path)))
            )
            for path in files
        ]


def _stdin() -> IO[bytes]:
    return _kept(None if sys.stdin is None else sys.stdin.buffer)


def _open(path: Path) -> IO[bytes]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    if stream.seekable():
        return stream
    with stream:
        # A pipe, such as bash's <(…).
        return _kept(stream)


def _kept(source: IO[bytes] | None) -> IO[bytes]:
    kept: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - the caller closes it
    while source is not None and (chunk := source.read(2**20)):
        kept.write(chunk)
    stream: IO[bytes] = kept
    return stream


def _values(inputs: list[tuple[str, IO[bytes]]], *, whole: bool, tombstone: bool) -> Iterator[tuple[str, bytes | None]]:
    """Each record's place in the input and its bytes; empty lines are none."""
    if tombstone:
        yield "tombstone", None
    for name, stream in inputs:
        stream.seek(0)
        if whole:
            yield name, _short(stream.read(LARGEST_RECORD + 1), name)
            continue
        for number, line in enumerate(_lines(stream), 1):
            _short(line, f"{name} line {number}")
            if value := line.removesuffix(b"\n").removesuffix(b"\r"):
                yield f"{name} line {number}", value


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Each line with its end; of one that is too long the beginning: a dump without ends of line would be the whole memory."""
    while line := stream.readline(LARGEST_RECORD + 1):
        yield line


def _short(value: bytes, place: str) -> bytes:
    if len(value) > LARGEST_RECORD:
        raise UsageError(f"{place}: it is longer than {LARGEST_RECORD} bytes, which no topic takes")
    return value


def _header(text: str) -> tuple[str, bytes]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--header: {text!r} is not NAME=VALUE")
    return name, os.fsencode(value)


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode(errors="backslashreplace")
