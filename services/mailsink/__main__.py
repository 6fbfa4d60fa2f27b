"""`python -m services.mailsink`: an SMTP server on loopback whose mails are files in MAIL_FOLDER, none is sent on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from itertools import count
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

_LARGEST = 1_000_000


class Keeper:
    """Writes each mail to a file of its own before it says that it has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Keep one mail."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        # The envelope's recipients, which a mail's own headers need not name.
        to = ", ".join(envelope.rcpt_tos).encode("ascii", "replace")
        name = f"{time.time_ns()}-{os.getpid()}-{next(self._numbers)}"
        keep(self._folder, name, b"X-Envelope-To: " + to + b"\r\n" + content)
        return f"250 2.0.0 kept as {name}"


def keep(folder: Path, name: str, content: bytes) -> Path:
    """The file with the mail, whole and on the disk."""
    draft, path = folder / f".{name}.new", folder / f"{name}.eml"
    with draft.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return draft.rename(path)


async def serve(host: str, port: int, folder: Path, stop: asyncio.Event) -> None:
    """Take mails until `stop` is set."""
    keeper = Keeper(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, data_size_limit=_LARGEST, hostname="mailsink", ident="todo mailsink", loop=loop),
        host,
        port,
    )
    async with server:
        sys.stdout.write(f"takes mails on {host}:{port}, keeps them in {folder}\n")
        await stop.wait()


async def main(folder: Path) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"]), folder, stop)


if __name__ == "__main__":
    mails = Path(os.environ["MAIL_FOLDER"])
    mails.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(mails))
