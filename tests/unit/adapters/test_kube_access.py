"""Which cluster a context means, and how it is refused in clear words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from todoctl.adapters.kube.access import access, is_excepted
from todoctl.errors import MissingError, UsageError


def config(folder: Path, **changes: object) -> Path:
    """A kubeconfig with the contexts `here` and `there`."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}.test:80"}} for name in ("here", "there")],
        "users": [{"name": "me", "user": {"token": "secret-token"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in ("here", "there")],
        "current-context": "here",
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump({**document, **changes}))
    return path


def test_the_current_context_is_the_default(tmp_path: Path) -> None:
    """What kubectl would use is used, and the token is no part of how it is shown."""
    found = access({"KUBECONFIG": str(config(tmp_path))})
    assert (found.context, found.server) == ("here", "http://here.test:80")
    assert found.headers() == {"authorization": "Bearer secret-token"}
    assert "secret-token" not in repr(found)


def test_a_context_by_name(tmp_path: Path) -> None:
    """A named context wins over the current one."""
    found = access({"KUBECONFIG": str(config(tmp_path))}, "there")
    assert (found.context, found.server) == ("there", "http://there.test:80")


@pytest.mark.parametrize("current", ["", "gone", None])
def test_a_context_by_name_where_none_is_the_current_one(tmp_path: Path, current: str | None) -> None:
    """As after a Minikube was started for todoctl alone, or another one was stopped."""
    found = access({"KUBECONFIG": str(config(tmp_path, **{"current-context": current}))}, "there")
    assert found.context == "there"
    with pytest.raises(UsageError, match="can't be used"):
        access({"KUBECONFIG": str(config(tmp_path, **{"current-context": current}))})


def test_an_unknown_context_is_named_with_those_there_are(tmp_path: Path) -> None:
    """The message helps to choose."""
    with pytest.raises(UsageError, match="no context 'nowhere'; there are: here, there"):
        access({"KUBECONFIG": str(config(tmp_path))}, "nowhere")


def test_no_kubeconfig(tmp_path: Path) -> None:
    """The message says where it was looked for."""
    with pytest.raises(UsageError, match=f"there is no kubeconfig \\({tmp_path}/none\\)"):
        access({"KUBECONFIG": f"{tmp_path}/none"})


@pytest.mark.parametrize(
    "text", ["", "]", "- a\n", "contexts: 3\n", "contexts: []\n", "current-context: x\ncontexts:\n"]
)
def test_a_damaged_kubeconfig(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with the file, it is named."""
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(UsageError, match=str(path)):
        access({"KUBECONFIG": str(path)})


def test_a_missing_authority_file(tmp_path: Path) -> None:
    """A file that the kubeconfig refers to is named."""
    cluster = {"server": "https://here.test", "certificate-authority": str(tmp_path / "ca.crt")}
    path = config(tmp_path, clusters=[{"name": "here", "cluster": cluster}])
    with pytest.raises(UsageError, match=r"'here' of .*ca\.crt"):
        access({"KUBECONFIG": str(path)})


@pytest.mark.parametrize("server", ["", "ftp://x", "https://host:notaport", "https://a b:1", "https://"])
def test_a_server_that_is_no_url(tmp_path: Path, server: str) -> None:
    """It is the kubeconfig that is wrong, and not the cluster that is away."""
    path = config(tmp_path, clusters=[{"name": "here", "cluster": {"server": server}}])
    with pytest.raises(UsageError, match=r"'here' of .*: its server is no http:// or https:// URL"):
        access({"KUBECONFIG": str(path)})


def test_a_proxy_that_is_no_url_is_not_repeated(tmp_path: Path) -> None:
    """It may hold a password."""
    cluster = {"server": "http://here.test:80", "proxy-url": "socks://me:hidden@x"}
    path = config(tmp_path, clusters=[{"name": "here", "cluster": cluster}])
    with pytest.raises(UsageError, match="its proxy is no http:// or https:// URL") as caught:
        access({"KUBECONFIG": str(path)})
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "arguments", "word"),
    [
        ("no-such-plugin", [], "No such file or directory: 'no-such-plugin'"),
        ("sh", ["-c", "echo a token; echo log in again >&2; exit 1"], "exec: process returned 1. log in again"),
        ("echo", ["hello"], "exec: failed to decode process output: Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_login_that_does_not_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, arguments: list[str], word: str
) -> None:
    """It is told by its own words, once, before the cluster is asked by nobody in particular."""
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": arguments}
    path = config(tmp_path, users=[{"name": "me", "user": {"exec": plugin}}])
    with pytest.raises(MissingError, match=f"the login that the context 'here' of {path} names") as caught:
        access({"KUBECONFIG": str(path)})
    assert [line for line in caught.value.detail if line.endswith(word)] == list(caught.value.detail) != []
    assert capfd.readouterr() == ("", "")


def test_a_login_that_works_no_more(tmp_path: Path) -> None:
    """A token that has ended is fetched anew, and a plugin that can't is told as at the beginning."""
    (tmp_path / "once").touch()
    token = {"token": "first", "expirationTimestamp": "2001-01-01T00:00:00Z"}
    version = "client.authentication.k8s.io/v1"
    said = json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": token})
    plugin = {"apiVersion": version, "command": "sh", "args": ["-c", f"rm {tmp_path}/once && echo '{said}'"]}
    found = access({"KUBECONFIG": str(config(tmp_path, users=[{"name": "me", "user": {"exec": plugin}}]))})
    with pytest.raises(MissingError, match="does not work"):
        found.headers()


@pytest.mark.parametrize("token", ["hidden\nX: y", "hiddené"])
def test_a_token_that_is_none_is_not_repeated(tmp_path: Path, token: str) -> None:
    """The client of HTTP would say all of it, or end with a traceback."""
    found = access({"KUBECONFIG": str(config(tmp_path, users=[{"name": "me", "user": {"token": token}}]))})
    with pytest.raises(UsageError, match=r"the token of the context 'here' of .* has characters") as caught:
        found.headers()
    assert "hidden" not in str(caught.value)


def test_a_way_to_log_in_that_is_gone(tmp_path: Path) -> None:
    """Kubernetes' client ends with an error of its own there."""
    user = {"auth-provider": {"name": "gcp", "config": {}}}
    path = config(tmp_path, users=[{"name": "me", "user": user}])
    with pytest.raises(UsageError, match=r"can make nothing of the context 'here' of "):
        access({"KUBECONFIG": str(path)})


def test_several_files_are_one_configuration(tmp_path: Path) -> None:
    """As kubectl joins them."""
    (tmp_path / "more").mkdir()
    first = config(tmp_path, contexts=[])
    second = config(tmp_path / "more")
    assert access({"KUBECONFIG": f"{first}:{second}"}, "there").server == "http://there.test:80"


@pytest.mark.parametrize(
    ("host", "no_proxy", "answer"),
    [
        ("10.99.0.2", "10.99.0.2", True),
        ("10.99.0.2", "localhost, 10.99.0.0/24", True),
        ("10.99.1.2", "10.99.0.0/24", False),
        ("api.cluster.test", ".cluster.test", True),
        ("api.cluster.test", "cluster.test", True),
        ("mycluster.test", "cluster.test", False),
        ("anything", "*", True),
        ("anything", "", False),
    ],
)
def test_who_is_excepted_from_the_proxy(host: str, no_proxy: str, answer: bool) -> None:
    """As kubectl reads NO_PROXY."""
    assert is_excepted(host, no_proxy) is answer


def test_the_environments_proxy_is_used_unless_the_server_is_excepted(tmp_path: Path) -> None:
    """The kubeconfig's own is always used."""
    cluster = {"server": "http://here.test:80", "proxy-url": "http://own.test:3128"}
    own = config(tmp_path, clusters=[{"name": "here", "cluster": cluster}])
    assert access({"KUBECONFIG": str(own), "NO_PROXY": "*"}).proxy == "http://own.test:3128"
