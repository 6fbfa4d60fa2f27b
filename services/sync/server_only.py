"""Imported before everything else: what libraries load only for clients and command lines, 20 MB, stays away.

They do without what can't be imported: python-engineio without its clients' transports, httpx without its command line.
Source: https://docs.python.org/3/reference/import.html#the-module-cache
"""

import sys

for _name in ("aiohttp", "httpx._main", "requests", "websocket"):
    sys.modules.setdefault(_name, None)  # type: ignore[arg-type]
