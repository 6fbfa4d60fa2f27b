"""Stands in for minikube: keeps profiles in a folder and answers as the real 1.36 does.

The folder ($FAKE_MINIKUBE) has `state.json`, the profiles, and may have what the tests put there:
`no-driver` and `no-room` (start fails as the real one does there), `kubeconfig` (of a server, which a started profile's
context leads to), `loader` (a program that gets each archive loaded), `deaf` (an image is taken without a word and is not
there), `hold` (start waits in the middle until the file is gone), `calls` (what was asked, one call a line).

Formats: pkg/minikube/out/register, cmd/minikube/cmd/status.go, pkg/minikube/config/types.go, pkg/minikube/reason of
k8s.io/minikube 1.36; the events of a machine without drivers are those that the real program wrote on such a machine.
"""

import json
import os
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path

FOLDER = Path(os.environ["FAKE_MINIKUBE"])
STATE = FOLDER / "state.json"
STEPS = (
    ("0", "Initial Minikube Setup", "[{name}] minikube v1.36.0 on Debian 12.11 (docker/amd64)"),
    ("1", "Selecting Driver", "Automatically selected the docker driver"),
    ("3", "Starting Node", 'Starting "{name}" primary control-plane node in "{name}" cluster'),
    ("8", "Creating Container", "Creating docker container (CPUs={cpus}, Memory={memory}MB) ..."),
    ("11", "Preparing Kubernetes", "Preparing Kubernetes v1.33.1 on Docker 28.1.1 ..."),
    ("17", "Verifying Kubernetes", "Verifying Kubernetes components..."),
    ("19", "Done", 'Done! kubectl is now configured to use "{name}" cluster and "default" namespace by default'),
)
CONSIDERED = (
    "docker: Not healthy: exit status 1: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
    "docker: Suggestion: Start the Docker service <https://minikube.sigs.k8s.io/docs/drivers/docker/>",
    'kvm2: Not installed: exec: "virsh": executable file not found in $PATH',
    'podman: Not installed: exec: "podman": executable file not found in $PATH',
    'qemu2: Not installed: exec: "qemu-system-x86_64": executable file not found in $PATH',
    "virtualbox: Not installed: unable to find VBoxManage in $PATH",
)


def event(kind: str, **data: str) -> None:
    """One CloudEvent on stdout."""
    print(
        json.dumps(
            {
                "specversion": "1.0",
                "id": str(uuid.uuid4()),
                "source": "https://minikube.sigs.k8s.io/",
                "type": f"io.k8s.sigs.minikube.{kind}",
                "datacontenttype": "application/json",
                "data": data,
            }
        ),
        flush=True,
    )


def step(number: str, name: str, message: str) -> None:
    """A step of a start."""
    event("step", currentstep=number, message=message, name=name, totalsteps="19")


def profiles() -> dict:
    """What there is."""
    return json.loads(STATE.read_text()) if STATE.exists() else {}


def keep(found: dict) -> None:
    """Write it down, whole or not at all."""
    fresh = STATE.with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(found))
    fresh.replace(STATE)


def config(name: str, options: dict) -> dict:
    """A profile's configuration, as far as it is long ago that anybody needed the rest."""
    names = options.get("apiserver-names")
    return {
        "Name": name,
        "KeepContext": "keep-context" in options,
        "Memory": int(options.get("memory", "6000m").rstrip("mg")),
        "CPUs": int(options.get("cpus", "2")),
        "DiskSize": 20000,
        "Driver": "docker",
        "KubernetesConfig": {
            "KubernetesVersion": "v1.33.1",
            "ClusterName": name,
            "Namespace": "default",
            "APIServerName": "minikubeCA",
            "APIServerNames": names.split(",") if names else None,
            "ContainerRuntime": "docker",
        },
        "Nodes": [{"Name": "", "IP": "192.168.49.2", "Port": 8443, "ControlPlane": True, "Worker": True}],
    }


def start(name: str, options: dict) -> int:
    """Make or start a profile."""
    there = profiles()
    if "output" not in options or "keep-context" not in options:
        print("this fake only knows JSON, and leaves the current context alone")
        return 14
    step(*STEPS[0][:2], STEPS[0][2].format(name=name))
    if (FOLDER / "no-driver").exists():
        step(
            "1",
            "Selecting Driver",
            "Unable to pick a default driver. Here is what was considered, in preference order:",
        )
        for message in CONSIDERED:
            event("info", message=message)
        text = "Found docker, but the docker service isn't running. Try restarting the docker service."
        event("error", advice="", exitcode="55", issues="", message=text, name="DRV_DOCKER_NOT_RUNNING", url="")
        return 55
    if (FOLDER / "no-room").exists():
        advice = "Start minikube with less memory allocated: 'minikube start --memory=3900mb'"
        text = f"Requested memory allocation {options['memory'].rstrip('m')}MB is more than your system limit 7900MB."
        event("error", advice=advice, exitcode="10", issues="", message=text, name="RSRC_OVER_ALLOC_MEM", url="")
        return 10
    if name not in there:
        # As the real one does, before there is a machine.
        there[name] = {"Config": config(name, options), "Host": "Stopped", "Images": [], "Starts": 0}
        keep(there)
    made = there[name]["Config"]
    for number, title, message in STEPS[1:]:
        step(number, title, message.format(name=name, cpus=made["CPUs"], memory=made["Memory"]))
        while title == "Creating Container" and (FOLDER / "hold").exists():
            time.sleep(0.02)
    there[name] |= {"Host": "Running", "Starts": there[name]["Starts"] + 1}
    keep(there)
    context(name, there=True)
    return 0


def context(name: str, *, there: bool) -> None:
    """Have a context of the profile's name in the kubeconfig, or not; the current one stays what it was."""
    import yaml

    if not (FOLDER / "kubeconfig").exists():
        return
    file = Path(os.environ["KUBECONFIG"])
    document = (yaml.safe_load(file.read_text()) if file.exists() else None) or {}
    server = yaml.safe_load((FOLDER / "kubeconfig").read_text())
    for part in ("clusters", "users", "contexts"):
        document[part] = [item for item in document.get(part) or [] if item["name"] != name]
        if there:
            found = {**server[part][0], "name": name}
            if part == "contexts":
                found["context"] = {**found["context"], "cluster": name, "user": name}
            document[part].append(found)
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "", **document}))


def status(name: str) -> int:
    """As bits, with the words on stdout."""
    there = profiles()
    if name not in there:
        event("info", message=f'Profile "{name}" not found. Run "minikube profile list" to view all profiles.')
        event("info", message=f'To start a cluster, run: "minikube start -p {name}"')
        return 85
    host = there[name]["Host"]
    known = "Configured" if host == "Running" else "Stopped"
    parts = {"Host": host, "Kubelet": host, "APIServer": host, "Kubeconfig": known, "Worker": False}
    print(json.dumps({"Name": name, **parts}), end="")
    return 0 if host == "Running" else 7


def stop(name: str) -> int:
    """The disk stays, the context goes."""
    there = profiles()
    step("0", "Stopping", f'Stopping node "{name}"  ...')
    there[name]["Host"] = "Stopped"
    keep(there)
    context(name, there=False)
    event("step", currentstep="2", message="1 node stopped.", name="Done", totalsteps="2")
    return 0


def delete(name: str) -> int:
    """Everything goes."""
    there = profiles()
    there.pop(name, None)
    keep(there)
    context(name, there=False)
    event(
        "step", currentstep="0", message=f'Removed all traces of the "{name}" cluster.', name="Deleting", totalsteps="3"
    )
    return 0


def image(name: str, words: list[str]) -> int:
    """`ls` and `load`; a failed load is no failure there."""
    there = profiles()
    if name not in there:
        print(f'X Exiting due to MK_USAGE: loading profile: cluster "{name}" does not exist', file=sys.stderr)
        return 14
    if words[0] == "ls":
        names = there[name]["Images"] if there[name]["Host"] == "Running" else []
        rows = [{"id": "0" * 64, "repoDigests": [], "repoTags": [item], "size": "90000000"} for item in names]
        print(json.dumps(rows))
        return 0
    if (FOLDER / "deaf").exists() or there[name]["Host"] != "Running":
        return 0
    for archive in words[1:]:
        with tarfile.open(archive) as packed:
            tags = json.loads(packed.extractfile("manifest.json").read())[0]["RepoTags"]
        there[name]["Images"] = sorted({*there[name]["Images"], *tags})
        if (FOLDER / "loader").exists():
            subprocess.run([(FOLDER / "loader").read_text().strip(), archive], check=True)
    keep(there)
    return 0


def main(arguments: list[str]) -> int:
    """One call."""
    FOLDER.mkdir(exist_ok=True)
    words = [word for word in arguments if not word.startswith("--")]
    options = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    with (FOLDER / "calls").open("a") as calls:
        calls.write(" ".join(arguments) + "\n")
    name = options.get("profile", "minikube")
    if words == ["version"]:
        print("minikube version: v1.36.0\ncommit: f8f52f5de11fc6ad8244afac475e1d0f96841df1")
        return 0
    if words == ["profile", "list"]:
        rows = [
            {"Name": key, "Status": "Skipped", "Config": item["Config"], "Active": False, "ActiveKubeContext": False}
            for key, item in profiles().items()
        ]
        print(json.dumps({"invalid": [], "valid": rows}), end="")
        return 0
    if words[0] == "image":
        return image(name, words[1:])
    return {"start": lambda: start(name, options), "status": lambda: status(name), "stop": lambda: stop(name)}.get(
        words[0], lambda: delete(name)
    )()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
