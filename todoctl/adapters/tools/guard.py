"""Runs a command that must not outlive todoctl: when our standard input closes, the whole process group is killed.

A pipe and not PR_SET_PDEATHSIG: that signal is bound to the thread that started the child, reaches only one process
and exists on Linux only, while a build is a tree of processes started from a worker thread.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the arguments as a command and exit with its code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = subprocess.run(sys.argv[1:], check=False, stdin=subprocess.DEVNULL).returncode
    # The thread sits in a read; the interpreter's own exit would wait for the lock it holds on stdin.
    sys.stdout.flush()
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
