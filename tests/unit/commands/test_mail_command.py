"""`todoctl mail` as a process: what it lists and shows, and that no mail can steer the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program import Program


@pytest.fixture
def folder(todoctl: Program) -> Path:
    """The folder of the sink, in a home that was up once."""
    (todoctl.home / "local" / "data" / "mails").mkdir(parents=True)
    (todoctl.home / "local" / "state.json").write_text("{}")
    return todoctl.home / "local" / "data" / "mails"


def keep(
    folder: Path, number: int, *, to: str = "ada@example.com", subject: str = "Reminder: Milk", text: str = "Milk"
) -> None:
    """A kept mail."""
    head = (
        f"X-Envelope-To: {to}\r\nFrom: todo@localhost\r\nSubject: {subject}\r\nMessage-ID: <m-{number}@localhost>\r\n"
    )
    content = f"{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    (folder / f"{1795480012086804719 + number}-1-{number}.eml").write_bytes(content.encode())


def test_mails_are_listed_and_shown(todoctl: Program, folder: Path) -> None:
    """By number or Message-ID, the newest by default; filtered by address."""
    keep(folder, 1)
    keep(folder, 2, to="bob@example.com", subject="Reminder: Bread", text="Bread")
    listed = todoctl.inside("mail", "list", "-o", "json").json()
    assert [(mail["number"], mail["to"], mail["subject"]) for mail in listed] == [
        (1, "ada@example.com", "Reminder: Milk"),
        (2, "bob@example.com", "Reminder: Bread"),
    ]
    assert [mail["number"] for mail in todoctl.inside("mail", "list", "--to", "bob@", "-o", "json").json()] == [2]
    assert todoctl.inside("mail", "show", "-o", "json").json()["text"].strip() == "Bread"
    for name in ("1", "<m-1@localhost>", "m-1@localhost"):
        assert todoctl.inside("mail", "show", name, "-o", "json").json()["text"].strip() == "Milk"


def test_nothing_in_a_mail_steers_the_terminal(todoctl: Program, folder: Path) -> None:
    """Escape sequences in headers and text are made visible."""
    keep(folder, 1, subject="Reminder: \x1b]52;c;x\x07 \x1b[2J", text="\x1b[31mred\x1b[0m\n\u202egnp")
    for arguments in (("list",), ("show",), ("list", "-o", "json"), ("show", "-o", "yaml"), ("show", "-o", "jsonl")):
        ended = todoctl.inside("mail", *arguments)
        assert ended.code == 0
        assert not {"\x1b", "\x07", "\u202e"} & set(ended.out)


def test_a_mail_opened_as_a_page_can_load_and_run_nothing(todoctl: Program, folder: Path) -> None:
    """The page begins with a policy, for anybody on this machine can send the sink a mail."""
    keep(folder, 1, text="<script>alert(1)</script>")
    path = Path(todoctl.inside("mail", "open", "-o", "json").json()["path"])
    page = path.read_text()
    assert page.index("default-src 'none'") < page.index("<script>")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["show"], 2, "no mail was kept yet\n  next: todoctl smoke"),
        (["show", "7"], 2, "no mail was kept yet"),
        (["list", "--limit", "0"], 2, "--limit"),
    ],
)
def test_what_is_not_there_is_said(todoctl: Program, folder: Path, arguments: list[str], code: int, said: str) -> None:
    """Exit 2 and the next command."""
    ended = todoctl.inside("mail", *arguments)
    assert (ended.code, said in ended.err) == (code, True), ended


def test_elsewhere_there_is_no_sink(todoctl: Program) -> None:
    """Exit 3 where nothing was ever up, 8 in an environment that is not this machine."""
    assert todoctl.inside("mail", "list").code == 3
    assert todoctl.inside("-e", "cloud", "mail", "list").code == 8
