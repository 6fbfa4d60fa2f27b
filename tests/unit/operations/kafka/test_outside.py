"""What an environment's own `kafka` section has to say before anybody is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program import Program

_LOGIN = {"sasl_mechanism": '"PLAIN"', "username": '{ env = "NAME" }', "password": '{ env = "PASSWORD" }'}


@pytest.mark.parametrize("protocol", ['security_protocol = "SASL_PLAINTEXT"', ""])
@pytest.mark.parametrize("missing", [("sasl_mechanism",), ("username", "password"), tuple(_LOGIN)])
def test_a_login_that_is_not_said_is_asked_for(tmp_path: Path, protocol: str, missing: tuple[str, ...]) -> None:
    """By its setting, and not in librdkafka's words about Kerberos."""
    lines = [f"{key} = {value}" for key, value in _LOGIN.items() if key not in missing]
    program = Program(tmp_path, {"NAME": "ada", "PASSWORD": "her password"})
    program.work.mkdir()
    section = ["[environments.there]", 'kind = "kubernetes"', "[environments.there.kafka]", 'bootstrap = "127.0.0.1:1"']
    (program.work / "todoctl.toml").write_text("\n".join([*section, protocol, *lines]) + "\n")
    ended = program.inside("-e", "there", "topics", "list")
    assert ended.code == 2
    said = protocol.partition('"')[2].rstrip('"') or "SASL_SSL"
    assert f"[environments.there.kafka] says {said}, and no {' or '.join(missing)}" in ended.err
    assert "todoctl -e there env show" in ended.err
