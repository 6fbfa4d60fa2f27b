"""The chart's values files: read, merged the way Helm merges them, and checked with the line of each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from todoctl.core.values import Values
from todoctl.errors import UsageError

_HINT = "name a file of values: KEY: VALUE, one to a line"


def read_values(chart: Path, overlays: tuple[Path, ...] = ()) -> Values:
    """The values of `chart` with `overlays` laid over them, later ones on top.

    Raises:
        UsageError: a file can't be read, is not YAML, or has a key or value that the model refuses.
    """
    files = (chart / "values.yaml", *overlays)
    nodes = [_read(path) for path in files]
    merged: Any = {}
    for document, _ in nodes:
        merged = _merge(merged, document)
    try:
        return Values.model_validate(merged)
    except ValidationError as error:
        detail = tuple(
            _explain(files, [node for _, node in nodes], item["loc"], item["msg"]) for item in error.errors()
        )
        raise UsageError(
            f"the values of {chart.name} do not fit their model", detail=detail, hint=f"mend {files[-1]}"
        ) from error


def read_overlays(overlays: tuple[Path, ...]) -> dict[str, Any]:
    """The files laid over each other, without the chart's own values below them, as Helm takes them.

    Raises:
        UsageError: a file can't be read or is not YAML.
    """
    merged: Any = {}
    for path in overlays:
        # A null has to reach Helm, which takes the chart's own key away by it.
        merged = _merge(merged, _read(path)[0], keep_null=True)
    return dict(merged)


def _read(path: Path) -> tuple[Any, yaml.Node | None]:
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text) or {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"values file {path} can't be read: {reason}", hint=_HINT) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # Beside its own errors the loader lets through what Python says of a date or a number.
        raise UsageError(f"values file {path} is not YAML", detail=_told(error), hint=f"mend {path}") from error
    if not isinstance(document, dict):
        raise UsageError(f"values file {path} must hold a mapping, it holds a {type(document).__name__}", hint=_HINT)
    return document, node


def _told(error: Exception) -> tuple[str, ...]:
    """What is wrong with a file and where, without the line itself: it may hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return tuple(str(error).splitlines())
    said = ((error.context, error.context_mark), (error.problem, error.problem_mark))
    return tuple(f"{words} in line {mark.line + 1}, column {mark.column + 1}" for words, mark in said if words and mark)


def _merge(below: Any, above: Any, *, keep_null: bool = False) -> Any:
    """Helm's rule: mappings merge key by key, null removes a key, everything else is replaced."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    merged = dict(below)
    for key, value in above.items():
        if value is None and not keep_null:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value, keep_null=keep_null)
    return merged


def _explain(
    files: tuple[Path, ...], nodes: list[yaml.Node | None], location: tuple[int | str, ...], message: str
) -> str:
    """`FILE:LINE: key: message`, naming the last file that says something at the location."""
    name = ".".join(str(part) for part in location)
    message = message.removeprefix("Value error, ")
    for path, node in reversed(list(zip(files, nodes, strict=True))):
        depth, line = _line(node, location)
        if depth == len(location) or path == files[0]:
            return f"{path}:{line}: {name}: {message}"
    return f"{name}: {message}"


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> tuple[int, int]:
    """How far `location` can be followed from `node`, and the line it leads to."""
    line = 1
    for depth, part in enumerate(location):
        found = None
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        if found is None:
            return depth, line
        line, node = found[0].start_mark.line + 1, found[1]
    return len(location), line
