"""A mail's bytes: headers and two bodies in the one form that all our mails have.

The standard library's EmailMessage takes ten times as long, most of it for headers that need no encoding. It still
does those that do, and the tests hold every mail against what it would have written.
"""

from __future__ import annotations

import re
from binascii import b2a_qp
from collections.abc import Sequence
from email.policy import SMTP
from typing import Any

# Neither folded nor encoded: RFC 5322's printable characters, and no more than fit on a line.
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_LONGEST_LINE = 78
# "=_" can't come up in quoted-printable text (RFC 2045, section 6.7).
_BOUNDARY = "=_reminder"


def header(name: str, value: Any) -> bytes:
    """One header as it stands in a mail; `value` is text, or an address of the standard library."""
    fits = isinstance(value, str) and len(name) + 2 + len(value) <= _LONGEST_LINE
    # An encoded word would be decoded where it is read.
    if fits and "=?" not in value and _PLAIN.fullmatch(value):
        return f"{name}: {value}\r\n".encode("ascii")
    folded: str = SMTP.header_factory(name, value).fold(policy=SMTP)
    return folded.encode("ascii")


def alternatives(headers: Sequence[bytes], *, text: str, html: str) -> bytes:
    """A mail that says the same as text and as HTML."""
    parts = (_part("plain", text), _part("html", html))
    opening = f'MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="{_BOUNDARY}"\r\n\r\n'.encode()
    delimiter = f"--{_BOUNDARY}\r\n".encode()
    return b"".join((*headers, opening, *(delimiter + part for part in parts), f"--{_BOUNDARY}--\r\n".encode()))


def _part(kind: str, text: str) -> bytes:
    lines = text.replace("\n", "\r\n").encode()
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode() + b2a_qp(lines) + b"\r\n"
