"""What changes from one release to another, each change with its risk; nothing that looks like a secret is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from todoctl.core.compatibility import UnknownKeywordError, breaking_changes, shape
from todoctl.core.releases import Manifest, Migration, Risk, pending_migrations
from todoctl.core.topics import wanted_topics
from todoctl.core.values import Values

Area = Literal["code", "values", "migrations", "topics", "events", "manifests"]
Change = Literal["added", "removed", "changed"]

_RISKS: tuple[Risk, ...] = ("none", "low", "medium", "high")
_SECRET = re.compile(r"pass(word|wd)?|secret|token|credential|private|api_?key|dsn|connection_?string", re.IGNORECASE)
# What stands below a Secret of the chart is secret whatever it is called.
_HELD = re.compile(r"\bsecrets\.[^.]+\.(values|sealed)\.")
MASK = "•••"
# Topics are compared by their settings in Kafka, not by how the values say them.
_ELSEWHERE = ("topics",)
# What todoctl says to the chart by itself.
_COLOURS = "kubernetes.colours."


@dataclass(frozen=True)
class Difference:
    """One change: where, of what, and what can go wrong with it."""

    area: Area
    name: str
    change: Change
    risk: Risk
    detail: str = ""


def differences(before: Manifest | None, after: Manifest, *, head: str | None) -> list[Difference]:
    """Every change that a switch from `before` brings to a database at `head`; without one everything is new."""
    if before is None:
        count = sum(not name.endswith(".pyc") for name in after.files)
        first = Difference("code", f"{count} files", "added", "none", "no release runs now")
        return [first, *migration_differences(after, head)]
    return [
        *_code(before.files, after.files),
        *_values(before.values, after.values),
        *migration_differences(after, head),
        *_topics(before.values, after.values),
        *_events(before, after),
    ]


def highest_risk(found: Sequence[Difference]) -> Risk:
    """The largest of the risks."""
    return max((item.risk for item in found), key=_RISKS.index, default="none")


def _code(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        # Byte code follows from its source.
        if before.get(name) != after.get(name) and not name.endswith(".pyc"):
            yield Difference("code", name, _kind(before.get(name), after.get(name)), "low")


def _values(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = dict(_flat(before)), dict(_flat(after))
    for name in sorted(old.keys() | new.keys()):
        have, want = old.get(name), new.get(name)
        if have == want or name.partition(".")[0] in _ELSEWHERE or name.startswith(_COLOURS):
            continue
        detail = f"{_shown(name, have)} → {_shown(name, want)}"
        yield Difference("values", name, _kind(have, want), _value_risk(name, want), detail)


def _value_risk(name: str, want: Any) -> Risk:
    """A service that goes away or another Dapr setting touches every request; the rest is one service's."""
    service_goes = want is None and name.startswith("services.") and name.endswith(".port")
    return "high" if service_goes else "medium" if name.startswith(("dapr.", "kafka.")) else "low"


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield from _flat({str(number): item for number, item in enumerate(value)}, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "not set"
    return MASK if is_secret(name) and isinstance(value, str) else str(value)


def is_secret(name: str) -> bool:
    """Whether what has this name, dotted as in the values, must not be shown."""
    return bool(_HELD.search(name) or _SECRET.search(name.rpartition(".")[2]))


def migration_differences(release: Manifest, head: str | None) -> list[Difference]:
    """The migrations that a release brings to a database at `head`, each with what its statements lock."""
    return list(_migrations(pending_migrations(release.database, head)))


def _migrations(brought: Sequence[Migration]) -> Iterator[Difference]:
    for item in brought:
        risk: Risk = max((found.risk for found in item.risks), key=_RISKS.index, default="low")
        words = [f"{found.risk}: {found.words}" for found in item.risks if found.risk != "none"]
        if item.sql is None:
            risk, words = "medium", ["medium: its SQL can't be told without the database"]
        if item.phase == "contract":
            risk, words = "high", ["high: takes away what older releases may need", *words]
        yield Difference("migrations", f"{item.revision} {item.title}", "added", risk, "; ".join(words))


def _topics(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    old, new = _topic_settings(before), _topic_settings(after)
    for name in sorted(old.keys() | new.keys()):
        have, want = old.get(name, {}), new.get(name, {})
        changed = [key for key in sorted(have.keys() | want.keys()) if have.get(key) != want.get(key)]
        if not changed:
            continue
        detail = ", ".join(f"{key} {have.get(key, 'not set')} → {want.get(key, 'not set')}" for key in changed)
        yield Difference("topics", name, _kind(have or None, want or None), _topic_risk(have, want), detail)


def _topic_settings(values: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    topics = wanted_topics(Values.model_validate(values))
    return {t.name: {"partitions": str(t.partitions), "replication": str(t.replication), **t.config} for t in topics}


def _topic_risk(have: Mapping[str, str], want: Mapping[str, str]) -> Risk:
    """What loses records, or moves users to other partitions, is high."""
    if not have:
        return "low"
    shorter = int(want.get("retention.ms", 0)) < int(have.get("retention.ms", 0))
    smaller = int(want.get("max.message.bytes", 0)) < int(have.get("max.message.bytes", 0))
    return "high" if not want or shorter or smaller or want["partitions"] != have["partitions"] else "low"


def _events(before: Manifest, after: Manifest) -> Iterator[Difference]:
    if before.events.writes != after.events.writes:
        unread = after.events.writes.partition(".")[0] not in before.events.reads
        detail = f"{before.events.writes} → {after.events.writes}"
        if unread:
            detail += "; what runs now can't read it, so there is no easy way back"
        yield Difference("events", "version written", "changed", "high" if unread else "low", detail)
    if before.events.reads != after.events.reads:
        gone = set(before.events.reads) - set(after.events.reads)
        detail = f"{', '.join(before.events.reads)} → {', '.join(after.events.reads)}"
        yield Difference("events", "versions read", "changed", "high" if gone else "none", detail)
    old, new = before.events.schemas, after.events.schemas
    for name in sorted(old.keys() | new.keys()):
        if shape(old.get(name)) != shape(new.get(name)):
            yield _schema_difference(name, old.get(name), new.get(name))


def _schema_difference(name: str, old: dict[str, Any] | None, new: dict[str, Any] | None) -> Difference:
    if old is None or new is None:
        return Difference("events", name, _kind(old, new), "low" if old is None else "high")
    try:
        breaking = breaking_changes(old, new)
    except UnknownKeywordError as error:
        return Difference("events", name, "changed", "medium", f"can't be compared: {error}")
    if breaking:
        return Difference("events", name, "changed", "high", "what runs now can't read: " + "; ".join(breaking))
    return Difference("events", name, "changed", "low", "what runs now can read it")


def _kind(before: Any, after: Any) -> Change:
    return "added" if before is None else "removed" if after is None else "changed"
