"""Whether a reader of an older schema can read everything that a newer one writes."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "x-topic", "title", "description", "default", "examples"})
# A newer bound must be at least, or at most, the older one.
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_SAME = ("pattern", "format")
_STRUCTURE = ("$ref", "anyOf", "enum", "const", "type", "properties", "required", "items", "additionalProperties")
_KNOWN = _ANNOTATIONS | {*_LOWER, *_UPPER, *_SAME, *_STRUCTURE}


class UnknownKeywordError(Exception):
    """A schema uses a word that this comparison has no rule for; it must get one before the schema is used."""


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What a reader of `old` would stumble over in documents of `new`, each with its place; empty when nothing."""
    return _Comparison(old, new).run(old, new, "$")


def shape(schema: Any) -> Any:
    """What of a schema decides which documents fit it: everything but the words for people."""
    if isinstance(schema, list):
        return [shape(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    words = _ANNOTATIONS - {"$defs"}
    # Among properties and definitions every name is somebody's field, `title` and `description` too.
    return {
        name: {key: shape(value) for key, value in part.items()} if name in {"properties", "$defs"} else shape(part)
        for name, part in schema.items()
        if name not in words
    }


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old_definitions = old.get("$defs", {})
        self._new_definitions = new.get("$defs", {})

    def run(self, old: Schema, new: Schema, place: str) -> list[str]:
        old, new = _resolved(old, self._old_definitions), _resolved(new, self._new_definitions)
        if "anyOf" in new:
            return [found for kind in new["anyOf"] for found in self.run(old, kind, place)]
        if "anyOf" in old:
            fits = any(not self.run(kind, new, place) for kind in old["anyOf"])
            return [] if fits else [f"{place}: a new kind of value, {_shown(new)}"]
        if "type" in old and not _is_narrower(old, new):
            return [f"{place}: was {old['type']}, is now {_shown(new)}"]
        return [*_values(old, new, place), *_bounds(old, new, place), *self._parts(old, new, place)]

    def _parts(self, old: Schema, new: Schema, place: str) -> list[str]:
        found = [f"{place}.{name}: may be missing now" for name in _no_longer_required(old, new)]
        for name, schema in old.get("properties", {}).items():
            if name in new.get("properties", {}):
                found += self.run(schema, new["properties"][name], f"{place}.{name}")
        if old.get("additionalProperties") is False:
            added = set(new.get("properties", {})) - set(old.get("properties", {}))
            found += [f"{place}.{name}: a new field, and older readers take none" for name in sorted(added)]
        if "items" in old:
            found += self.run(old["items"], new.get("items", {}), f"{place}[]")
        return found


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    if unknown := set(schema) - _KNOWN:
        raise UnknownKeywordError(f"no rule for {', '.join(sorted(unknown))}")
    if "$ref" not in schema:
        return schema
    return _resolved(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)


def _is_narrower(old: Schema, new: Schema) -> bool:
    return old["type"] == new.get("type") or (old["type"], new.get("type")) == ("number", "integer")


def _values(old: Schema, new: Schema, place: str) -> list[str]:
    allowed, written = _choices(old), _choices(new)
    if allowed is None:
        return []
    if written is None:
        return [f"{place}: any value now, older readers know {_listed(allowed)}"]
    added = [value for value in written if value not in allowed]
    return [f"{place}: new values {_listed(added)}"] if added else []


def _choices(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _bounds(old: Schema, new: Schema, place: str) -> list[str]:
    looser = [name for name in _LOWER if name in old and not (name in new and new[name] >= old[name])]
    looser += [name for name in _UPPER if name in old and not (name in new and new[name] <= old[name])]
    looser += [name for name in _SAME if name in old and new.get(name) != old[name]]
    return [f"{place}: {name} was {old[name]}, is now {new.get(name, 'not set')}" for name in looser]


def _no_longer_required(old: Schema, new: Schema) -> list[str]:
    return [name for name in old.get("required", []) if name not in new.get("required", [])]


def _listed(values: list[Any]) -> str:
    return ", ".join(repr(value) for value in values)


def _shown(schema: Schema) -> str:
    return str(schema.get("type", "any value"))
