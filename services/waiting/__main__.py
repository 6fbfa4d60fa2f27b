"""`python -m services.waiting`: ends with 0 once everything asked for is there, saying meanwhile what it waits for.

A sidecar ends when a component can't be opened, and Kubernetes then starts it again ever later; waiting first is quicker.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import psycopg

# Gives what is missing, or "" when nothing is.
Check = Callable[[], str]

_PAUSE = 1.0
_TELL_EVERY = 10.0


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Wait; 0 when all is there, 1 when the time is over, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m services.waiting", description=__doc__)
    parser.add_argument("--database", action="store_true", help="DATABASE_URL takes a session")
    parser.add_argument("--revision", default="", help="the schema of DATABASE_URL is this revision or a later one")
    parser.add_argument("--any-of", default="", help="HOST:PORT,…: one of them takes a connection")
    parser.add_argument("--url", action="append", default=[], help="answers with a 2xx status")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long at most; for ever by default")
    asked = parser.parse_args(argv)
    database = environ.get("DATABASE_URL", "")
    if (asked.database or asked.revision) and not database:
        parser.error("DATABASE_URL is not set")
    checks: dict[str, Check] = {f"{url} to answer": partial(refused_by, url) for url in asked.url}
    if asked.database or asked.revision:
        name = f"the database at revision {asked.revision}" if asked.revision else "the database"
        checks[name] = partial(behind, database, asked.revision)
    if asked.any_of:
        checks[asked.any_of] = partial(closed, asked.any_of.split(","))
    return 0 if wait(checks, seconds=asked.seconds) else 1


def wait(checks: Mapping[str, Check], *, seconds: float) -> bool:
    """Whether every check found nothing missing before the time was over."""
    deadline, told = time.monotonic() + seconds, float("-inf")
    for name, check in checks.items():
        while missing := check():
            if time.monotonic() > deadline:
                print(f"gave up waiting for {name}: {missing}", flush=True)
                return False
            if time.monotonic() - told > _TELL_EVERY:
                told = time.monotonic()
                print(f"waiting for {name}: {missing}", flush=True)
            time.sleep(_PAUSE)
        print(f"there: {name}", flush=True)
    return True


def behind(url: str, revision: str) -> str:
    """Why the database is not ready; with a `revision`, it must be there. Revisions are numbered, so later ones compare so."""
    try:
        with psycopg.connect(url, connect_timeout=3, options="-c statement_timeout=3000") as link:
            if not revision:
                return ""
            row = link.execute("SELECT version_num FROM public.alembic_version").fetchone()
    except psycopg.Error as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    found = str(row[0]) if row else "nothing"
    return "" if row and found >= revision else f"it is at {found}"


def closed(addresses: Sequence[str]) -> str:
    """Why none of the addresses can be connected to."""
    reason = "no address"
    for address in addresses:
        host, _, port = address.strip().rpartition(":")
        try:
            with socket.create_connection((host, int(port)), timeout=3):
                return ""
        except (OSError, ValueError) as error:
            reason = f"{address}: {error}"
    return reason


def refused_by(url: str) -> str:
    """Why the URL does not answer with a 2xx status."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - the chart's own address
            return ""
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read(300).decode(errors='replace')}"
    except (OSError, ValueError) as error:
        return str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
