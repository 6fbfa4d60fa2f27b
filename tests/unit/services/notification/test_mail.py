"""The mail itself: what it says, and that nothing a user wrote can become a header, a recipient or markup."""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notification.mail import Recipient, compose, due_text, one_line
from tests.unit.services.records import MOMENT, event
from todoctl.core.events import ReminderDetail, ReminderEvent

ADA = Recipient("ada@example.com", "Europe/Berlin")


def composed(to: Recipient = ADA, **detail: Any) -> EmailMessage:
    """The mail about a reminder, as its reader's program parses it."""
    payload = ReminderDetail(**{"reminder_id": 9, "trigger_at": MOMENT, "due_date": MOMENT, "title": "Milk"} | detail)
    due = event("reminders", payload=payload)
    assert isinstance(due, ReminderEvent)
    mail = compose(due, to, sender="Todo <todo@todo.example>", link="http://todo.example/?task=41", now=MOMENT)
    assert mail.recipient == to.email
    return message_from_bytes(mail.content, policy=default)


def body(mail: EmailMessage, kind: str) -> str:
    """The text of one of its two bodies."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_it_says_what_is_due_when_and_where() -> None:
    """Title, due date in the user's own zone, description and link, as text and as HTML."""
    mail = composed(title="Water “plants” \U0001f331", description="two\nlines")
    assert mail["Subject"] == "Reminder: Water “plants” \U0001f331"
    assert (mail["From"], mail["To"]) == ("Todo <todo@todo.example>", "ada@example.com")
    assert mail["Auto-Submitted"] == "auto-generated"
    for kind in ("plain", "html"):
        text = body(mail, kind)
        for said in (
            "Water “plants” \U0001f331",
            "Thursday, 31 January 2030, 10:00 (Europe/Berlin)",
            "two\nlines",
            "?task=41",
        ):
            assert said in text


def test_the_due_date_is_told_in_the_users_zone() -> None:
    """Across the date line it is another day."""
    assert due_text(MOMENT, "Pacific/Kiritimati") == "Thursday, 31 January 2030, 23:00 (Pacific/Kiritimati)"
    assert due_text(MOMENT, "Pacific/Honolulu") == "Wednesday, 30 January 2030, 23:00 (Pacific/Honolulu)"


HOSTILE = (
    "Milk\r\nBcc: eve@example.com",
    "Milk\nBcc: eve@example.com\n\nbody",
    "Milk\r\n\r\n<script>alert(1)</script>",
    "Milk\x0b\x0c\x1c\x85\u2028Bcc: eve@example.com",
    "=?utf-8?q?=0D=0ABcc=3A_eve=40example=2Ecom?=",
    "\u202etxt.exe",
    "a" * 200,
    "\U0001f331" * 200,
    "\x00\x1b]52;c;x\x07",
)


@pytest.mark.parametrize("title", HOSTILE)
def test_a_title_stays_a_title(title: str) -> None:
    """One recipient, the headers that we set and no other, whatever the title says."""
    mail = composed(title=title, description=title)
    wanted = {
        "Subject",
        "From",
        "To",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "X-Todo-Task",
        "MIME-Version",
        "Content-Type",
    }
    assert set(mail.keys()) == wanted
    assert [address.addr_spec for address in mail["To"].addresses] == ["ada@example.com"]
    assert not set("\r\n\x00\x1b\u202e\u2028") & set(str(mail["Subject"]))
    assert "<script>" not in body(mail, "html")


@settings(deadline=None)
@given(title=st.text(max_size=200), description=st.text(max_size=500))
def test_any_text_gives_a_sound_mail(title: str, description: str) -> None:
    """Generated titles too: the same headers, one recipient, nothing but ASCII on the wire."""
    mail = composed(title=title, description=description)
    assert [address.addr_spec for address in mail["To"].addresses] == ["ada@example.com"]
    assert mail["Message-ID"] == "<reminder-9-1896080400000000@todo.example>"
    assert mail.get_body(("plain",)) is not None
    mail.as_bytes().decode("ascii")


@settings(deadline=None, max_examples=30)
@given(title=st.text(max_size=200), description=st.text(max_size=300))
def test_a_mail_is_what_the_standard_library_would_have_written(title: str, description: str) -> None:
    """Header by header and body by body, as it is read."""
    sender = "Tödö <todo@todo.example>"
    payload = ReminderDetail(reminder_id=9, trigger_at=MOMENT, due_date=MOMENT, title=title, description=description)
    due = event("reminders", payload=payload)
    assert isinstance(due, ReminderEvent)
    mail = message_from_bytes(compose(due, ADA, sender=sender, link="", now=MOMENT).content, policy=default)
    wanted = EmailMessage(policy=SMTP)
    for key, value in mail.items():
        if not key.startswith("Content-") and key != "MIME-Version":
            wanted[key] = str(value)
    wanted.set_content(mail.get_body(("plain",)).get_content(), cte="quoted-printable")  # type: ignore[union-attr]
    wanted.add_alternative(mail.get_body(("html",)).get_content(), subtype="html", cte="quoted-printable")  # type: ignore[union-attr]
    read = message_from_bytes(wanted.as_bytes(), policy=default)
    assert {key: str(read[key]) for key in read if key != "Content-Type"} == {
        key: str(mail[key]) for key in mail if key != "Content-Type"
    }
    assert mail.get_content_type() == read.get_content_type()
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert body(mail, "plain").startswith(f"Reminder: {one_line(title) or 'Task 41'}")
    assert all(len(line) <= 998 for line in mail.as_bytes().splitlines())


def test_markup_is_text() -> None:
    """HTML in a title or description is shown, not obeyed."""
    mail = composed(title='<img src=x onerror="alert(1)">', description="</p><script>alert(1)</script>")
    text = body(mail, "html")
    assert "<img" not in text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert '<img src=x onerror="alert(1)">' in body(mail, "plain")


@pytest.mark.parametrize(
    "to",
    [
        Recipient("ada@example.com, eve@example.com", "UTC"),
        Recipient("ada@example.com\r\nBcc: eve@example.com", "UTC"),
        Recipient("", "UTC"),
        Recipient("ada", "UTC"),
        Recipient("ada@example.com", "Mars/Olympus"),
    ],
)
def test_an_address_or_zone_that_is_none_is_refused(to: Recipient) -> None:
    """No mail is written to what is not exactly one address."""
    with pytest.raises(ValueError, match=r".+"):
        composed(to)
