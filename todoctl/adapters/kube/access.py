"""Who is meant by a context of a kubeconfig: the server, how it proves itself, and how we do."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from todoctl.errors import MissingError, UsageError


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


def access(environ: Mapping[str, str], context: str | None = None) -> Access:
    """The kubeconfig's context, the current one by default.

    Raises:
        UsageError: there is no kubeconfig, it is damaged, or it has no such context.
        MissingError: Kubernetes' client is not installed.
    """
    try:
        from kubernetes import client, config
        from kubernetes.config import ConfigException
    except ModuleNotFoundError as error:
        raise MissingError("Kubernetes' client is not installed", hint="pip install 'todoctl[kubernetes]'") from error
    files = environ.get("KUBECONFIG") or "~/.kube/config"
    known, current = _contexts(files)
    if context is not None and context not in known:
        raise UsageError(
            f"the kubeconfig ({files}) has no context {context!r}; there are: {', '.join(known)}",
            hint="kubectl config get-contexts; todoctl env show",
        )
    found = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=files, context=context, client_configuration=found, persist_config=True
        )
        tls = _tls(found) if found.host.startswith("https") else None
    except (ConfigException, OSError, ValueError) as error:
        raise UsageError(
            f"the context {context or current!r} of {files} can't be used: {error}", hint="kubectl config view"
        ) from error
    return Access(
        context=context or current,
        server=found.host,
        authorization=lambda: _authorization(found),
        tls=tls,
        server_name=found.tls_server_name or "",
        proxy=found.proxy,
    )


def _authorization(found: Any) -> str:
    """The header's value; a token that has ended is fetched anew by the kubeconfig's own means."""
    return str(found.auth_settings().get("BearerToken", {}).get("value") or "")


def _contexts(files: str) -> tuple[list[str], str]:
    from kubernetes import config
    from kubernetes.config import ConfigException
    from yaml import YAMLError

    try:
        contexts, current = config.list_kube_config_contexts(config_file=files)  # type: ignore[no-untyped-call]
    except (ConfigException, YAMLError, OSError, AttributeError, TypeError, ValueError) as error:
        there = any(Path(path).expanduser().exists() for path in files.split(os.pathsep) if path)
        what = f"the kubeconfig ({files}) can't be used: {error}" if there else f"there is no kubeconfig ({files})"
        raise UsageError(what, hint="export KUBECONFIG=FILE, or make one: kubectl config view") from error
    return [str(item["name"]) for item in contexts], str(current["name"])


def _tls(found: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=found.ssl_ca_cert or None)
    if found.assert_hostname is False or not found.verify_ssl:
        context.check_hostname = False
    if not found.verify_ssl:
        context.verify_mode = ssl.CERT_NONE
    if found.cert_file:
        context.load_cert_chain(found.cert_file, found.key_file)
    return context
