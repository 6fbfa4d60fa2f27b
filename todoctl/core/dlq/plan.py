"""The plan file: JSON Lines, a header and a line for each letter, so that it can be reviewed, cut and streamed."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, BinaryIO, Literal, get_args

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import to_json

from todoctl.core.dlq.foreign import Header
from todoctl.core.dlq.plan_line import AGAIN
from todoctl.errors import RefusedError, UsageError

# replay: re-publish. cover: the same record is re-published for another letter. park: it came back too often.
Act = Literal["replay", "cover", "park", "skip"]
ACTS: tuple[Act, ...] = get_args(Act)


class Target(BaseModel):
    """A topic that records go to: its id, how many partitions it has, and where each ended when the plan was made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic_id: str
    partitions: int
    ends: dict[int, int]
    consumers: tuple[str, ...] = ()


class PlanHeader(BaseModel):
    """The first line: what the plan is for, whom it is from, and a digest over all other lines and the rest of this one.

    `ends` is where each partition of the letters ended; `states` what letters must still be in to be replayed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    todoctl_plan: Literal[2] = 2
    id: str
    made_at: str
    made_by: str
    environment: str
    cluster: str
    topic: str
    topic_id: str
    ends: dict[int, int]
    states: tuple[Literal["pending", "parked"], ...]
    filters: dict[str, str] = {}
    edit: str | None = None
    max_returns: int
    targets: dict[str, Target]
    counts: dict[Act, int]
    because: dict[str, int] = {}
    risks: tuple[str, ...] = ()
    digest: str

    def seal(self, lines: str) -> str:
        """The digest of a plan with this header and lines of which `lines` is the digest."""
        return sha256(f"{lines}{self.model_dump_json(exclude={'digest'})}".encode()).hexdigest()

    def encode(self) -> bytes:
        """The header's line."""
        return self.model_dump_json().encode() + b"\n"


class Entry(Struct, gc=False):
    """What is to be done with one letter, which `digest` proves to be the one that was reviewed.

    `is_wrapped` says that the letter is one of ours, which has the record inside. The record goes to `topic` and its partition `to`, or where its key belongs when that is None. `value` is given only
    where it isn't the letter's (`is_edited`, or the letter had it cut). `same_as` names the letter whose re-published
    record is this one's too. `about` is for the reader, as is `before`, an
    edited record's value as it died, which is not written.
    """

    partition: int
    offset: int
    digest: str
    act: Act
    topic: str | None = None
    to: int | None = None
    key: bytes | None = None
    headers: tuple[Header, ...] = ()
    count: int = 0
    is_wrapped: bool = False
    has_value: bool = False
    value: bytes | None = None
    is_edited: bool = False
    because: str | None = None
    same_as: str | None = None
    about: Mapping[str, Any] | None = None
    before: bytes | None = None

    @property
    def name(self) -> str:
        """The letter's name, `partition/offset`."""
        return f"{self.partition}/{self.offset}"

    def encode(self) -> bytes:
        """The entry's line."""
        line: dict[str, Any] = {"letter": self.name, "do": self.act}
        if self.is_wrapped:
            line["wrapped"] = True
        if self.because:
            line["because"] = self.because
        if self.act == "cover":
            line |= {"topic": self.topic, "same_as": self.same_as}
        if self.act == "replay":
            line |= {"topic": self.topic, "partition": self.to}
            line |= {"key": _shown(self.key), "headers": [[name, _shown(value)] for name, value in self.headers]}
            line["count"] = self.count
            if self.has_value:
                line |= {"value": _shown(self.value), "edited": self.is_edited}
        return to_json({**line, "about": self.about, "digest": self.digest}) + b"\n"


def read_header(line: bytes) -> PlanHeader:
    """The header in a plan's first line.

    Raises:
        UsageError: it is none, or of a version that this todoctl doesn't read.
    """
    try:
        return PlanHeader.model_validate_json(line)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        why = "another todoctl's version made it" if where == "todoctl_plan" else f"{where}: {problem['msg']}"
        raise UsageError(f"this is no plan that can be read: {why}", hint=AGAIN) from error


def lines_digest(stream: BinaryIO) -> str:
    """What proves that nobody changed the lines after the header, which was read."""
    seen = sha256()
    while block := stream.read(2**20):
        seen.update(block)
    return seen.hexdigest()


def check_fits(header: PlanHeader, *, cluster: str, topic_ids: Mapping[str, str]) -> None:
    """Return when the plan is for this cluster and these topics.

    Raises:
        RefusedError: it isn't, or a topic of it was made anew or lost since.
    """
    if header.cluster != cluster:
        raise RefusedError(f"the plan is for the Kafka cluster {header.cluster}, this is {cluster}", hint=AGAIN)
    wanted = {header.topic: header.topic_id} | {name: target.topic_id for name, target in header.targets.items()}
    for name, topic_id in wanted.items():
        if topic_ids.get(name) != topic_id:
            what = "was made anew" if name in topic_ids else "is gone"
            raise RefusedError(f"the plan no longer fits: the topic {name} {what} since", hint=AGAIN)


def _shown(data: bytes | None) -> Any:
    """Bytes for a reader: text where they are text, else base64."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}
