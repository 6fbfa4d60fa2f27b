"""One installer per tool: a lock file, and who holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from todoctl.adapters.tools.model import Step
from todoctl.adapters.tools.site import Site

_POLL_SECONDS = 0.2


class ToolLock:
    """The right to install one group of tools into one cache."""

    def __init__(self, cache: Path, group: str, tool: str) -> None:
        from filelock import FileLock

        self._lock = FileLock(cache / f"{group}.lock", thread_local=False, mode=0o644)
        self._holder = cache / f"{group}.holder"
        self._tool = tool

    def take(self) -> bool:
        """Take the lock if nobody has it; the kernel frees it when its holder dies, however it dies."""
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        self._holder.write_text(f"{os.getpid()} {self._tool}", encoding="utf-8")
        return True

    def wait(self, site: Site) -> Iterator[Step]:
        """Take the lock, saying whom it waits for."""
        while not self.take():
            yield Step("wait", f"waits for {self.holder()}")
            site.children.pause(_POLL_SECONDS)

    def holder(self) -> str:
        """Who has the lock, as far as is known: `process 123, which installs daprd`."""
        with suppress(OSError, ValueError):
            pid, tool = self._holder.read_text(encoding="utf-8").split()
            return f"{tool}, installed first" if int(pid) == os.getpid() else f"process {pid}, which installs {tool}"
        return "another process that installs the same"

    def release(self) -> None:
        """Give the lock back."""
        self._holder.unlink(missing_ok=True)
        self._lock.release()
