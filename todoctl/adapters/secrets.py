"""Secrets, read from where their references say; a secret is never part of a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from todoctl.errors import UsageError
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
            MissingError: Kubernetes does not allow it.
            UnhealthyError: the cluster can't be reached, or has no such Secret.
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
        # Most environments have no such reference, and the client takes its time to be imported.
        from todoctl.adapters.kube.access import access
        from todoctl.adapters.kube.api import Kube

        if not self.context:
            raise UsageError(
                f"the secret {reference} is in Kubernetes, and the environment names no context",
                hint='add context = "…" to the environment in todoctl.toml; kubectl config get-contexts',
            )
        name, _, key = reference.partition("/")
        with Kube(access(self.environ, self.context), self.namespace or "default") as kube:
            return kube.secret(name).get(key, "")


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the file {path}, which should hold a secret, is not text", hint="todoctl env show"
        ) from error
