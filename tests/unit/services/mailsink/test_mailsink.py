"""The sink: what it says it has is on the disk, whole, and todoctl reads it back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from services.mailsink.__main__ import serve
from todoctl.adapters import mails


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """A running sink."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    stop = asyncio.Event()
    running = asyncio.create_task(serve("127.0.0.1", number, tmp_path, stop))
    async with asyncio.timeout(5):
        while not await _accepts(number):  # noqa: ASYNC110 - a listener tells nobody that it listens
            await asyncio.sleep(0.01)
    yield number
    stop.set()
    await running


async def _accepts(number: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", number)
    except OSError:
        return False
    writer.close()
    return True


def message(subject: str = "Reminder: Milk") -> EmailMessage:
    """A mail."""
    made = EmailMessage()
    made["Subject"], made["From"], made["To"] = subject, "Todo <todo@localhost>", "ada@example.com"
    made["Message-ID"], made["X-Todo-Task"] = "<reminder-1-2@localhost>", "41"
    made.set_content(".leading dot\nplants \U0001f331\n")
    made.add_alternative("<p>plants</p>", subtype="html")
    return made


def names(folder: Path) -> list[str]:
    """The kinds of the files in a folder."""
    return [path.suffix for path in folder.iterdir()]


async def send(port: int, made: EmailMessage, *to: str) -> None:
    """Hand a mail to the sink, as any program would."""
    await aiosmtplib.send(
        made, sender="todo@localhost", recipients=list(to), hostname="127.0.0.1", port=port, start_tls=False
    )


async def test_a_mail_is_kept_as_it_came(port: int, tmp_path: Path) -> None:
    """Envelope and content are read back; nothing is left half-written."""
    await send(port, message("Reminder: Milk “fresh”"), "ada@example.com")
    [mail] = mails.read(tmp_path)
    assert (mail.number, mail.to, mail.task_id, mail.message_id) == (
        1,
        "ada@example.com",
        41,
        "<reminder-1-2@localhost>",
    )
    assert (mail.sender, mail.subject) == ("Todo <todo@localhost>", "Reminder: Milk “fresh”")
    assert mail.text.splitlines() == [".leading dot", "plants \U0001f331"]
    assert mail.html.strip() == "<p>plants</p>"
    assert names(tmp_path) == [".eml"]


async def test_mails_are_listed_in_the_order_they_came(port: int, tmp_path: Path) -> None:
    """Many at once are all kept."""
    await asyncio.gather(*(send(port, message(f"mail {number}"), "ada@example.com") for number in range(50)))
    kept = mails.read(tmp_path)
    assert len(kept) == 50
    assert [mail.number for mail in kept] == list(range(1, 51))
    assert [mail.kept_at for mail in kept] == sorted(mail.kept_at for mail in kept)
    assert mails.read(tmp_path, since=kept[-1].kept_at)[-1].number == 50


async def test_a_mail_that_is_too_large_is_refused(port: int, tmp_path: Path) -> None:
    """For good, in the answer to DATA, and nothing is kept."""
    big = message()
    big.add_attachment(b"x" * 2_000_000, maintype="application", subtype="octet-stream")
    with pytest.raises(aiosmtplib.SMTPResponseException) as caught:
        await send(port, big, "ada@example.com")
    assert caught.value.code == 552
    assert mails.read(tmp_path) == []


def test_files_that_are_no_mails_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    """Whatever anybody sent: a list, no traceback."""
    for number, content in enumerate(
        (b"", b"\xff\xfe\x00", b"To: <<>>,,\r\nSubject: =?x?q?=\r\n\r\n", b"X-Todo-Task: \xb2\r\n\r\n")
    ):
        (tmp_path / f"{number}-1-0.eml").write_bytes(content)
    (tmp_path / "odd.eml").write_bytes(b"Content-Type: text/plain; charset=nowhere\r\n\r\n\xff")
    assert len(mails.read(tmp_path)) == 5
    assert mails.read(tmp_path / "absent") == []
