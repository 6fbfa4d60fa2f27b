"""One profile of Minikube, through its program. What it says is JSON: CloudEvents of what it does, profiles, states, images.

Sources: k8s.io/minikube 1.36: pkg/minikube/out/register, pkg/minikube/reason, cmd/minikube/cmd/{start,status,image}.go.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError

# A name more in the API server's certificate. It stands in the profile's own configuration from the first moment of its
# making, and goes when the profile goes: so a profile of that name which somebody made later is not taken for ours.
MARK = "todoctl.internal"
_EVENT = "io.k8s.sigs.minikube."
_TAIL = 12
_NOT_FOUND = 85


@dataclass(frozen=True)
class Profile:
    """What a profile was made with; memory in MiB."""

    name: str
    cpus: int
    memory: int
    driver: str
    is_ours: bool


@dataclass(frozen=True)
class Minikube:
    """The program, for one profile."""

    program: Path
    profile: str
    environ: Mapping[str, str]

    def found(self) -> Profile | None:
        """The profile, None where there is none."""
        document = _read(self._ask("profile", "list", "--light", "--output=json"))
        for item in (document or {}).get("valid") or []:
            if item["Name"] == self.profile:
                made = item["Config"]
                names = made["KubernetesConfig"].get("APIServerNames") or []
                return Profile(self.profile, made["CPUs"], made["Memory"], made["Driver"], MARK in names)
        return None

    def runs(self) -> bool:
        """Whether a machine of the profile runs, however well."""
        return any(node["Host"] not in {"Stopped", "Nonexistent"} for node in self._nodes())

    def troubles(self) -> tuple[str, ...]:
        """What of the profile's nodes does not run; () where all do and the kubeconfig leads there."""
        wanted = {"Host": "Running", "Kubelet": "Running", "APIServer": "Running", "Kubeconfig": "Configured"}
        nodes = self._nodes()
        found = (
            f"{node['Name']}: {part} {node[part]}"
            for node in nodes
            for part, state in wanted.items()
            if node[part] not in {state, "Irrelevant"}
        )
        return tuple(found) if nodes else ("there is no machine",)

    def _nodes(self) -> list[dict[str, Any]]:
        done = self._ask("status", "--output=json")
        document = None if done.returncode == _NOT_FOUND else _read(done)
        # With one node an object, with several a list; null where the machine itself is gone.
        nodes = [document] if isinstance(document, dict) else document or []
        return [node for node in nodes if "Host" in node]

    def create(self, *, cpus: int, memory: int) -> Iterator[str]:
        """Make the profile and start it; yields what happens.

        Raises:
            MissingError: there is no driver that works.
            RefusedError: the machine has no room for it.
            TodoctlError: it does not start.
        """
        return self._start(f"--cpus={cpus}", f"--memory={memory}m", f"--apiserver-names={MARK}")

    def start(self) -> Iterator[str]:
        """Start the profile that is there as it was made, or repair it; raises what `create` does."""
        return self._start()

    def stop(self) -> Iterator[str]:
        """Stop the profile; its disk stays."""
        return self._work("stop", "--output=json")

    def delete(self) -> Iterator[str]:
        """Remove the profile with all that is in it, and no other one."""
        return self._work("delete", "--output=json")

    def images(self) -> frozenset[str]:
        """The names of all images that the profile's nodes have."""
        done = self._ask("image", "ls", "--format=json")
        if done.returncode:
            raise TodoctlError(
                f"minikube can't say which images the profile {self.profile!r} has",
                detail=_tail(done),
                hint=f"minikube -p {self.profile} status",
            )
        return frozenset(tag for image in _read(done) or [] for tag in image.get("repoTags") or [])

    def load(self, archive: Path) -> None:
        """Load an image's archive into every node that runs. That it worked is only seen by `images`.

        Raises:
            TodoctlError: it said that it did not work.
        """
        done = self._ask("image", "load", str(archive))
        if done.returncode:
            raise TodoctlError(
                f"minikube could not load {archive.name} into the profile {self.profile!r}",
                detail=_tail(done),
                hint=f"minikube -p {self.profile} status",
            )

    def _start(self, *options: str) -> Iterator[str]:
        # Which context kubectl goes by is the user's own matter.
        return self._work("start", *options, "--keep-context", "--interactive=false", "--output=json")

    def _command(self, *words: str) -> list[str]:
        return [str(self.program), *words, f"--profile={self.profile}"]

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*words),
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def _work(self, *words: str) -> Iterator[str]:
        """Run to the end; yields what it tells of, raises with what it says went wrong."""
        events: list[dict[str, str]] = []
        loose: list[str] = []
        with subprocess.Popen(
            self._command(*words),
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                for line in process.stdout or ():
                    event = _event(line)
                    if event is None:
                        loose.append(line.rstrip())
                        continue
                    events.append(event)
                    if told := _told(event):
                        yield told
            except BaseException:
                # Interrupted: what it began is found and ended by the next start.
                process.terminate()
                raise
        if process.returncode:
            raise _failure(words[0], self.profile, process.returncode, events, loose[-_TAIL:])


def _event(line: str) -> dict[str, str] | None:
    """The data of a CloudEvent, with its kind; None for another line."""
    try:
        document = json.loads(line)
        return {**document["data"], "kind": str(document["type"]).removeprefix(_EVENT)}
    except (ValueError, KeyError, TypeError):
        return None


def _told(event: Mapping[str, str]) -> str:
    """What a person wants to know of an event."""
    if event["kind"] == "step":
        return f"{event.get('name', '')}: {event.get('message', '')}".strip(": ")
    if event["kind"] == "download":
        return f"downloading {event.get('artifact', '')}"
    if event["kind"] == "download.progress":
        return f"downloading {event.get('artifact', '')} {float(event.get('progress') or 0):.0%}"
    return event.get("message", "") if event["kind"] == "warning" else ""


def _failure(
    what: str, profile: str, code: int, events: Sequence[Mapping[str, str]], loose: Sequence[str]
) -> TodoctlError:
    """The error for a command that failed; Minikube's reasons have names, and codes by what they are about."""
    error = next((event for event in reversed(events) if event["kind"] == "error"), {})
    name, message = error.get("name", ""), error.get("message", "") or (loose[-1] if loose else f"exit code {code}")
    advice = " ".join(error.get("advice", "").split())
    if name.startswith(("DRV_", "PROVIDER_")) or 50 <= code < 70:
        # It tells of each driver why it can't be used.
        seen = tuple(event["message"] for event in events if event["kind"] == "info" and ": " in event["message"])
        hint = "install or start one of docker, podman, kvm2, qemu2, virtualbox, on a Mac also vfkit or hyperkit"
        return MissingError(
            f"Minikube has no driver that it can use: {message}",
            detail=seen or tuple(loose),
            hint=f"{advice + '; or ' if advice else ''}{hint}; MINIKUBE_DRIVER=NAME chooses; "
            f"{error.get('url') or 'https://minikube.sigs.k8s.io/docs/drivers/'}",
        )
    # What docker was given too little of is a matter of usage there.
    if name.startswith("RSRC_") or "has only" in message:
        hint = advice or "end what takes the room, or give docker more"
        return RefusedError(f"there is no room for the profile {profile!r}: {message}", hint=hint)
    if name.startswith("INET_") or 40 <= code < 50:
        hint = advice or "see whether this machine reaches the internet; MINIKUBE_… and proxies: minikube start --help"
        return UnhealthyError(f"minikube {what} could not fetch what it needs: {message}", hint=hint)
    return TodoctlError(
        f"minikube {what} failed: {message}", detail=tuple(loose), hint=advice or f"minikube logs -p {profile}"
    )


def _read(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON document on stdout, None where it is none; CloudEvents of an error are several."""
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None


def _tail(done: subprocess.CompletedProcess[str]) -> tuple[str, ...]:
    """Its last words, without the frame that it draws around them."""
    lines = [line.strip(" │╭╮╰╯─*") for line in (done.stdout + done.stderr).splitlines()]
    return tuple(line for line in lines if line)[:_TAIL]
