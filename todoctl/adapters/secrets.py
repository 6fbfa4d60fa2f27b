"""Secrets, read from where their references say; a secret is never part of a message."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from todoctl.errors import MissingError, TodoctlError, UsageError
from todoctl.settings import SecretReference


@dataclass(frozen=True)
class Secrets:
    """Where references are looked up: these variables, the file system, this namespace of this Kubernetes context."""

    environ: Mapping[str, str]
    context: str | None = None
    namespace: str | None = None

    def read(self, reference: SecretReference, base: Path) -> str:
        """The secret, without the line end that an editor left; a relative file lies below `base`.

        Raises:
            UsageError: there is no such variable, file or key, or it is empty.
            MissingError: Kubernetes can't be asked, or does not allow it.
        """
        if reference.env is not None:
            found, what = self.environ.get(reference.env, ""), f"the variable {reference.env}"
        elif reference.file is not None:
            path = base / reference.file.expanduser()
            found, what = _file(path), f"the file {path}"
        else:
            found, what = self._key(str(reference.kubernetes)), f"the Kubernetes secret {reference.kubernetes}"
        secret = found.rstrip("\r\n")
        if not secret:
            raise UsageError(f"{what}, which should hold a secret, is missing or empty", hint="todoctl env show")
        return secret

    def _key(self, reference: str) -> str:
        try:
            from kubernetes import client, config
            from kubernetes.client import ApiException
            from kubernetes.config import ConfigException
            from urllib3.exceptions import HTTPError
        except ModuleNotFoundError as error:
            raise MissingError(
                f"the secret {reference} is in Kubernetes, whose client is not installed",
                hint="pip install 'todoctl[kubernetes]'",
            ) from error
        name, _, key = reference.partition("/")
        try:
            api = client.CoreV1Api(config.new_client_from_config(context=self.context))  # type: ignore[no-untyped-call]
            held = api.read_namespaced_secret(name, self.namespace or "default", _request_timeout=10).data or {}
            return base64.b64decode(held.get(key, "")).decode()
        except ConfigException as error:
            raise MissingError(f"the secret {reference} can't be read: {error}", hint="kubectl config view") from error
        except ApiException as error:
            kind = MissingError if error.status in {401, 403} else UsageError
            raise kind(
                f"Kubernetes does not give the secret {reference}: {error.status} {error.reason}",
                hint=f"kubectl get secret {name} -n {self.namespace or 'default'}",
            ) from error
        except (HTTPError, OSError) as error:
            raise TodoctlError(
                f"Kubernetes can't be reached for the secret {reference}", hint="todoctl doctor"
            ) from error


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the file {path}, which should hold a secret, is not text", hint="todoctl env show"
        ) from error
