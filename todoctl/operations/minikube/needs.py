"""What a Minikube takes on this machine, looked for before anything is begun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters import image_builders
from todoctl.adapters.image_builders import Builder
from todoctl.adapters.minikube import Minikube
from todoctl.errors import MissingError, UsageError
from todoctl.operations import tools
from todoctl.settings import Settings


@dataclass(frozen=True)
class Needs:
    """What was found."""

    minikube: Minikube
    helm: Path
    builder: Builder


def require(settings: Settings, environ: Mapping[str, str]) -> Needs:
    """All that `up` needs.

    Raises:
        MissingError: something is not there; each of it with how to get it.
    """
    found = {name: tools.find(name, settings.cache, environ=environ) for name in ("minikube", "helm")}
    lacking = [
        (f"{name} is not on this machine", f"todoctl tools install {name}") for name, tool in found.items() if not tool
    ]
    builder = None
    try:
        builder = image_builders.find(environ)
    except MissingError as error:
        lacking.append((error.message, error.hint))
    helm, tool = found["helm"], found["minikube"]
    if builder is None or helm is None or tool is None:
        raise MissingError(
            f"a Minikube needs what is not here: {'; '.join(what for what, _ in lacking)}",
            hint="; ".join(how for _, how in lacking),
        )
    return Needs(Minikube(tool.path, profile_name(settings), environ), helm.path, builder)


def minikube(settings: Settings, environ: Mapping[str, str]) -> Minikube:
    """The environment's profile.

    Raises:
        MissingError: minikube is not there.
    """
    tool = tools.find("minikube", settings.cache, environ=environ)
    if tool is None:
        raise MissingError("minikube is not on this machine", hint="todoctl tools install minikube")
    return Minikube(tool.path, profile_name(settings), environ)


def profile_name(settings: Settings) -> str:
    """The profile is called as the context that it gets.

    Raises:
        UsageError: the environment names none.
    """
    if not settings.environment.context:
        raise UsageError(
            f"the environment {settings.name!r} names no context, which is the profile's name",
            hint=f'add context = "…" to [environments.{settings.name}] in todoctl.toml',
        )
    return settings.environment.context
