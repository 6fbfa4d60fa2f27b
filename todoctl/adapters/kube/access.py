"""Who is meant by a context of a kubeconfig: the server, how it proves itself, and how we do."""

from __future__ import annotations

import ipaddress
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from todoctl.errors import MissingError, UsageError

_HINT = "export KUBECONFIG=FILE, or make one: kubectl config view"


@dataclass(frozen=True)
class Access:
    """How to reach the server of a context; what `authorization` gives is a secret."""

    context: str
    server: str
    authorization: Callable[[], str] = field(repr=False, default=lambda: "")
    tls: ssl.SSLContext | None = field(repr=False, default=None)
    server_name: str = ""
    proxy: str | None = None

    def headers(self) -> dict[str, str]:
        """What says who we are; a token that has ended is fetched anew."""
        token = self.authorization()
        return {"authorization": token} if token else {}


def access(environ: Mapping[str, str], context: str | None = None, *, hint: str = "") -> Access:
    """The kubeconfig's context, the current one by default; `hint` is what makes it, where it is not there.

    Raises:
        UsageError: there is no kubeconfig, it is damaged, or it has no such context.
        MissingError: Kubernetes' client is not installed, or the plugin that logs in is not, or can't.
    """
    files = environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        known, current = _contexts(files, hint or _HINT)
    except ModuleNotFoundError as error:
        raise MissingError("Kubernetes' client is not installed", hint="pip install 'todoctl[kubernetes]'") from error
    if context is not None and context not in known:
        raise UsageError(
            f"the kubeconfig ({files}) has no context {context!r}; there are: {', '.join(known) or 'none'}",
            hint=hint or "kubectl config get-contexts; todoctl env show",
        )
    name = context or current
    found, tls, proxy = _loaded(environ, files, context, name)
    return Access(
        context=name,
        server=found.host,
        authorization=lambda: _authorization(found, name, files),
        tls=tls,
        server_name=found.tls_server_name or "",
        proxy=proxy,
    )


def _loaded(
    environ: Mapping[str, str], files: str, context: str | None, name: str
) -> tuple[Any, ssl.SSLContext | None, str | None]:
    """What Kubernetes' client makes of a context, with the TLS and the proxy to its server."""
    from kubernetes import client, config
    from kubernetes.config import ConfigException

    found = client.Configuration()
    try:
        with _said() as said:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                config_file=files, context=context, client_configuration=found, persist_config=True
            )
        proxy = _proxy(found, environ)
        _require_url("server", found.host)
        if proxy:
            _require_url("proxy", proxy)
        tls = _tls(found) if found.host.startswith("https") else None
    except (AttributeError, KeyError, TypeError) as error:
        # The client's own words for an entry that it does not expect, such as an auth-provider that is gone.
        raise UsageError(
            f"Kubernetes' client can make nothing of the context {name!r} of {files}: {error}",
            hint="kubectl config view",
        ) from error
    except (ConfigException, OSError, ValueError) as error:
        raise UsageError(
            f"the context {name!r} of {files} can't be used: {error}", hint="kubectl config view"
        ) from error
    _require_login(said, name, files)
    return found, tls, proxy


def _authorization(found: Any, context: str, files: str) -> str:
    """The header's value; a token that has ended is fetched anew by the kubeconfig's own means."""
    with _said() as said:
        token = str(found.auth_settings().get("BearerToken", {}).get("value") or "")
    _require_login(said, context, files)
    if not (token.isascii() and token.isprintable()):
        # httpx would repeat all of it.
        raise UsageError(
            f"the token of the context {context!r} of {files} has characters that no token can have",
            hint="kubectl config view",
        )
    return token


def _require_login(said: list[str], context: str, files: str) -> None:
    """Return when nothing was said against a login.

    The client would go on as nobody, and the server's answer to that says less than the plugin did.
    """
    if said:
        raise MissingError(
            f"the login that the context {context!r} of {files} names does not work",
            detail=tuple(line for words in said for line in words.splitlines() if line.strip()),
            hint="install it or log in to the cluster's provider; then kubectl auth whoami",
        )


@contextmanager
def _said() -> Iterator[list[str]]:
    """What Kubernetes' client tells the root logger and nobody else: that a plugin for the login failed, and why."""
    words: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield words
    finally:
        root.removeHandler(handler)


def _require_url(what: str, url: str) -> None:
    """Raises ValueError where nothing can be asked by this URL; what may be a password in it is not repeated."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right or " " in url:
        raise ValueError(f"its {what} is no http:// or https:// URL")


def _contexts(files: str, hint: str) -> tuple[list[str], str]:
    """The names of all contexts, and of the current one: "" where there is none, as after its Minikube was stopped."""
    from kubernetes.config import ConfigException
    from kubernetes.config.kube_config import KubeConfigMerger
    from yaml import YAMLError

    try:
        merged = KubeConfigMerger(files).config  # type: ignore[no-untyped-call]
        if merged is None:
            raise UsageError(f"there is no kubeconfig ({files})", hint=hint)
        names = [str(item.value["name"]) for item in merged.value["contexts"]]
        return names, str(merged.value.get("current-context") or "")
    except (ConfigException, YAMLError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"the kubeconfig ({files}) can't be used: {error}", hint=_HINT) from error


def _proxy(found: Any, environ: Mapping[str, str]) -> str | None:
    """The proxy to the server: the kubeconfig's own, or the environment's unless NO_PROXY excepts the server."""
    names = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
    excepted = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    is_environments = found.proxy in {environ.get(name) for name in names}
    host = urlsplit(found.host).hostname or ""
    return None if is_environments and is_excepted(host, excepted) else found.proxy


def is_excepted(host: str, no_proxy: str) -> bool:
    """Whether a NO_PROXY excepts the host: by `*`, its name, a domain that it is in, its address, or a network."""
    for entry in filter(None, (item.strip().lower() for item in no_proxy.split(","))):
        name = entry.lstrip(".")
        if entry == "*" or host == name or host.endswith(f".{name}"):
            return True
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def _tls(found: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=found.ssl_ca_cert or None)
    if found.assert_hostname is False or not found.verify_ssl:
        context.check_hostname = False
    if not found.verify_ssl:
        context.verify_mode = ssl.CERT_NONE
    if found.cert_file:
        context.load_cert_chain(found.cert_file, found.key_file)
    return context
