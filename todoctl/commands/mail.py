"""`todoctl mail`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from todoctl import screen
from todoctl.adapters import mails
from todoctl.commands import context
from todoctl.errors import UsageError
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
_MAIL = Annotated[
    str | None, typer.Argument(metavar="MAIL", help="A number from the list, or a Message-ID; the newest by default.")
]

# Anybody on this machine can send the sink a mail: it may show text, and do and load nothing.
_POLICY = (
    '<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
)


@app.callback()
def root() -> None:
    """List, show and open the mails that the sink keeps."""


@app.command("list")
def list_mails(
    ctx: typer.Context,
    output: _OUTPUT = Output.table,
    to: Annotated[str | None, typer.Option("--to", metavar="ADDRESS", help="Only mails to this address.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most the newest N.")] = 50,
) -> None:
    """List the kept mails, the oldest first."""
    found = [mail for mail in context.platform(ctx).mails() if to is None or to.lower() in mail.to.lower()][-limit:]
    rows = [
        (mail.number, f"{mail.kept_at:%Y-%m-%d %H:%M:%S}", mail.to, mail.subject, mail.message_id) for mail in found
    ]
    columns = ("NUMBER", "KEPT AT", "TO", "SUBJECT", "MESSAGE ID")
    screen.show([mail.summary for mail in found], output, lambda: screen.table(columns, rows))


@app.command()
def show(ctx: typer.Context, mail: _MAIL = None, output: _OUTPUT = Output.table) -> None:
    """Show one mail: headers and text; -o json has the HTML too."""
    found = _find(context.platform(ctx).mails(), mail)
    whole = found.summary | {
        "from": found.sender,
        "text": found.text,
        "html": found.html,
        "path": str(found.path),
    }
    screen.show(whole, output, lambda: _write(found))


@app.command("open")
def open_mail(ctx: typer.Context, mail: _MAIL = None, output: _OUTPUT = Output.table) -> None:
    """Write one mail's HTML to a file beside it, and on a terminal open it in the browser."""
    found = _find(context.platform(ctx).mails(), mail)
    path = found.path.with_suffix(".html")
    path.write_text(_POLICY + (found.html or f"<plaintext>{found.text}"), encoding="utf-8", errors="replace")
    screen.show({"path": str(path)}, output, lambda: screen.write(str(path)))
    if output is Output.table and sys.stdout.isatty():
        typer.launch(str(path))


def _find(kept: list[mails.Mail], wanted: str | None) -> mails.Mail:
    if not kept:
        raise UsageError("no mail was kept yet", hint="todoctl smoke")
    if wanted is None:
        return kept[-1]
    for mail in kept:
        if wanted in {str(mail.number), mail.message_id, mail.message_id.strip("<>")}:
            return mail
    raise UsageError(f"no kept mail is called {wanted!r}", hint="todoctl mail list")


def _write(mail: mails.Mail) -> None:
    head = {
        "from": mail.sender,
        "to": mail.to,
        "subject": mail.subject,
        "kept at": mail.kept_at.isoformat(),
        "message id": mail.message_id,
    }
    screen.pairs(head)
    screen.write("")
    for line in mail.text.splitlines():
        screen.write(line)
