"""`python -m services.migrations upgrade|status|downgrade [REVISION]`: the status as one JSON object on stdout.

`accounts` gives the roles of the variables ACCOUNT_<role> their passwords, for a database that nobody else prepares.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from alembic.util.exc import CommandError
from psycopg import Error as PostgresError
from sqlalchemy.exc import SQLAlchemyError

from services.migrations import accounts, runner


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command; 0 done, 1 failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m services.migrations", description=__doc__)
    parser.add_argument("command", choices=("upgrade", "status", "downgrade", "accounts"))
    parser.add_argument("revision", nargs="?", help="head for upgrade; needed for downgrade, `base` is the empty one")
    parser.add_argument("--or-later", action="store_true", help="upgrade: a database that is further is left as it is")
    asked = parser.parse_args(argv)
    if asked.command == "downgrade" and not asked.revision:
        parser.error("downgrade needs a REVISION")
    url = environ.get("DATABASE_URL", "")
    if not url:
        parser.error("DATABASE_URL is not set")
    try:
        if asked.command == "accounts":
            print(json.dumps({"accounts": accounts.ensure(url, accounts.wanted(environ))}))
        else:
            print(json.dumps(asdict(_run(asked.command, url, asked.revision, or_later=asked.or_later))))
    except runner.UnknownRevisionError as error:
        parser.error(str(error))
    except (SQLAlchemyError, PostgresError, CommandError, runner.MigrationRefusedError, ValueError) as error:
        print(f"{asked.command} failed: {error}", file=sys.stderr)
        return 1
    return 0


def _run(command: str, url: str, revision: str | None, *, or_later: bool) -> runner.Status:
    if command == "status":
        return runner.status(url)
    if command == "upgrade":
        return runner.upgrade(url, revision or "head", or_later=or_later and revision is not None)
    return runner.downgrade(url, revision or "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
