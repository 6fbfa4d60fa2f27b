"""The process of sync: what it loads."""

from __future__ import annotations

import subprocess
import sys

_LOOK = "import sys, services.sync.__main__; print(*sorted(name for name, module in sys.modules.items() if module))"


def test_what_only_clients_need_is_not_loaded() -> None:
    """Each of them costs memory; where they are installed, the libraries load them unasked."""
    answer = subprocess.run([sys.executable, "-c", _LOOK], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(answer.stdout.split())
    assert {"socketio", "engineio", "httpx"} <= loaded
    assert not {"aiohttp", "requests", "websocket", "rich", "pygments"} & loaded
