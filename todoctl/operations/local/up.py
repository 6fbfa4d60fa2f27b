"""Brings the environment up: installs what is missing, starts every part as soon as it can, and proves each one."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoctl.adapters import migrations, postgres
from todoctl.adapters.kafka import topics
from todoctl.adapters.processes import identity, supervisor
from todoctl.adapters.release_store import Store
from todoctl.core.parts import OWNER_ROLE, java_command, roles, sidecar_name
from todoctl.core.site import Folders
from todoctl.core.topics import wanted_topics
from todoctl.core.values import Values
from todoctl.errors import MissingError, TodoctlError
from todoctl.operations import tools
from todoctl.operations.local import readiness, running, state
from todoctl.operations.local.assembly import Assembly, write_if_changed
from todoctl.operations.steps import Step, StepEvent, Tell, run_steps
from todoctl.settings import Settings

Run = Callable[[Tell], str]

# Tool → the name under which the parts know it.
_PROGRAMS = {
    "jre": "java",
    "kafka": "kafka_jars",
    "postgresql": "postgres",
    "daprd": "daprd",
    "scheduler": "scheduler",
    "socket.io-client": "web_vendor",
}


@dataclass
class Up:
    """One `up`: what it works on, and what it has changed so far."""

    settings: Settings
    assembly: Assembly
    seconds: float
    moved_ports: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)
    found: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    @property
    def values(self) -> Values:
        """The chart's values."""
        return self.assembly.values

    @property
    def state(self) -> state.State:
        """The environment's state."""
        return self.assembly.state

    def find_programs(self) -> None:
        """Use the tools that are installed, without installing any."""
        for tool, program in _PROGRAMS.items():
            if found := tools.find(tool, self.settings.cache, environ=self.assembly.environ):
                self.assembly.programs[program] = found.path
                self.found[tool] = found.version

    def versions(self) -> dict[str, str]:
        """Part → version of the program that it runs, as far as it is known."""
        by_kind = {"database": "postgresql", "broker": "kafka", "scheduler": "scheduler", "sidecar": "daprd"}
        tools_of = {part.name: by_kind.get(part.kind, "") for part in self.assembly.parts.values()}
        return {name: self.found[tool] for name, tool in tools_of.items() if tool in self.found}

    def steps(self) -> Iterator[StepEvent]:
        """Bring everything up; yields what happens.

        Raises:
            TodoctlError: a tool is missing, a part does not get ready; the first one that failed.
        """
        yield from run_steps(_steps(self))
        readiness.check_alive(self.state, self.pids)


def begin(settings: Settings, values: Values, environ: Mapping[str, str], *, seconds: float) -> Up:
    """Prepare the state, end what a killed supervisord left, and have supervisord run with today's configuration.

    Raises:
        TodoctlError: the release that should run is not as it was made.
    """
    code = running.verified_code(settings)
    alive = False
    if state.exists(settings):
        with supervisor.connect(Folders(settings.state)) as control:
            alive = control.is_alive()
    if not alive:
        identity.end(identity.survivors(settings.state), seconds=5)
    recorded, moved = state.prepare(settings, values, keep_ports=alive)
    up = Up(settings, Assembly(values, recorded, environ, Path(sys.executable), code), seconds, moved)
    config, changed = up.assembly.write_supervisor_config()
    if not alive:
        supervisor.start_daemon(recorded.folders, config, up.assembly.base_environ)
        up.started.append("supervisord")
    elif changed:
        with supervisor.connect(recorded.folders) as control:
            control.reload()
    return up


def look(settings: Settings, values: Values, recorded: state.State, environ: Mapping[str, str]) -> Up:
    """The environment as it was brought up, to look at: nothing is started or written."""
    code = Store(settings.state).running().code
    up = Up(settings, Assembly(values, recorded, environ, Path(sys.executable), code), seconds=0)
    up.find_programs()
    return up


def _steps(up: Up) -> list[Step]:
    # The scheduler comes out of daprd's build: started together, one would only wait for the other.
    after = {"scheduler": frozenset({"tool daprd"})}
    steps = [Step(f"tool {name}", _tool(up, name), after.get(name, frozenset())) for name in _PROGRAMS]
    parts = up.assembly.parts
    steps += [
        Step("postgres", _postgres(up), frozenset({"tool postgresql"})),
        Step("kafka", _kafka(up), frozenset({"tool jre", "tool kafka"})),
        Step("topics", _topics(up), frozenset({"kafka"})),
        Step("schema", _schema(up), frozenset({"postgres"})),
    ]
    if "scheduler" in parts:
        steps.append(Step("scheduler", starter(up, "scheduler"), frozenset({"tool scheduler"})))
    if "mailsink" in parts:
        steps.append(Step("mailsink", starter(up, "mailsink"), frozenset()))
    for name, service in up.values.services.items():
        needs = {"schema"} if service.database else set()
        # api serves the page, and is told where its module lies.
        needs |= {"tool socket.io-client"} if name == "api" else set()
        steps.append(Step(name, starter(up, name), frozenset(needs)))
        side = {"tool daprd", "schema", "topics"}
        steps.append(Step(sidecar_name(name), starter(up, sidecar_name(name)), frozenset(side)))
    return steps


def _tool(up: Up, name: str) -> Run:
    needed = name not in tools.OPTIONAL

    def run(tell: Tell) -> str:
        try:
            return bring(tell)
        except MissingError as error:
            if needed:
                raise
            return f"not there, and the platform runs without it: {error.message}"

    def bring(tell: Tell) -> str:
        found = tools.find(name, up.settings.cache, environ=up.assembly.environ)
        for progress in () if found else tools.install(name, up.settings.cache, environ=up.assembly.environ):
            if progress.error:
                raise progress.error
            found = progress.result or found
            tell(tools.sentence(progress))
        if found is None:
            raise TodoctlError(f"{name} was not installed", hint=f"todoctl tools install {name}")
        up.assembly.programs[_PROGRAMS[name]] = found.path
        return f"{found.version} from {found.source}"

    return run


def _postgres(up: Up) -> Run:
    def run(tell: Tell) -> str:
        passwords = up.state.secrets.passwords
        data = up.state.folders.data / "postgres"
        tell("making a new database cluster" if not data.exists() else "starting")
        bin_folder, password = up.assembly.programs["postgres"], passwords[postgres.ADMIN]
        postgres.initialise(bin_folder, data, password)
        if not postgres.knows_password(data, password):
            tell("replacing a lost password")
            with supervisor.connect(up.state.folders) as control:
                list(control.stop(["postgres"]))
            postgres.reset_password(bin_folder, data, password)
        seen = _start(up, "postgres", tell)
        url = postgres.admin_url(password, up.state.ports["postgres"])
        postgres.ensure_roles(url, {role: passwords[role] for role in roles(up.values)})
        return seen

    return run


def _kafka(up: Up) -> Run:
    def run(tell: Tell) -> str:
        folders = up.state.folders
        up.assembly.write_part("kafka")
        if not (folders.data / "kafka" / "meta.properties").exists():
            tell("formatting its log folder")
            _format_kafka(up)
        return _start(up, "kafka", tell)

    return run


def _format_kafka(up: Up) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    folders = up.state.folders
    for stale in folders.data.glob("kafka.new-*"):
        stale.unlink() if stale.is_file() else shutil.rmtree(stale, ignore_errors=True)
    # Made beside its place and moved there whole: a killed `up` may leave a formatter that still reads and writes.
    draft = folders.data / f"kafka.new-{os.getpid()}"
    draft.mkdir()
    settings = (folders.config / "kafka.properties").read_text(encoding="utf-8")
    config = folders.data / f"{draft.name}.properties"
    config.write_text(settings.replace(f"log.dirs={folders.data / 'kafka'}\n", f"log.dirs={draft}\n"), encoding="utf-8")
    command = [*java_command(folders, up.assembly.site.programs), "kafka.tools.StorageTool", "format"]
    command += ["--cluster-id", cluster, "--config", str(config)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=up.seconds, env=up.assembly.base_environ
    )
    if done.returncode:
        lines = tuple((done.stdout + done.stderr).splitlines()[-10:])
        raise TodoctlError("Kafka's log folder could not be formatted", detail=lines, hint="todoctl doctor")
    config.unlink()
    shutil.rmtree(folders.data / "kafka", ignore_errors=True)
    draft.rename(folders.data / "kafka")


def _topics(up: Up) -> Run:
    def run(_tell: Tell) -> str:
        wanted = wanted_topics(up.values)
        broker = readiness.broker(up.state)
        present = topics.specs(broker, [topic.name for topic in wanted])
        missing = [topic for topic in wanted if topic.name not in present]
        if not missing:
            return f"{len(wanted)} there"
        topics.create(broker, [topics.TopicSpec(t.name, t.partitions, t.replication, t.config) for t in missing])
        return f"created {', '.join(t.name for t in missing)}"

    return run


def _schema(up: Up) -> Run:
    def run(tell: Tell) -> str:
        url = up.state.secrets.database_url(OWNER_ROLE, up.state.ports["postgres"])
        done = up.state.folders.run / "schema"
        fingerprint = migrations.fingerprint(up.assembly.code)
        revision = postgres.revision(url)
        if revision is not None and done.exists() and done.read_text(encoding="utf-8") == f"{fingerprint} {revision}":
            return f"at {revision}"
        if words := running.ahead(up.settings, revision):
            return words
        tell("migrating")
        status = migrations.run(up.assembly.python, up.assembly.code_environ, url, "upgrade", seconds=up.seconds)
        write_if_changed(done, f"{fingerprint} {status['current']}", mode=0o644)
        return f"migrated to {status['current']}"

    return run


def starter(up: Up, name: str) -> Run:
    """Starts a part and waits until it proves itself; a sidecar's proof includes that its service can work."""

    def run(tell: Tell) -> str:
        part = up.assembly.parts[name]
        works = readiness.check_for(part, up.values, up.state)
        if part.kind != "sidecar":
            return _start(up, name, tell, works)
        service = name.removesuffix("-daprd")
        return _start(up, name, tell, lambda: works() or readiness.service_is_ready(up.state, service))

    return run


def _start(up: Up, name: str, tell: Tell, check: readiness.Check | None = None) -> str:
    """Start the part if it does not run, again if what it runs with has changed, and wait until it proves itself."""
    changed = up.assembly.write_part(name)
    part = up.assembly.parts[name]
    with supervisor.connect(up.state.folders) as control:
        process = control.processes().get(name)
        running = process is not None and process.is_running
        # A part that keeps dying gets a fresh start: what broke it may have been mended.
        fresh = changed or not running or readiness.keeps_dying(up.state.folders, part)
        if running and fresh:
            list(control.stop([name]))
        if fresh:
            readiness.forget_deaths(up.state.folders, part)
            control.start(name)
            up.started.append(name)
    up.pids[name] = readiness.wait_ready(
        up.state, part, check or readiness.check_for(part, up.values, up.state), tell, seconds=up.seconds
    )
    return f"port {part.port}, pid {up.pids[name]}"
