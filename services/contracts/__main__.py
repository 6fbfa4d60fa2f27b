"""`python -m services.contracts [--check | --freeze]`: write the contracts, or see that they are up to date."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from services.contracts.generate import TOPICS_FILE, files, values_file
from todoctl.core.compatibility import shape
from todoctl.core.events import SCHEMA_VERSION

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None, *, folder: Path = HERE) -> int:
    """Write or check; 0 when all is well, 1 when a file is stale or a frozen version would change."""
    parser = argparse.ArgumentParser(prog="python -m services.contracts", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    choice.add_argument("--freeze", action="store_true", help="keep the schemas as what this version's readers know")
    given = parser.parse_args(arguments)
    import yaml

    contents = files(yaml.safe_load(values_file().read_text(encoding="utf-8")))
    if given.check:
        return _check(folder, contents)
    _write(folder, contents)
    return _freeze(folder, contents) if given.freeze else 0


def _check(folder: Path, contents: dict[str, str]) -> int:
    stale = [name for name, content in contents.items() if _text(folder / name) != content]
    if stale:
        print(f"stale: {', '.join(stale)}; run python -m services.contracts", file=sys.stderr)
    return 1 if stale else 0


def _freeze(folder: Path, contents: dict[str, str]) -> int:
    frozen = folder / "frozen" / SCHEMA_VERSION
    schemas = {name: content for name, content in contents.items() if name != TOPICS_FILE}
    if changed := [name for name, content in schemas.items() if _differs(_text(frozen / name), content)]:
        print(f"{SCHEMA_VERSION} is frozen and {', '.join(changed)} differ: raise SCHEMA_VERSION", file=sys.stderr)
        return 1
    _write(frozen, schemas)
    return 0


def _differs(frozen: str | None, content: str) -> bool:
    return frozen is not None and shape(json.loads(frozen)) != shape(json.loads(content))


def _write(folder: Path, contents: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content, encoding="utf-8")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
