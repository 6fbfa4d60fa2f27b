"""Groups whose commands are imported one by one: who runs a quick one doesn't wait for what the others need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


class Commands(Mapping[str, Any]):
    """Name → command, from name → `module:function`; a module is imported when its command is asked for."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = places

    def __getitem__(self, name: str) -> Any:
        module, _, function = self._places[name].partition(":")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(getattr(import_module(module), function))
        return typer.main.get_command(app)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def group(places: Mapping[str, str]) -> type[TyperGroup]:
    """The class of a group with these commands, for Typer's `cls`."""

    class Group(TyperGroup):
        def __init__(self, **attrs: Any) -> None:
            super().__init__(**attrs)
            # Typer only reads it.
            self.commands: Any = Commands(places)

    return Group
