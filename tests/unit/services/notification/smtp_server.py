"""An SMTP server that does as it is told: it takes mails, refuses, stalls, or drops the connection at a chosen moment."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

DROP = "drop"
STALL = "stall"
TAKE_AND_DROP = "take and drop"


@dataclass
class SmtpServer:
    """`script` maps a moment (greeting, EHLO, AUTH, MAIL, RCPT, DATA, ".") to a reply, or to one of the words above."""

    script: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    port: int = 0
    tls: ssl.SSLContext | None = None
    stalled: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SmtpServer]:
        """The server, listening."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**22, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.release.set()
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._reply(writer, "greeting", "220 scripted")
            while line := (await reader.readline()).decode().rstrip("\r\n"):
                self.commands.append(line)
                verb = line.split(" ")[0].upper()
                if verb == "QUIT":
                    break
                await self._command(verb, reader, writer)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _command(self, verb: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        usual = {"EHLO": "250-scripted\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME", "DATA": "354 go on", "AUTH": "235 in"}
        if not await self._reply(writer, verb, usual.get(verb, "250 ok")):
            return
        if verb == "DATA":
            content = await reader.readuntil(b"\r\n.\r\n")
            said = self.script.get(".", "250 taken")
            if said == TAKE_AND_DROP or said.startswith("250"):
                self.mails.append(content[:-3].replace(b"\r\n..", b"\r\n."))
            await self._reply(writer, ".", "250 taken")

    async def _reply(self, writer: asyncio.StreamWriter, moment: str, usual: str) -> bool:
        """Whether the usual reply was given."""
        self.seen[moment] += 1
        said = self.script.get(moment, usual)
        if said in {DROP, TAKE_AND_DROP}:
            raise ConnectionResetError
        if said == STALL:
            self.stalled.set()
            await self.release.wait()
            raise ConnectionResetError
        writer.write(said.encode() + b"\r\n")
        await writer.drain()
        return said == usual
