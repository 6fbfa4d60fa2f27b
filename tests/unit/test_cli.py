"""The command line as a process: exit codes, streams, pipes, terminals, and what it must not import."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.program import ROOT, Program, until
from todoctl import __version__, errors

CODES = [
    # Arguments, exit code, what stderr says.
    (["frobnicate"], 2, "No such command 'frobnicate'"),
    (["stauts"], 2, "Did you mean 'status'"),
    (["status", "--frobnicate"], 2, "No such option"),
    (["status", "-o", "xml"], 2, "'table', 'json', 'yaml', 'jsonl'"),
    (["status", "surplus"], 2, "unexpected extra argument"),
    (["up", "--timeout", "0"], 2, "--timeout"),
    (["up", "--timeout", "soon"], 2, "--timeout"),
    (["restart"], 2, "Missing argument 'SERVICE'"),
    (["db", "downgrade"], 2, "Missing argument"),
    (["--config", "absent.toml", "env", "list"], 2, "there is no configuration file absent.toml"),
    (["-e", "nowhere", "status"], 2, "no environment is called 'nowhere' (from -e); there are: local, minikube, cloud"),
    (["env", "show", "nowhere"], 2, "no environment is called 'nowhere'"),
    (["logs", "--since", "yesterday"], 2, "--since: 'yesterday' is not a duration"),
    (["logs", "--since", "99999999999d"], 2, "--since: '99999999999d' is further back"),
    (["logs", "--since", "9" * 17 + "d"], 2, "is further back than time can be written"),
    (["logs", "--level", "loud"], 2, "--level: 'loud' is not one of debug, info, warn, error"),
    (["logs", "--grep", "("], 2, "--grep: '(' is not a regular expression"),
    (["logs", "no\nbody"], 2, "no part is called 'no\\nbody'; there are: postgres, kafka"),
    (["topics", "lag", "--wait", "1s"], 2, "--wait waits for a limit"),
    (["topics", "lag", "--max", "few"], 2, "--max: 'few' is neither a number of messages nor a duration"),
    (["topics", "tail", "t", "--from", "soon"], 2, "--from: 'soon' is no place in a topic"),
    (["topics", "produce", "a b", "--raw"], 2, "'a b' is not a name that a topic can have"),
    (["groups", "reset", "g", "--topic", "t", "--to", "soon"], 2, "--to: 'soon' is no place in a topic"),
    (["-e", "cloud", "topics", "tail", "t"], 2, "or add [environments.cloud.kafka] with bootstrap"),
    (["-e", "cloud", "mail", "list"], 8, "hands its mails to a provider"),
    (["-e", "minikube", "mail", "list"], 2, "there is no kubeconfig"),
    (["-e", "minikube", "status"], 2, "next: todoctl -e minikube up"),
    (["topics", "tail", "t"], 3, "is not up"),
    (["groups", "list"], 3, "is not up"),
    (["status"], 3, "the environment 'local' is not up\n  next: todoctl up"),
    (["open"], 3, "is not up"),
    (["smoke"], 3, "is not up"),
    (["restart", "api"], 3, "is not up"),
    (["db", "status"], 3, "is not up"),
    (["logs"], 3, "was never up here"),
    (["trace"], 2, "Missing argument 'ID'"),
    (["trace", "a b"], 2, "'a b' is no id"),
    (["trace", "task:x"], 2, "'x' is not the number of a task"),
    (["trace", "42", "--since", "soon"], 2, "--since: 'soon' is not a duration"),
    (["trace", "42", "--records", "0"], 2, "--records"),
    (["trace", "42"], 3, "is not up"),
    (["users", "grant"], 2, "Missing argument 'EMAIL'"),
    (["users", "grant", "ann@example.org"], 3, "is not up"),
    (["users", "revoke", "ann@example.org"], 3, "is not up"),
    (["verify", "audit"], 3, "is not up"),
    (["verify", "audit", "--known", "absent.json"], 2, "--known: absent.json can't be read: No such file"),
    (["verify", "audit", "--known", "."], 2, "--known: . can't be read: Is a directory"),
    (["db", "downgrade", "base"], 8, "not done without agreement: go back to revision base"),
    (["-e", "cloud", "up"], 8, "the cluster of 'cloud' is not todoctl's to start or to stop"),
    (["-e", "cloud", "down"], 8, "next: todoctl -e cloud install dapr; todoctl -e cloud deploy"),
    (["-e", "minikube", "up"], 9, "minikube is not on this machine"),
    (["-e", "minikube", "down"], 9, "next: todoctl tools install minikube"),
    (["-e", "minikube", "up", "--checkout"], 2, "always releases what is at hand"),
    (["up", "--bundle", "x"], 2, "nothing here needs one"),
    (["down", "--foreign"], 2, "here everything is ours"),
    (["-e", "cloud", "images", "load"], 8, "todoctl -e cloud images push --digests FILE"),
    (["images", "load"], 8, "only a Minikube gets its images from this machine"),
    (["images", "push"], 2, "has no registry to push to"),
    (["-e", "cloud", "status"], 2, "names no context"),
    (["-e", "cloud", "doctor"], 2, "names no context"),
    (["-e", "cloud", "logs"], 2, "names no context"),
    (["-e", "cloud", "open"], 2, "names no context"),
    (["-e", "cloud", "smoke"], 2, "names no context"),
    (["-e", "cloud", "restart", "api"], 2, "names no context"),
    (["-e", "cloud", "db", "status"], 2, "names no context"),
    (["-e", "cloud", "trace", "42"], 2, "names no context"),
    (["deploy"], 3, "the environment 'local' is not up"),
    (["deploy", "--strategy", "blue-green"], 2, "has no colours"),
    (["diff"], 3, "the environment 'local' is not up"),
    (["diff", "1"], 3, "is not up"),
    (["diff", "0"], 2, "REVISION"),
    (["rollback"], 8, "there is no earlier release to go back to"),
    (["rollback", "7"], 2, "there is no release 7"),
    (["rollback", "soon"], 2, "REVISION"),
    (["unlock"], 2, "there is nothing to unlock"),
    (["history"], 0, ""),
    (["-e", "cloud", "db", "migrate"], 2, "the one that kubectl used last is never taken"),
    (["-e", "cloud", "topics", "apply"], 2, "names no context"),
    (["-e", "cloud", "deploy"], 2, "names no context"),
    (["-e", "cloud", "deploy", "--timeout", "inf"], 2, "--timeout"),
    (["-e", "cloud", "history"], 2, "names no context"),
    (["-e", "cloud", "rollback"], 2, "names no context"),
    (["-e", "cloud", "users", "grant", "ann@example.org"], 2, "names no context"),
    (["-e", "cloud", "verify", "audit"], 2, "names no context"),
    (["down"], 0, "nothing was running"),
    (["down", "--purge"], 0, "nothing was running"),
    (["env", "list"], 0, ""),
]

_INTERRUPTED_IMPORT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["todoctl", "status"]
from todoctl.__main__ import main
main()
"""


@pytest.mark.parametrize(("arguments", "code", "said"), CODES, ids=[" ".join(row[0]) for row in CODES])
def test_exit_codes_and_messages(todoctl: Program, arguments: list[str], code: int, said: str) -> None:
    """Each way to end has its exit code and says on stderr what was wrong, without a traceback."""
    ended = todoctl.inside(*arguments)
    assert (ended.code, said in ended.err) == (code, True), ended
    assert not (code and ended.out)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["env", "list"], 0),
        ([], 2),
        (["stauts"], 2),
        (["-e", "nowhere", "status"], 2),
        (["status"], 3),
        (["-e", "cloud", "up"], 8),
    ],
    ids=str,
)
def test_exit_codes_of_the_process(todoctl: Program, arguments: list[str], code: int) -> None:
    """What the table of exit codes says holds for the real process."""
    ended = todoctl.run(*arguments)
    assert ended.code == code
    assert not (code and ended.out)
    assert "Traceback" not in ended.err


def test_a_failure_names_the_next_command(todoctl: Program) -> None:
    """An error ends with the next step; what it prints after `next:` is one line."""
    ended = todoctl.inside("status")
    assert ended.err.splitlines()[-1] == "  next: todoctl up"


CLUSTER = """\
[environments.k]
kind = "kubernetes"
context = "strange one"
namespace = "todo"
"""


class Strange(BaseHTTPRequestHandler):
    """Answers as no API server of Kubernetes does."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(502)

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@pytest.fixture
def strange(todoctl: Program) -> Iterator[Program]:
    """Todoctl with an environment `k`, in whose cluster's place something else answers."""
    Strange.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Strange) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kubeconfig = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "strange one", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        todoctl.work.mkdir()
        (todoctl.work / "todoctl.toml").write_text(CLUSTER)
        (todoctl.work / "kubeconfig").write_text(json.dumps(kubeconfig))
        yield Program(todoctl.folder, {"KUBECONFIG": str(todoctl.work / "kubeconfig")})
        server.shutdown()


@pytest.mark.parametrize(
    ("options", "given"),
    [(["-e", "k"], "-e k"), (["--config", "todoctl.toml", "-e", "k"], "--config todoctl.toml -e k")],
)
def test_the_next_command_is_for_the_same_environment(strange: Program, options: list[str], given: str) -> None:
    """Whoever copies it must not repair another platform than the one that failed, nor ask another cluster."""
    ended = strange.inside(*options, "status")
    assert ended.code == 3
    assert ended.err.splitlines()[-1] == f"  next: kubectl --context 'strange one' version; todoctl {given} env show"


def test_doctor_asks_what_is_away_once(strange: Program) -> None:
    """A server that takes its time is told within 10 s; the fix is for the environment's own cluster."""
    ended = strange.inside("-e", "k", "doctor", "-o", "json")
    assert (ended.code, [row["fix"] for row in ended.json()]) == (3, ["kubectl --context 'strange one' cluster-info"])
    assert Strange.asked == ["/version"]


def test_every_error_class_has_a_documented_exit_code() -> None:
    """The classes carry the documented codes, and the table at the top of errors.py names every one of them."""
    classes: list[type[errors.TodoctlError]] = [errors.TodoctlError, *errors.TodoctlError.__subclasses__()]
    ours = {kind.__name__: kind.exit_code for kind in classes if kind.__module__ == errors.__name__}
    assert sorted(ours.values()) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    for name, code in ours.items():
        row = next(line for line in str(errors.__doc__).splitlines() if name in line.split())
        assert str(code) in row.split()


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(todoctl: Program, option: str) -> None:
    """The version goes to stdout and nothing else does."""
    ended = todoctl.run(option)
    assert (ended.code, ended.out, ended.err) == (0, f"todoctl {__version__}\n", "")


def test_version_among_other_arguments(todoctl: Program) -> None:
    """`--version` is answered before anything else is looked at."""
    ended = todoctl.run("-e", "nowhere", "--version")
    assert (ended.code, ended.out) == (0, f"todoctl {__version__}\n")


@pytest.mark.parametrize("arguments", [["up"], ["db"], ["db", "migrate"]])
def test_only_the_root_offers_completion(todoctl: Program, arguments: list[str]) -> None:
    """A command's help has its own options and not those that install completion."""
    ended = todoctl.inside(*arguments, "-h")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: todoctl {' '.join(arguments)} ")
    assert "--install-completion" not in ended.out


@pytest.mark.parametrize(
    ("hidden", "arguments", "extra"),
    [
        (("typer",), ["status"], "cli"),
        (("yaml",), ["status"], "cli"),
        (("psutil",), ["down"], "local"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    todoctl: Program, hidden: tuple[str, ...], arguments: list[str], extra: str
) -> None:
    """A bare installation says which extra a command needs, and exits with 9."""
    ended = todoctl.run_without(hidden, *arguments)
    assert (ended.code, ended.out) == (9, ""), ended
    assert ended.err.startswith(f"✗ this command needs the Python package '{hidden[0]}', which is not installed\n")
    assert f"pip install '.[{extra}]'" in ended.err


def test_the_version_needs_no_package_at_all(todoctl: Program) -> None:
    """`--version` works where nothing but Python is installed."""
    hidden = ("typer", "rich", "pydantic", "yaml", "httpx", "platformdirs", "psutil", "filelock")
    assert todoctl.run_without(hidden, "--version").out == f"todoctl {__version__}\n"


def test_a_bug_shows_its_traceback(todoctl: Program) -> None:
    """What is not a known error surfaces as it is: a module of our own that is missing is a bug, not an extra."""
    ended = todoctl.run_without(("todoctl.settings",), "env", "list")
    assert ended.code == 1
    assert ended.err.startswith("Traceback")


def test_help_and_completion_of_names_import_nothing_heavy(todoctl: Program) -> None:
    """`--help` loads neither Rich nor pydantic nor YAML nor HTTP, nor any command."""
    code = """
import sys
from todoctl.__main__ import main
try:
    main()
finally:
    heavy = {"rich", "pydantic", "yaml", "httpx", "asyncio", "psutil", "todoctl.settings", "todoctl.commands"}
    sys.stderr.write(" ".join(sorted(heavy & set(sys.modules))))
"""
    ended = todoctl.run_python(code, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert "Exit codes:" in ended.out


def test_one_command_of_a_group_imports_no_other(todoctl: Program) -> None:
    """`topics tail` begins without what `topics apply` or `lag` need: charts, HTTP, Kubernetes, tables."""
    code = """
import sys
from todoctl.__main__ import main
try:
    main()
finally:
    others = {f"todoctl.commands.topics.{name}" for name in ("apply", "lag", "listing", "produce")}
    heavy = {"rich", "yaml", "httpx", "psutil", "kubernetes", "todoctl.core.values", "todoctl.adapters.chart"}
    sys.stderr.write(" ".join(sorted((heavy | others) & set(sys.modules))))
"""
    ended = todoctl.run_python(code, "topics", "tail", "t", "-f", "-o", "json")
    assert ended.code == 2
    assert ended.err.splitlines() == ["✗ -o json is one array, which -f would never end", "  next: use -o jsonl"]


def test_a_group_knows_its_commands_before_they_are_imported(todoctl: Program) -> None:
    """Its help has them all, and a name that is nearly right gets a suggestion."""
    listed = re.findall(r"^  (\w+) ", todoctl.inside("topics", "--help").out.partition("Commands:")[2], re.MULTILINE)
    assert listed == ["list", "describe", "tail", "lag", "produce", "apply"]
    mistyped = todoctl.inside("topics", "tial")
    assert (mistyped.code, "Did you mean 'tail'?" in mistyped.err) == (2, True)


@pytest.mark.parametrize("arguments", [["env", "list"], ["status"], ["--help"], ["frobnicate"]])
def test_a_pipe_gets_no_terminal_codes(todoctl: Program, arguments: list[str]) -> None:
    """Without a terminal neither stream has an escape byte."""
    ended = todoctl.run(*arguments)
    assert "\x1b" not in ended.out + ended.err


def test_a_terminal_gets_colour_and_no_color_takes_it_away(tmp_path: Path) -> None:
    """On a terminal a failure's glyph is red, unless NO_COLOR is set or the terminal is dumb."""
    command = (sys.executable, "-m", "todoctl", "status")
    coloured = Program(tmp_path, {"TERM": "xterm"}).on_terminal(*command)
    assert coloured.code == 3
    assert "\x1b[31m✗\x1b[0m the environment 'local' is not up" in coloured.out
    for variables in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in Program(tmp_path, variables).on_terminal(*command).out


@pytest.mark.parametrize(
    ("arguments", "buffered"),
    [
        (["--version"], True),
        (["--version"], False),
        (["--help"], False),
        (["env", "list"], True),
        (["env", "list"], False),
    ],
    ids=str,
)
def test_a_reader_that_goes_away_is_no_failure(tmp_path: Path, arguments: list[str], buffered: bool) -> None:
    """`todoctl … | head -1` ends with 0 and says nothing, however Python buffers."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = Program(tmp_path, {"PYTHONUNBUFFERED": "" if buffered else "1"}).run(*arguments, stdout=writing)
    os.close(writing)
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("arguments", [["--version"], ["env", "list"]])
def test_a_result_that_cannot_be_written_is_a_failure(todoctl: Program, arguments: list[str]) -> None:
    """A full disk behind stdout is said, with exit code 1 and without a traceback."""
    with Path("/dev/full").open("w") as full:
        ended = todoctl.run(*arguments, stdout=full)
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert "next: free some space" in ended.err
    assert "Traceback" not in ended.err


def test_the_machine_formats_say_the_same(todoctl: Program) -> None:
    """JSON and JSON lines have the same rows; YAML says the same as JSON."""
    import yaml

    rows = todoctl.inside("env", "list", "-o", "json").json()
    assert [json.loads(line) for line in todoctl.inside("env", "list", "-o", "jsonl").out.splitlines()] == rows
    assert yaml.safe_load(todoctl.inside("env", "list", "-o", "yaml").out) == rows


def test_control_characters_in_arguments_do_not_reach_the_terminal(todoctl: Program) -> None:
    """A name that would steer the terminal is shown in a readable form."""
    ended = todoctl.inside("-e", "\x1b]52;c;eA==\x07\x9b31m", "status")
    assert ended.code == 2
    assert not {"\x1b", "\x07", "\x9b"} & set(ended.err)


def test_arguments_that_are_no_text(todoctl: Program) -> None:
    """A name with bytes that are not UTF-8 is refused like any other wrong name."""
    ended = todoctl.run("-e", os.fsdecode(b"\xff\xfe"), "status")
    assert ended.code == 2
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("home", ["/proc/nothing/here", "/dev/null", "/dev/null/x", "relative", "/" + "x" * 5000])
@pytest.mark.parametrize("command", ["down", "status"])
def test_a_home_that_cannot_be_used_is_said(tmp_path: Path, home: str, command: str) -> None:
    """TODOCTL_HOME that is a file, lies in one, is relative or can't be made ends in a message, never a traceback."""
    ended = Program(tmp_path, {"TODOCTL_HOME": home}).inside(command)
    assert ended.code in {2, 3, 9}
    assert ended.err.startswith("✗ ")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"ports": []}', '{"ports": 5}', '{"ports": {}}', "\xff\x00"]
)
@pytest.mark.parametrize("name", ["state.json", "secrets.json"])
def test_damaged_state_is_said(todoctl: Program, name: str, content: str) -> None:
    """A state file that is cut short or holds something else ends in a message with the way out."""
    folder = todoctl.home / "local"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"ports": {}}')
    (folder / "secrets.json").write_text("{}")
    (folder / name).write_bytes(content.encode("latin-1"))
    ended = todoctl.inside("status")
    assert ended.code in {1, 3}
    assert "todoctl up" in ended.err


def test_purging_data_needs_agreement(todoctl: Program) -> None:
    """Without a terminal and without --yes data stays; with --yes it goes."""
    data = todoctl.home / "local" / "data"
    data.mkdir(parents=True)
    refused = todoctl.inside("down", "--purge")
    assert (refused.code, data.exists()) == (8, True)
    assert "add --yes to agree" in refused.err
    agreed = todoctl.inside("down", "--purge", "--yes")
    assert (agreed.code, data.exists()) == (0, False)
    assert f"data removed {todoctl.home / 'local'}" in agreed.err


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 8), ("\x04", 8)])
def test_a_person_is_asked_on_a_terminal(todoctl: Program, answer: str, code: int) -> None:
    """On a terminal the plan is shown and only `y` or `yes` agrees."""
    data = todoctl.home / "local" / "data"
    data.mkdir(parents=True)
    ended = todoctl.on_terminal(sys.executable, "-m", "todoctl", "down", "--purge", answer=answer)
    assert f"? remove all data of 'local' in {todoctl.home / 'local'}? [y/N]" in ended.out
    assert (ended.code, data.exists()) == (code, code != 0)


def test_closed_stdin_is_no_agreement(todoctl: Program) -> None:
    """With stdin closed a destructive command is refused like without a terminal."""
    (todoctl.home / "local").mkdir(parents=True)
    command = f'exec "{sys.executable}" -m todoctl down --purge <&-'
    ended = todoctl.run_python(f"import os; os.execv('/bin/sh', ['sh', '-c', {command!r}])")
    assert ended.code == 8, ended


def test_an_interrupt_ends_with_130(todoctl: Program) -> None:
    """Ctrl-C during `logs -f` ends with 130; until then each line came at once, also through a pipe."""
    log = todoctl.home / "local" / "log" / "kafka.log"
    log.parent.mkdir(parents=True)
    (todoctl.home / "local" / "state.json").write_text("{}")
    log.write_text("2026-01-01T00:00:00.000Z INFO first\n")
    with todoctl.start("logs", "-f", "kafka") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().endswith("first\n")
        with log.open("a") as stream:
            stream.write("2026-01-01T00:00:01.000Z INFO second\n")
        assert process.stdout.readline().endswith("second\n")
        process.send_signal(signal.SIGINT)
        until(lambda: process.poll() is not None, "the command ended")
        assert (process.returncode, process.stderr.read()) == (130, "✗ interrupted\n")


def test_an_interrupt_before_the_command_is_known_ends_with_130(todoctl: Program) -> None:
    """Ctrl-C while the program is still being imported: no traceback, the same answer."""
    ended = todoctl.run_python(_INTERRUPTED_IMPORT)
    assert (ended.code, ended.err) == (130, "✗ interrupted\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(("command", "code"), [("--version", 0), ("env list", 0), ("status", 3), ("frobnicate", 2)])
def test_a_closed_stream_changes_no_exit_code(todoctl: Program, closed: str, command: str, code: int) -> None:
    """With stdout or stderr closed a command ends with its own exit code and without a traceback."""
    shell = f"{sys.executable} -m todoctl {command} {closed}"
    ended = subprocess.run(
        shell,
        shell=True,
        cwd=todoctl.folder,
        env=todoctl.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == code, ended
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--version", "env list", "env list -o json"])
def test_a_result_that_cannot_be_written_is_said_once(todoctl: Program, command: str, unbuffered: str) -> None:
    """On a full disk, whenever Python sees it."""
    with Path("/dev/full").open("w") as full:
        process = replace(todoctl, variables={"PYTHONUNBUFFERED": unbuffered}).start(*command.split(), stdout=full)
    _, err = process.communicate(timeout=60)
    said = "✗ the result could not be written: No space left on device\n"
    assert (process.returncode, err.count("✗"), err.startswith(said)) == (1, 1, True), err


def test_a_folder_that_is_gone_is_said(todoctl: Program) -> None:
    """The shell stands in it yet."""
    gone = "mkdir gone && cd gone && rmdir ../gone && exec "
    command = ["sh", "-c", f"{gone}{sys.executable} -m todoctl env list"]
    ended = subprocess.run(
        command,
        cwd=todoctl.folder,
        env=todoctl.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert ended.stderr.startswith("✗ the folder that this was called in is gone\n")
