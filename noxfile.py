"""Sessions: `nox` runs the checks and the tests; `nox -s bench` measures; `nox -s lock` renews the lock file."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "tests"]
nox.options.error_on_external_run = True
nox.options.default_venv_backend = "venv"

LOCK = "requirements/dev.lock"
# Extra → what an image installs; the versions are those that the tests run with.
IMAGE_LOCKS = {"services": "requirements/services.lock", "mailsink": "requirements/mailsink.lock"}


def _install(session: nox.Session) -> None:
    """Everything from the lock file, then this checkout as users get it: built and installed."""
    session.install("--require-hashes", "-r", LOCK)
    session.install("--no-deps", "--force-reinstall", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types and import rules."""
    _install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def tests(session: nox.Session) -> None:
    """The whole suite: unit, golden, and live on a real platform that is brought up once."""
    _install(session)
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def web(session: nox.Session) -> None:
    """The page in a real browser; needs Debian's chromium or another Chromium on PATH."""
    _install(session)
    session.run("pytest", "tests/web", *session.posargs)


@nox.session(default=False)
def cluster(session: nox.Session) -> None:
    """The chart and the commands on Kubernetes: ../shared/cluster, or the context that TODOCTL_TEST_CONTEXT names."""
    _install(session)
    session.run("pytest", "tests/cluster", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Speed as ratios, measured side by side in one run."""
    _install(session)
    session.run("pytest", "tests/bench", "--override-ini=testpaths=tests/bench", "-s", *session.posargs)


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Guards of the services taken out of a copy, one at a time: each must be missed by a test."""
    _install(session)
    session.run("pytest", "tests/faults", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write the generated pages and contracts anew."""
    _install(session)
    session.run("python", "docs/generate.py")
    session.run("python", "-m", "services.contracts")


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Renew the lock files from pyproject.toml, with hashes, for every supported Python and platform."""
    session.install("uv")
    _compile(session, "dev", LOCK, "--upgrade")
    for extra, file in IMAGE_LOCKS.items():
        _compile(session, extra, file, "--upgrade", "--constraint", LOCK)


def _compile(session: nox.Session, extra: str, file: str, *options: str) -> None:
    session.run(
        *("uv", "pip", "compile", "--universal", "--generate-hashes", "--extra", extra, "--no-annotate"),
        *("--no-emit-package", "todoctl", "--no-emit-index-url", "--python-version", "3.11"),
        *("--custom-compile-command", "nox -s lock", *options, "-o", file, "pyproject.toml"),
    )
