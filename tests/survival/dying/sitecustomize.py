"""Kills the command at one of its steps: each call of the system that it makes by Python is a step, and Python imports this module first.

``DIE_AT=N`` sends SIGKILL at the N-th point; ``POINTS=FILE`` writes the names of all points there instead. A call has a point before and
a point after it; a write has another in the middle, after half of its bytes. Neither variable reaches the processes that the command starts.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

CALLS = [
    "open",
    "write",
    "read",
    "fsync",
    "fdatasync",
    "ftruncate",
    "unlink",
    "rename",
    "replace",
    "mkdir",
    "kill",
    "killpg",
    "waitpid",
    "dup2",
    "pipe",
    "_exit",
]


class Steps:
    """Counts the points that the command has passed, and kills it at number ``last``."""

    def __init__(self, last: int, log: str) -> None:
        self._left = last
        self._write = os.write
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if log else -1

    def reach(self, name: str) -> None:
        if self._log >= 0:
            self._write(self._log, name.encode() + b"\n")
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            self.reach(f"before {name}")
            result = call(*arguments, **options)
            self.reach(f"after {name}")
            return result

        return called

    def write(self, fd: int, data: bytes) -> int:
        """Write in two halves, as far as anybody who dies can tell: the caller writes what is left."""
        self.reach("before write")
        half = self._write(fd, data[: len(data) // 2]) if len(data) > 1 else 0
        self.reach("within write")
        half += self._write(fd, data[half:])
        self.reach("after write")
        return half


def install() -> None:
    last, log = os.environ.pop("DIE_AT", ""), os.environ.pop("POINTS", "")
    if not (last or log):
        return
    import _posixsubprocess

    steps = Steps(int(last or 0), log)
    for name in CALLS:
        setattr(os, name, steps.around(getattr(os, name), name))
    os.write = steps.write
    _posixsubprocess.fork_exec = steps.around(_posixsubprocess.fork_exec, "fork_exec")


install()
