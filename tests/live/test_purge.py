"""Purging dead letters: what an archive can't keep stays, and what was not looked at is not touched."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import pytest
from confluent_kafka import Producer

from tests.live.broker import KafkaServer
from tests.live.desk import Desk, remake
from tests.live.kafka_program import for_server
from tests.live.letters import kill
from tests.unit.sites import chart_values
from todoctl.adapters.kafka import records
from todoctl.commands.dlq.options import operator
from todoctl.core.dlq.filters import Filter
from todoctl.errors import RefusedError
from todoctl.operations.dlq import deciding
from todoctl.operations.dlq.desk import open_desk

ALL = ("-w", "error=*")


def _remake_letters(server: KafkaServer) -> None:
    """Another topic of dead letters by the same name, with more letters than the one before."""
    remake(server, "dlq-events")
    producer = Producer(server.librdkafka)
    for number in range(60):
        producer.produce("dlq-events", value=b"new", partition=number % 3)
    assert producer.flush(30) == 0


def _assert_untouched(server: KafkaServer) -> None:
    ranges = records.watermarks(server.client, ["dlq-events"])
    assert set(ranges.values()) == {(0, 20)}


@pytest.mark.parametrize("command", ["purge", "park", "replay"])
def test_a_topic_that_was_made_anew_before_the_agreement_is_left_alone(
    desk: Desk, tmp_path: Path, command: str
) -> None:
    """Offsets of the letters that were looked at mean other records there."""
    kill(desk.server, 8)
    todoctl = for_server(tmp_path, desk.server)
    which_ = () if command == "replay" else ALL
    with todoctl.asked("dlq", command, *which_) as (process, agree):
        _remake_letters(desk.server)
        agree()
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (8, ""), err
    assert "the topic dlq-events was made anew since" in err
    _assert_untouched(desk.server)
    assert desk.pending() == 60
    assert not list(todoctl.home.glob("**/*.jsonl.gz"))
    # Nobody holds the letters any more.
    assert desk.run("dlq", "park", *ALL, "--yes").code == 0


def test_a_topic_that_was_made_anew_after_the_archive_keeps_its_records(desk: Desk, tmp_path: Path) -> None:
    """The archive is there, the letters that it has are gone with their topic, and nothing else is deleted."""
    kill(desk.server, 8)
    archive, made = tmp_path / "a.jsonl.gz", list[bool]()
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def clock() -> datetime:
        if archive.exists() and not made:
            made.append(True)
            _remake_letters(desk.server)
        return now

    at = open_desk(desk.server.client, chart_values(), "dlq-events")
    with pytest.raises(RefusedError, match="the topic dlq-events was made anew"):
        deciding.purge(at, Filter(error="*"), archive, operator("purge"), clock=clock)
    assert made
    _assert_untouched(desk.server)


@pytest.mark.skipif(which("kcat") is None, reason="only kcat writes headers whose names are not UTF-8")
def test_what_an_archive_could_not_keep_is_not_purged(desk: Desk) -> None:
    """The client gives none of its headers, so the letter is named, and the others can go without it."""
    kill(desk.server, 8)
    where = ["kcat", "-b", desk.server.address, "-P", "-t", "dlq-events", "-p", "1", "-H", "known=1", "-H"]
    subprocess.run([*where, os.fsdecode(b"\xff=2")], input=b"odd\n", check=True)
    name = f"1/{records.watermarks(desk.server.client, ['dlq-events'])['dlq-events', 1][1] - 1}"
    before = records.watermarks(desk.server.client, ["dlq-events"])
    refused = desk.run("dlq", "purge", *ALL, "--archive", "a.gz", "--yes", "-o", "json")
    assert (refused.code, refused.out) == (8, ""), refused.err
    assert f"todoctl --config {desk.folder}/todoctl.toml -e bare dlq park {name}\n" in refused.err
    assert records.watermarks(desk.server.client, ["dlq-events"]) == before
    assert [path.name for path in desk.folder.glob("*a.gz*")] == []
    desk.must("dlq", "park", name, "--yes")
    assert desk.must("dlq", "purge", *ALL, "--archive", "a.gz", "--yes", "-o", "json").json()["purged"] == 8
    [left] = desk.must("dlq", "list", "--letters", "--state", "all", "-o", "json").json()
    assert left["letter"] == name


@pytest.mark.skipif(os.geteuid() != 0 or which("mount") is None, reason="a small disk is mounted")
def test_a_full_disk_is_named_and_nothing_is_decided(desk: Desk, tmp_path: Path) -> None:
    """The archive and the plan that didn't fit leave nothing behind, and the letters are as they were."""
    kill(desk.server, 400)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], check=True)
    try:
        for command in (("purge", *ALL, "--yes", "--archive", "small/a.gz"), ("plan", "--out", "small/plan")):
            ended = desk.run("dlq", *command)
            assert (ended.code, ended.out) == (1, ""), ended.err
            assert f"the system refused: {command[-1]}: No space left on device" in ended.err
            assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    assert desk.pending() == 400


def test_an_archive_below_a_file_is_refused(desk: Desk) -> None:
    """No folder can be made there."""
    (desk.folder / "file").write_text("")
    ended = desk.run("dlq", "purge", *ALL, "--yes", "--archive", "file/below/a.gz")
    assert (ended.code, f"--archive: {desk.folder / 'file'} is no folder" in ended.err) == (2, True), ended.err


def test_what_to_do_next_is_said_for_the_environment(desk: Desk) -> None:
    """A copied command must not go to another environment, and a file's name is one word."""
    kill(desk.server, 1, kinds=["permanent"])
    ours = f"todoctl --config {desk.folder}/todoctl.toml -e bare dlq"
    assert re.search(f"next: {ours} show ./0, {ours} plan\n", desk.must("dlq", "list").err)
    assert f"next: {ours} replay --plan 'my plan'\n" in desk.must("dlq", "plan", "--out", "my plan").err
