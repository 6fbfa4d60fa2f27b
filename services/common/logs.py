"""Logs as one JSON object per line on stdout, with the ids of what is being worked on."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from services.common.context import correlation_id, user_id

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON; what was passed as `extra` becomes fields of it."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
            "correlation_id": correlation_id.get(),
            "user_id": user_id.get(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # ASCII: text of a client can neither break the line nor reach a terminal as an escape sequence.
        return json.dumps(line, ensure_ascii=True, default=str)


def configure(service: str, level: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process to `stream` (stdout) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # One line per request is written by our middleware; httpx would write another for each call to the sidecar.
    # uvicorn would write the whole address of each WebSocket, with whatever a client put into it.
    for noisy in ("httpx", "httpcore", "sqlalchemy", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
