"""The mails that the local sink keeps, one file each, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

_LARGEST = 2_000_000  # bytes; the sink takes no larger mail


@dataclass(frozen=True)
class Mail:
    """One kept mail; `number` counts from the oldest one, beginning with 1."""

    number: int
    kept_at: datetime
    to: str
    sender: str
    subject: str
    message_id: str
    task_id: int | None
    text: str
    html: str
    path: Path

    @property
    def summary(self) -> dict[str, object]:
        """What a list shows of it."""
        return {
            "number": self.number,
            "kept_at": self.kept_at.isoformat(),
            "to": self.to,
            "subject": self.subject,
            "message_id": self.message_id,
            "task_id": self.task_id,
        }


def read(folder: Path, *, since: datetime | None = None) -> list[Mail]:
    """All kept mails, or those kept since a moment; the oldest first."""
    files = sorted(folder.glob("*.eml"), key=lambda path: (_nanoseconds(path), path.name)) if folder.is_dir() else []
    wanted = [(number, path) for number, path in enumerate(files, start=1) if since is None or _kept_at(path) >= since]
    return [_mail(number, path) for number, path in wanted]


def _mail(number: int, path: Path) -> Mail:
    with path.open("rb") as stream:
        message = message_from_bytes(stream.read(_LARGEST), policy=default)
    task = _header(message, "X-Todo-Task")
    return Mail(
        number=number,
        kept_at=_kept_at(path),
        to=_header(message, "X-Envelope-To"),
        sender=_header(message, "From"),
        subject=_header(message, "Subject"),
        message_id=_header(message, "Message-ID"),
        task_id=int(task) if task.isascii() and task.isdigit() else None,
        text=_body(message, "plain"),
        html=_body(message, "html"),
        path=path,
    )


def _kept_at(path: Path) -> datetime:
    return datetime.fromtimestamp(_nanoseconds(path) / 1e9, UTC)


def _nanoseconds(path: Path) -> int:
    first = path.name.partition("-")[0]
    return int(first) if first.isascii() and first.isdigit() else 0


def _header(message: EmailMessage, name: str) -> str:
    try:
        return str(message.get(name, ""))
    except (ValueError, IndexError, AttributeError, TypeError):
        # Anybody may send the sink anything, and the parser of headers trips over some of it.
        return ""


def _body(message: EmailMessage, subtype: str) -> str:
    try:
        part = message.get_body((subtype,))
        return "" if part is None else str(part.get_content())
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""
