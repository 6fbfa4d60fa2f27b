"""An SMTP server that does as it is told: it takes mails, refuses, stalls, or drops the connection at a chosen moment."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

DROP = "drop"
STALL = "stall"
TAKE_AND_DROP = "take and drop"


@dataclass
class SmtpServer:
    """`script` maps a moment to a reply, or to one of the words above; `once` does so for the next time only.

    Moments are greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, body (its middle), "." and RSET. With `tls` all is
    encrypted from the first byte, with `starttls` that is offered; `plain` has what was said without encryption.
    """

    script: dict[str, str] = field(default_factory=dict)
    once: dict[str, str] = field(default_factory=dict)
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    port: int = 0
    tls: ssl.SSLContext | None = None
    starttls: ssl.SSLContext | None = None
    log_ins: str = "PLAIN LOGIN"
    plain: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
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

    def forget(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for writer in self.writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            await self._reply(writer, "greeting", "220 scripted")
            while line := (await reader.readline()).decode().rstrip("\r\n"):
                self.commands.append(line)
                if writer.get_extra_info("sslcontext") is None:
                    self.plain.append(line)
                verb = line.split(" ")[0].upper()
                if verb == "QUIT":
                    break
                await self._command(verb, line, reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _command(self, verb: str, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offers_tls = self.starttls is not None and writer.get_extra_info("sslcontext") is None
        extensions = ["scripted", f"AUTH {self.log_ins}", *(["STARTTLS"] if offers_tls else []), "8BITMIME"]
        ehlo = "\r\n".join([*(f"250-{name}" for name in extensions[:-1]), f"250 {extensions[-1]}"])
        usual = {"EHLO": ehlo, "DATA": "354 go on", "AUTH": "235 in", "STARTTLS": "220 go on"}
        if verb == "AUTH" and "AUTH" not in self.script:
            await self._log_in(line, reader, writer)
        if not await self._reply(writer, verb, usual.get(verb, "250 ok")):
            return
        if verb == "STARTTLS" and self.starttls is not None:
            await writer.start_tls(self.starttls)
        elif verb == "DATA":
            await self._content(reader, writer)

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "body" in self.script:
            await reader.readexactly(10)
            await self._reply(writer, "body", "")
        content = await reader.readuntil(b"\r\n.\r\n")
        said = self.script.get(".", "250 taken")
        if said == TAKE_AND_DROP or said.startswith("250"):
            self.mails.append(content[:-3].replace(b"\r\n..", b"\r\n."))
        await self._reply(writer, ".", "250 taken")

    async def _log_in(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Ask for what the line does not have, and keep what was said."""
        said = line.split(" ")[2:]
        while len(said) < {"PLAIN": 1, "LOGIN": 2}[line.split(" ")[1]]:
            writer.write(b"334 " + b64encode(b"Password:") + b"\r\n")
            said.append((await reader.readline()).decode().strip())
        self.secrets += [b64decode(word).decode() for word in said]

    async def _reply(self, writer: asyncio.StreamWriter, moment: str, usual: str) -> bool:
        """Whether the usual reply was given."""
        self.seen[moment] += 1
        said = self.once.pop(moment, None) or self.script.get(moment, usual)
        if said in {DROP, TAKE_AND_DROP}:
            raise ConnectionResetError
        if said == STALL:
            self.stalled.set()
            await self.release.wait()
            raise ConnectionResetError
        writer.write(said.encode() + b"\r\n")
        await writer.drain()
        return said == usual
