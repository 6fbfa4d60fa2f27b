"""Where an installation works: cache, environment variables, pins, and its running children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoctl.adapters.tools.children import Children
from todoctl.adapters.tools.pins import Pins, load

BY_HAND = "by-hand"  # a folder in the cache where a person may put what can't be fetched


@dataclass(frozen=True)
class Site:
    """Everything a source needs to know about where it looks and installs."""

    cache: Path
    environ: Mapping[str, str]
    pins: Pins = field(default_factory=load)
    children: Children = field(default_factory=Children)

    @property
    def by_hand(self) -> Path:
        """The folder for files that a person brought."""
        return self.cache / BY_HAND
