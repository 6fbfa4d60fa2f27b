"""The mail for a reminder: HTML and text from templates, headers that no title can break out of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.utils import format_datetime, parseaddr
from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from services.notification.mime import alternatives, header
from todoctl.core.events import ReminderEvent
from todoctl.core.recurrence import zone

_LONGEST_SUBJECT = 150
# RFC 5321, section 4.5.3.1.
_LONGEST_ADDRESS = 254
_ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_SIMPLE_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*")
# Controls, line and paragraph separators, bidirectional controls, half surrogate pairs: nothing that a header may hold.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
_UNFIT_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_templates = Environment(
    loader=PackageLoader("services.notification"),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Compiled once: looked up by name, the loader would look at the file for each mail.
_TEXT, _HTML = _templates.get_template("reminder.txt"), _templates.get_template("reminder.html")


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a reminder is for, and where they are."""

    email: str
    zone: str


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail ready to be handed over."""

    sender: str
    recipient: str
    message_id: str
    content: bytes


def message_id_of(event: ReminderEvent, domain: str) -> str:
    """The Message-ID of a reminder's mail: the same however often it is tried."""
    return f"<reminder-{event.payload.reminder_id}-{moment_of(event)}@{domain}>"


def moment_of(event: ReminderEvent) -> int:
    """When the reminder was due, in microseconds: with the reminder's id it names one mail."""
    return round(event.payload.trigger_at.timestamp() * 1_000_000)


@lru_cache(maxsize=8)
def sender_domain(sender: str) -> str:
    """The domain that our mails come from; ValueError where `sender` is no address."""
    return _address(parseaddr(sender)[1]).domain


def _address(text: str) -> Address:
    try:
        found = Address(addr_spec=text)
    except IndexError as error:
        # The standard library's parser runs off the end of some.
        raise ValueError(f"not an address: {text[:64]!r}") from error
    if not found.username or not found.domain:
        raise ValueError(f"not an address: {text[:64]!r}")
    return found


def compose(event: ReminderEvent, to: Recipient, *, sender: str, link: str, now: datetime) -> Mail:
    """The mail for a reminder.

    Raises:
        ValueError: the address or the zone is none.
    """
    detail = event.payload
    title = one_line(detail.title) or f"Task {event.task_id}"
    shown = {
        "title": title,
        "description": _UNFIT_IN_TEXT.sub("", detail.description.replace("\r\n", "\n").replace("\r", "\n")).strip(),
        "due": due_text(detail.due_date, to.zone),
        "link": link,
    }
    # An encoded word in a title would be decoded where it is read, line breaks and all.
    subject = f"Reminder: {title[:_LONGEST_SUBJECT]}".replace("=?", "= ?")
    message_id = message_id_of(event, sender_domain(sender))
    sender_address, from_header = _sender(sender)
    headers = (
        header("Subject", subject),
        from_header,
        header("To", to.email if _is_simple(to.email) else _address(to.email)),
        header("Date", format_datetime(now)),
        header("Message-ID", message_id),
        header("Auto-Submitted", "auto-generated"),
        header("X-Todo-Task", str(event.task_id)),
    )
    content = alternatives(headers, text=_TEXT.render(shown), html=_HTML.render(shown))
    return Mail(sender_address, to.email, message_id, content)


@lru_cache(maxsize=8)
def _sender(sender: str) -> tuple[str, bytes]:
    """The address that our mails come from, and their From header."""
    name, address = parseaddr(sender)
    return address, header("From", Address(one_line(name), addr_spec=address))


def _is_simple(address: str) -> bool:
    """Whether the address is a dot-atom on each side, which needs no parser and no quotes; all of auth's are."""
    return len(address) <= _LONGEST_ADDRESS and _SIMPLE_ADDRESS.fullmatch(address) is not None


def one_line(text: str) -> str:
    """`text` as one line without control characters."""
    return _UNFIT.sub(" ", text).strip()


def due_text(due: datetime, zone_name: str) -> str:
    """The due date as people read it, in their own zone."""
    local = due.astimezone(zone(zone_name))
    return f"{local:%A}, {local.day} {local:%B %Y}, {local:%H:%M} ({zone_name})"
