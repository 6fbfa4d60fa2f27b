"""The likely fix for the end of a part's log."""

from __future__ import annotations

import pytest

from todoctl.core.diagnosis import likely_fix


@pytest.mark.parametrize(
    ("line", "fix"),
    [
        ('LOG:  could not bind IPv4 address "127.0.0.1": Address already in use', "todoctl down && todoctl up"),
        ("org.apache.kafka.common.KafkaException: Socket server failed to bind to 127.0.0.1:9092", "a port is taken"),
        ("OSError: [Errno 98] error while attempting to bind: address already in use", "a port is taken"),
        ('FATAL:  could not write to file "pg_wal/xlogtemp.1": No space left on device', "the disk is full"),
        ("PermissionError: [Errno 13] Permission denied: '/srv/x'", "choose another TODOCTL_HOME"),
        ('FATAL:  password authentication failed for user "api"', "the roles and the secrets differ"),
        ("java.lang.OutOfMemoryError: Java heap space", "the machine is out of memory"),
        ('FATAL:  lock file "postmaster.pid" already exists', "another process holds the data"),
        ("Failed to acquire lock on file .lock in /srv/kafka", "another process holds the data"),
        ("InconsistentClusterIdException: The Cluster ID x doesn't match stored clusterId", "the data is damaged"),
        ("PANIC:  could not locate a valid checkpoint record", "todoctl down --purge && todoctl up"),
        ("ModuleNotFoundError: No module named 'services.api.relais'", "mend it, then todoctl restart api"),
        ("  File x, line 3\n    def\nSyntaxError: invalid syntax", "mend it, then todoctl restart api"),
        ('psycopg.errors.UndefinedTable: relation "api.tasks" does not exist', "todoctl db migrate"),
        ("Error: UnsupportedClassVersionError: kafka/Kafka", "todoctl tools install jre"),
    ],
)
def test_a_known_cause_has_its_fix(line: str, fix: str) -> None:
    """The end of a log that says why names what to do; the part's own name is in the command."""
    assert fix in likely_fix("api", ["starting", *line.splitlines(), "bye"])


@pytest.mark.parametrize("lines", [[], [""], ["something unheard of"]])
def test_an_unknown_cause_leads_to_the_log(lines: list[str]) -> None:
    """Where nothing is recognised the next step is the whole log."""
    assert likely_fix("api", lines) == "todoctl logs api"


def test_what_comes_first_in_the_list_wins() -> None:
    """A full disk explains the errors that follow from it."""
    assert "disk is full" in likely_fix("api", ["TypeError: x", "OSError: No space left on device"])
