"""Settings: environments from todoctl.toml, environment variables and flags, each value with where it came from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from todoctl.errors import UsageError

HOME_VARIABLE = "TODOCTL_HOME"  # where state lives, one folder per environment
CACHE_VARIABLE = "TODOCTL_CACHE"  # where downloaded and built programs live, shared by all checkouts
CONFIG_VARIABLE = "TODOCTL_CONFIG"  # the configuration file
ENVIRONMENT_VARIABLE = "TODOCTL_ENVIRONMENT"  # the environment, where -e does not say it

FILE_NAME = "todoctl.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SecretReference(_Section):
    """Where a secret is: an environment variable, a file, or a key of a Kubernetes Secret. Never the secret itself."""

    env: str | None = None
    file: Path | None = None
    kubernetes: Annotated[str | None, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")] = None

    @model_validator(mode="before")
    @classmethod
    def _no_plain_secret(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(
                'secrets are given by reference only: { env = "NAME" }, { file = "PATH" } or { kubernetes = "SECRET/KEY" }'
            )
        if isinstance(value, dict) and len(value) != 1:
            raise ValueError("a secret reference has exactly one of env, file, kubernetes")
        return value


class KafkaSettings(_Section):
    """How to reach an outside broker."""

    bootstrap: Annotated[str, Field(pattern=r"^[^\s,/]+(\s*,\s*[^\s,/]+)*$")]  # HOST:PORT, several with commas
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "SASL_SSL"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: SecretReference | None = None
    password: SecretReference | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class Environment(_Section):
    """One environment: what kind it is and how to reach it."""

    kind: Literal["local", "minikube", "kubernetes"]
    context: str | None = None
    namespace: str | None = None
    values: tuple[Path, ...] = ()
    kafka: KafkaSettings | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Environment:
        if self.kind == "local" and (self.context or self.namespace or self.kafka):
            raise ValueError("a local environment has no context, namespace or kafka: it runs on this machine")
        return self


class ConfigFile(_Section):
    """The whole of todoctl.toml."""

    default_environment: str | None = None
    environments: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")], Environment] = {}


BUILT_IN: dict[str, Environment] = {
    "local": Environment(kind="local"),
    "minikube": Environment(
        kind="minikube", context="minikube", namespace="todo-app-dev", values=(Path("values-local.yaml"),)
    ),
    "cloud": Environment(kind="kubernetes", namespace="todo-app-prod", values=(Path("values-cloud.yaml"),)),
}


@dataclass(frozen=True)
class Settings:
    """Everything a command needs to know about where it works; `origins` says where each value came from."""

    name: str
    environment: Environment
    home: Path
    cache: Path
    chart: Path
    origins: Mapping[str, str] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        """The folder that holds this environment's state."""
        return self.home / self.name

    @property
    def base(self) -> Path:
        """The folder that relative paths of the environment start from: the configuration file's."""
        origin = Path(self.origins.get(f"environments.{self.name}", ""))
        return origin.parent if origin.is_file() else Path.cwd()

    def require_context(self) -> str:
        """The environment's context of the kubeconfig.

        Raises:
            UsageError: it names none, and the one that kubectl used last may be any cluster.
        """
        if not self.environment.context:
            raise UsageError(
                f"the environment {self.name!r} names no context, and the one that kubectl used last is never taken",
                hint=f'add context = "…" to [environments.{self.name}] in todoctl.toml; kubectl config get-contexts',
            )
        return self.environment.context

    @property
    def brings_context(self) -> str:
        """The command that brings the environment's context, "" where others make it."""
        return f"todoctl -e {self.name} up" if self.environment.kind == "minikube" else ""

    def file(self, path: Path) -> str:
        """A file that the environment names.

        Raises:
            UsageError: it is not there.
        """
        found = self.base / path.expanduser()
        if not found.is_file():
            raise UsageError(
                f"the environment {self.name!r} names the file {found}, which is not there", hint="todoctl env show"
            )
        return str(found)


def load(
    environ: Mapping[str, str], *, cwd: Path, environment: str | None = None, config: Path | None = None
) -> Settings:
    """The settings for this call: flag before variable before project file before user file before default.

    Raises:
        UsageError: a file can't be read or does not fit its schema, or the environment is not defined.
    """
    environments = dict(BUILT_IN)
    origins = {f"environments.{name}": "built in" for name in BUILT_IN}
    chosen, chosen_from = "local", "default"
    for path in _files(environ, cwd, config):
        parsed = _read(path)
        environments |= parsed.environments
        origins |= {f"environments.{name}": str(path) for name in parsed.environments}
        if parsed.default_environment:
            chosen, chosen_from = parsed.default_environment, f"{path}: default_environment"
    if from_variable := environ.get(ENVIRONMENT_VARIABLE):
        chosen, chosen_from = from_variable, ENVIRONMENT_VARIABLE
    if environment:
        chosen, chosen_from = environment, "-e"
    if chosen not in environments:
        raise UsageError(
            f"no environment is called {chosen!r} (from {chosen_from}); there are: {', '.join(environments)}",
            hint="todoctl env list",
        )
    home, origins["home"] = _folder(environ, HOME_VARIABLE, "data")
    cache, origins["cache"] = _folder(environ, CACHE_VARIABLE, "cache")
    chart, origins["chart"] = _chart()
    return Settings(
        chosen, environments[chosen], home, cache, chart, origins | {"environment": chosen_from}, environments
    )


def _files(environ: Mapping[str, str], cwd: Path, config: Path | None) -> list[Path]:
    """The files to read, the weakest first."""
    import platformdirs

    explicit = config or (Path(value) if (value := environ.get(CONFIG_VARIABLE)) else None)
    if explicit is not None:
        if not explicit.is_file():
            raise UsageError(f"there is no configuration file {explicit}", hint="todoctl env list")
        return [explicit]
    user = platformdirs.user_config_path("todoctl") / FILE_NAME
    project = next((folder / FILE_NAME for folder in (cwd, *cwd.parents) if (folder / FILE_NAME).is_file()), None)
    return [path for path in (user, project) if path is not None and path.is_file()]


def _read(path: Path) -> ConfigFile:
    try:
        text = path.read_text(encoding="utf-8")
        return ConfigFile.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} can't be read: {error}", hint="todoctl env list") from error
    except ValidationError as error:
        detail = tuple(_explain(text, item["loc"], item["msg"]) for item in error.errors())
        raise UsageError(f"{path} does not fit its schema", detail=detail, hint=f"mend {path}") from error
    except (ValueError, RecursionError) as error:
        # Beside its own error the parser lets the limits of Python's numbers and stack through.
        raise UsageError(f"{path} is not TOML: {error}", hint=f"mend {path}") from error


def _explain(text: str, location: tuple[int | str, ...], message: str) -> str:
    """`line N: key: message`; the line is the one that names the most of the location."""
    wanted = tuple(str(part) for part in location if part != "[key]")
    number = best = 0
    header: tuple[str, ...] = ()
    for position, line in enumerate(text.splitlines(), 1):
        header, path = _named(line.strip(), header)
        if len(path) > best and wanted[: len(path)] == path:
            number, best = position, len(path)
    name = ".".join(wanted)
    message = message.removeprefix("Value error, ")
    return f"line {number}: {name}: {message}" if number else f"{name}: {message}"


def _named(line: str, header: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The header that holds from this line of TOML on, and the path that the line names; () where it names none."""
    if line.startswith("["):
        header = _keys(line.strip("[").partition("]")[0])
        return header, header
    key, equals, _ = line.partition("=")
    return header, (*header, *_keys(key)) if equals else ()


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _folder(environ: Mapping[str, str], variable: str, kind: str) -> tuple[Path, str]:
    if value := environ.get(variable):
        path = Path(value).expanduser()
        if not path.is_absolute():
            raise UsageError(
                f"{variable} must be an absolute path, it is {value!r}", hint=f"export {variable}=/some/folder"
            )
        if not next(part for part in (path, *path.parents) if part.exists()).is_dir():
            raise UsageError(
                f"{variable} must be a folder, {path} is or lies in a file", hint=f"export {variable}=/some/folder"
            )
        return path, variable
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root, and the user it runs as can't look into /root.
        return Path({"data": "/var/lib/todoctl", "cache": "/var/cache/todoctl"}[kind]), "default for root"
    import platformdirs

    folders = {"data": platformdirs.user_data_path("todoctl"), "cache": platformdirs.user_cache_path("todoctl")}
    return folders[kind], "default"


def _chart() -> tuple[Path, str]:
    package = Path(__file__).resolve().parent
    if (checkout := package.parent / "chart").is_dir():
        return checkout, "checkout"
    return package / "_chart", "installed package"
