"""What changes in the objects of a cluster from one release to another; what a Secret holds is never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from todoctl.core.colours import active_colour, colour_of, other
from todoctl.core.release_diff import MASK, Difference, is_secret
from todoctl.core.releases import Risk

Object = Mapping[str, Any]

HOOK = "helm.sh/hook"
_SHOWN = 4  # changed paths of one object that are told
_LONG = 60  # characters of a value
# Objects whose loss takes data along, and those that others rely on to be let in or found.
_DATA = {"StatefulSet", "PersistentVolumeClaim", "Kafka", "KafkaNodePool", "KafkaTopic"}
_FLOWS = {"Service", "Ingress", "NetworkPolicy", "Component", "Configuration", "Subscription", "Role", "RoleBinding"}
# What a server never changes in place.
_FIXED = {
    "Deployment": ("spec.selector",),
    "StatefulSet": ("spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"),
    "Job": ("spec.template", "spec.selector"),
    "PersistentVolumeClaim": ("spec.accessModes", "spec.storageClassName"),
}


def manifest_differences(before: Sequence[Object], after: Sequence[Object]) -> list[Difference]:
    """Every object that comes, goes or changes; hooks are no part of a release."""
    old, new = _by_name(before), _by_name(after)
    found = []
    for key in sorted(old.keys() | new.keys()):
        kind, have, want = key.partition(" ")[0], old.get(key), new.get(key)
        if have is None:
            found.append(Difference("manifests", key, "added", "none"))
        elif want is None:
            found.append(Difference("manifests", key, "removed", _loss(kind)))
        elif paths := list(_changed(have, want)):
            risk, detail = _risk(kind, [name for name, _, _ in paths]), _told(kind, paths)
            found.append(Difference("manifests", key, "changed", risk, detail))
    return found


def image_differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Difference]:
    """Component → image, where another one is to run."""
    return [
        Difference(
            "code", f"image of {name}", _kind(before.get(name), after.get(name)), "low", _arrow(before, after, name)
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def images_of(objects: Sequence[Object]) -> dict[str, str]:
    """Component → the image of its first container, of everything that runs pods; not of the idle colour."""
    found, idle = {}, other(active_colour(objects))
    for item in objects:
        if colour_of(item) == idle:
            continue
        template = (item.get("spec") or {}).get("template") if item["kind"] != "Job" or not is_hook(item) else None
        if template and item["kind"] in {"Deployment", "StatefulSet", "Job"}:
            component = template["metadata"]["labels"].get("app.kubernetes.io/component", item["metadata"]["name"])
            found[str(component)] = str(template["spec"]["containers"][0]["image"])
    return found


def is_hook(item: Object) -> bool:
    """Whether Helm makes the object for a moment only."""
    return HOOK in (item["metadata"].get("annotations") or {})


def migration_job(objects: Sequence[Object]) -> Object | None:
    """The Job that migrates."""
    return next((item for item in objects if item["kind"] == "Job" and not is_hook(item)), None)


def _by_name(objects: Sequence[Object]) -> dict[str, Object]:
    return {f"{item['kind']} {item['metadata']['name']}": item for item in objects if item and not is_hook(item)}


def _changed(before: Object, after: Object) -> Iterator[tuple[str, Any, Any]]:
    old, new = dict(_flat(before)), dict(_flat(after))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            # A thing with a name is the same thing in another place of the list.
            label = inner.get("name", number) if isinstance(inner, Mapping) else number
            yield from _flat(inner, f"{name}[{label}]")
    else:
        yield name, value


def _told(kind: str, paths: Sequence[tuple[str, Any, Any]]) -> str:
    shown = [f"{name}: {_value(kind, name, have)} → {_value(kind, name, want)}" for name, have, want in paths[:_SHOWN]]
    more = [f"and {len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    return "; ".join([*shown, *more])


def _value(kind: str, name: str, value: Any) -> str:
    if value is None:
        return "not set"
    holds = name.startswith(("data.", "stringData.", "spec.encryptedData."))
    if (kind in {"Secret", "SealedSecret"} and holds) or (isinstance(value, str) and is_secret(_variable(name))):
        return MASK
    text = str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"


def _variable(name: str) -> str:
    """The name that says what a value is: of a variable or setting in a list where it is one, else the key."""
    start, _, last = name.rpartition(".")
    return start.rpartition("[")[2].rstrip("]") if last == "value" else last


def _risk(kind: str, names: Sequence[str]) -> Risk:
    fixed = _FIXED.get(kind, ())
    if any(name.startswith(start) for name in names for start in fixed):
        return "high"
    return "medium" if kind in _FLOWS or kind in _DATA else "low"


def _loss(kind: str) -> Risk:
    return "high" if kind in _DATA else "none" if kind == "Job" else "medium"


def _kind(before: Any, after: Any) -> Any:
    return "added" if before is None else "removed" if after is None else "changed"


def _arrow(before: Mapping[str, str], after: Mapping[str, str], name: str) -> str:
    return f"{before.get(name, 'none')} → {after.get(name, 'none')}"
