"""Records that no client of ours would write, and input as shells give it: each has an end that says what is the matter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from tests.live.broker import KafkaServer
from tests.live.desk import Desk
from tests.live.kafka_program import for_server
from tests.live.letters import kill
from tests.live.test_topics_live import EVENT
from tests.program import Program, until
from todoctl.adapters.kafka import client


def test_a_letter_of_the_year_318857_is_listed(desk: Desk) -> None:
    """Kafka takes any time where a topic lets it; one such letter hid all others."""
    setting = ConfigEntry("message.timestamp.after.max.ms", str(2**63 - 1), incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, "dlq-events", incremental_configs=[setting])
    for future in client.administrator(desk.server.client).incremental_alter_configs([changed]).values():
        future.result(30)
    producer = Producer(desk.server.librdkafka)
    refused: list[object] = [None]

    def is_taken() -> bool:
        producer.produce("dlq-events", b"{}", timestamp=10**16, on_delivery=lambda error, _: refused.append(error))
        producer.flush(20)
        return refused[-1] is None and len(refused) > 1

    until(is_taken, "the setting is in force", 30)
    assert [row["letters"] for row in desk.must("dlq", "list", "-o", "json").json()] == [1]


@pytest.mark.skipif(which("kcat") is None, reason="only kcat writes headers whose names are not UTF-8")
def test_a_header_whose_name_is_not_utf_8_hides_nothing(desk: Desk) -> None:
    """The client can't give its headers, and ends the process when it is asked again; all else is shown."""
    where = ["kcat", "-b", desk.server.address, "-P", "-t", "dlq-events", "-H"]
    subprocess.run([*where, os.fsdecode(b"\xff=1")], input=b"one\n", check=True)
    assert [row["letters"] for row in desk.must("dlq", "list", "-o", "json").json()] == [1]
    for how in ("json", "jsonl"):
        shown = desk.must("topics", "tail", "dlq-events", "-o", how).out
        (row,) = json.loads(shown) if how == "json" else [json.loads(shown)]
        assert (row["value"], row["headers"][0]["name"]) == ("one", "(a name that is not UTF-8)")


def test_what_was_typed_in_an_editor_is_not_lost(desk: Desk, tmp_path: Path) -> None:
    """A slip ends with 6 where nobody can be asked, and names the text's file; on a terminal the next plan goes on with it."""
    kill(desk.server, 1, kinds=["permanent"])
    todoctl = for_server(tmp_path, desk.server)
    plan = ("dlq", "plan", "--edit", "-o", "json", "--out")

    def typing(old: str, new: str) -> Program:
        return replace(todoctl, variables={**todoctl.variables, "EDITOR": f"sed -i 's/{old}/{new}/'"})

    ended = typing('"Write"', '"Read" "').run(*plan, "one.jsonl")
    [draft] = todoctl.home.glob("**/drafts/*")
    assert (ended.code, str(draft) in ended.err, ended.json()["counts"]["skip"]) == (6, True, 1), ended.err
    told = typing('"Read" "', '"Read"').on_terminal(sys.executable, "-m", "todoctl", *plan, "two.jsonl")
    assert (told.code, "going on with what was typed" in told.out) == (0, True), told.out
    assert not draft.exists()
    line = json.loads((todoctl.work / "two.jsonl").read_text().splitlines()[1])
    assert '"Read"' in line["value"]


def test_no_letter_makes_a_line_endless(desk: Desk) -> None:
    """One wrote half a gigabyte of table into a pipe: whatever it says is cut in lists, and whole for programs."""
    long = b"E\n" * 30_000
    where = {"original-topic": b"t" * 50_000, "original-partition": bytes(4), "original-consumer-group": b"g" * 30_000}
    why = {"exception-fqcn": long, "exception-message": long}
    producer = Producer(desk.server.librdkafka)
    producer.produce(
        "dlq-events",
        key=b"k" * 100_000,
        value=b'{"type":"%b"}' % (b"T" * 9000),
        headers=[(f"kafka_dlt-{name}", value) for name, value in (where | why).items()],
    )
    assert producer.flush(30) == 0
    for command in (("dlq", "list"), ("dlq", "list", "--letters")):
        lines = desk.must(*command).out.splitlines()
        assert (len(lines), max(map(len, lines)) < 1000) == (2, True)
        assert desk.must(*command, "-o", "json").json()[0]["error"] == long.decode()
    [line] = desk.must("topics", "tail", "dlq-events").out.splitlines()
    assert len(line) < 3000


def test_a_plan_whose_header_was_edited_is_refused(desk: Desk) -> None:
    """Its states say which letters are sent: with one more of them all would be sent a second time."""
    kill(desk.server, 80)
    desk.plan()
    assert desk.replay().code == 0
    path = desk.folder / "plan.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"states":["pending"]', b'"states":["pending","parked"]', 1))
    assert desk.replay().code == 8
    path.write_bytes(path.read_bytes().replace(b'"states":["pending","parked"]', b'"states":["replayed"]', 1))
    assert desk.replay("plan.jsonl", "--accept-changes").code == 2


def test_a_plan_with_a_line_more_counts_what_it_has(desk: Desk) -> None:
    """Accepted, it is reckoned with by its own lines, not by what the header says: 9 of 8 is no progress."""
    kill(desk.server, 80)
    desk.plan("all.jsonl")
    desk.plan("some.jsonl", "-w", "form=todoctl")
    some, more = desk.folder / "some.jsonl", desk.folder / "all.jsonl"
    known = some.read_bytes().splitlines(keepends=True)
    names = {json.loads(line)["letter"] for line in known[1:]}
    lines = more.read_bytes().splitlines(keepends=True)[1:]
    added = next(
        line for line in lines if (found := json.loads(line))["do"] == "replay" and found["letter"] not in names
    )
    header = json.loads(known[0])
    header["targets"] = json.loads(more.read_bytes().splitlines()[0])["targets"]
    some.write_bytes(json.dumps(header).encode() + b"\n" + b"".join(known[1:]) + added)
    asked = sum(json.loads(line)["do"] != "skip" for line in (*known[1:], added))
    ended = desk.replay("some.jsonl", "--accept-changes")
    assert ended.code == 0, ended.err
    assert f"{asked} of {asked}" in ended.err


def test_a_purge_of_nothing_archives_nothing(desk: Desk) -> None:
    """No letter is meant: there is no empty archive that looks like one, and it is said."""
    kill(desk.server, 8)
    ended = desk.must("dlq", "purge", "-w", "error=Nobody*", "--archive", "a.gz", "--yes", "-o", "json")
    assert ended.json() == {"purged": 0, "deleted_offsets": 0, "archive": None}
    assert "nothing to archive" in ended.err
    assert not (desk.folder / "a.gz").exists()


def test_a_plan_is_no_pipe(desk: Desk) -> None:
    """It is read several times: from a pipe nothing was replayed, and that with exit code 0."""
    kill(desk.server, 80)
    desk.plan()
    reading, writing = os.pipe()
    os.close(writing)
    try:
        ended = desk.replay(f"/proc/{os.getpid()}/fd/{reading}")
    finally:
        os.close(reading)
    assert (ended.code, "no regular file" in ended.err) == (2, True)


def test_events_come_from_a_named_pipe(server: KafkaServer, tmp_path: Path) -> None:
    """As bash's <(…) gives it: everything is checked before anything is appended, so it is read twice."""
    todoctl = for_server(tmp_path, server)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with todoctl.start("topics", "produce", "task-events", "--check", str(pipe)) as process:
        pipe.write_text(json.dumps(EVENT))
        _, err = process.communicate(timeout=120)
    assert (process.returncode, "1 records fit" in err) == (0, True), err


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b'{"x":NaN,"specversion":"1.0","data":'])
def test_what_consumers_cannot_read_does_not_fit(server: KafkaServer, tmp_path: Path, before: bytes) -> None:
    """A byte order mark, or NaN: the standard library's parser takes both, the consumers' neither."""
    path = tmp_path / "event"
    path.write_bytes(before + json.dumps(EVENT).encode() + (b"}" if b"{" in before else b""))
    assert for_server(tmp_path, server).inside("topics", "produce", "task-events", "--check", str(path)).code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("topics", "tail", "task-events", "--user", "²"), 2),
        (("topics", "tail", "task-events", "--text", os.fsdecode(b"\xff")), 0),
        (("topics", "tail", "task-events", "--format", os.fsdecode(b"\xff")), 0),
        (("topics", "tail", "task-events", "--correlation", os.fsdecode(b"\xff")), 0),
        (("dlq", "list", "²/1"), 2),
        (("dlq", "list", "--where", "user=²"), 2),
        (("dlq", "list", "--since", "2026-11-27T10:00:00CET"), 2),
        (("dlq", "list", "--since", "2026-11-27"), 0),
        (("dlq", "replay", "--yes", "--rate", "inf"), 2),
        (("dlq", "plan", "--out", "missing/plan.jsonl"), 2),
        (("topics", "produce", "nothing", "--raw", "--tombstone", "--key", "k"), 1),
    ],
    ids=str,
)
def test_odd_words_have_an_end(desk: Desk, arguments: tuple[str, ...], code: int) -> None:
    """An exit code that says what it was, and never a traceback."""
    ended = desk.run(*arguments)
    assert (ended.code, "Traceback" in ended.err) == (code, False), ended.err


def test_a_token_of_a_larger_topic_is_refused(desk: Desk) -> None:
    """A partition of it that is not there: the topic was made anew, and would be read from its beginning."""
    cluster = client.cluster_id(desk.server.client)
    ended = desk.run("topics", "tail", "task-events", "--resume", f"task-events@99:1#{cluster}")
    assert (ended.code, "made anew" in ended.err) == (1, True)


def test_what_nobody_knows_yet_is_looked_for_by_its_plan(desk: Desk) -> None:
    """Without `--plan` the same command makes another plan, of which these letters are no part: it said that all was well."""
    kill(desk.server, 1, kinds=["permanent"])
    ended = desk.run("dlq", "replay", "--yes", "--wait", "1")
    said = re.search(r"todoctl --config \S+ -e bare dlq replay --plan (\S+): it only looks", ended.err)
    assert (ended.code, said is not None) == (6, True), ended.err
    again = desk.run("dlq", "replay", "--plan", said[1] if said else "", "--yes", "--wait", "1", "-o", "json")
    assert (again.code, again.json()["decided_before"], again.json()["republished"]) == (6, 1, 1), again.err


def test_a_reading_that_nobody_reads_any_more_ends_on_a_quiet_topic(server: KafkaServer, tmp_path: Path) -> None:
    """`tail -f | head -n 1` waited for the next record to notice that head had ended."""
    topic = server.topic()
    producer = Producer(server.librdkafka)
    producer.produce(topic, b"only")
    assert producer.flush(30) == 0
    follow = ("topics", "tail", topic, "--from", "beginning", "-f", "-o", "raw")
    with for_server(tmp_path, server).start(*follow) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "only\n"
        process.stdout.close()
        until(lambda: process.poll() is not None, "the end of the reading", 30)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, "")


def test_a_plan_for_another_topic_is_refused(desk: Desk) -> None:
    """By its name: what was said was that letters are gone which nobody had looked for."""
    kill(desk.server, 1, kinds=["permanent"])
    desk.plan()
    ended = desk.replay("plan.jsonl", "--topic", "reminders")
    assert (ended.code, "the plan is for the letters of dlq-events, not of reminders" in ended.err) == (8, True), (
        ended.err
    )
    assert desk.pending() == 1
