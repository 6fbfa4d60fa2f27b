"""The mail for a reminder: HTML and text from templates, headers that no title can break out of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from todoctl.core.events import ReminderEvent
from todoctl.core.recurrence import zone

_LONGEST_SUBJECT = 150
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
    name, address = parseaddr(sender)
    detail = event.payload
    title = one_line(detail.title) or f"Task {event.task_id}"
    shown = {
        "title": title,
        "description": _UNFIT_IN_TEXT.sub("", detail.description.replace("\r\n", "\n").replace("\r", "\n")).strip(),
        "due": due_text(detail.due_date, to.zone),
        "link": link,
    }
    message = EmailMessage(policy=SMTP)
    # An encoded word in a title would be decoded where it is read, line breaks and all.
    message["Subject"] = f"Reminder: {title[:_LONGEST_SUBJECT]}".replace("=?", "= ?")
    message["From"] = Address(one_line(name), addr_spec=address)
    message["To"] = _address(to.email)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = message_id_of(event, sender_domain(sender))
    message["Auto-Submitted"] = "auto-generated"
    message["X-Todo-Task"] = str(event.task_id)
    message.set_content(_templates.get_template("reminder.txt").render(shown), cte="quoted-printable")
    html = _templates.get_template("reminder.html").render(shown)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return Mail(address, to.email, message["Message-ID"], message.as_bytes())


def one_line(text: str) -> str:
    """`text` as one line without control characters."""
    return _UNFIT.sub(" ", text).strip()


def due_text(due: datetime, zone_name: str) -> str:
    """The due date as people read it, in their own zone."""
    local = due.astimezone(zone(zone_name))
    return f"{local:%A}, {local.day} {local:%B %Y}, {local:%H:%M} ({zone_name})"
