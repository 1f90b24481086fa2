"""A person at a terminal who watches a command while it runs: what is on the screen at a moment, and what is typed then."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from typing import Any

import pyte

from support.waiting import PATIENCE


class Watched:
    """The command at a terminal: its stdin and stderr, and its stdout unless that is given."""

    def __init__(self, unspool: Any, *arguments: str, columns: int = 80, lines: int = 24, **options: Any) -> None:
        self.output = b""
        self._ours, self._theirs = pty.openpty()
        self.resize(columns, lines)
        self._columns, self._lines = columns, lines
        self._seen = 0

        def own_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        options = {"stdout": self._theirs, "prepare": own_the_terminal, **options}
        self.child: subprocess.Popen[bytes] = unspool.start(
            *arguments, stdin=self._theirs, stderr=self._theirs, **options
        )

    def resize(self, columns: int, lines: int = 24) -> None:
        termios.tcsetwinsize(self._theirs, (lines, columns))

    def until(self, cue: str) -> Watched:
        """Read until this is shown, after what was waited for before."""
        deadline = time.monotonic() + PATIENCE
        while (at := self.output.find(cue.encode(), self._seen)) < 0:
            if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{cue!r} is not in {self.output!r}")
            self.output += os.read(self._ours, 1 << 16)
        self._seen = at + len(cue.encode())
        return self

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def send(self, number: int) -> None:
        self.child.send_signal(number)

    def end(self) -> int:
        """Read to the end of the command; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while select.select([self._ours], [], [], 0.02)[0] or self.child.poll() is None:
            assert time.monotonic() < deadline
            if select.select([self._ours], [], [], 0)[0]:
                self.output += os.read(self._ours, 1 << 16)
        return self.child.returncode

    def close(self) -> None:
        os.close(self._ours)
        os.close(self._theirs)

    @property
    def screen(self) -> list[str]:
        """The rows of the screen that have something on them, and those between."""
        screen = pyte.Screen(self._columns, self._lines)
        # pyte writes out what it does not know.
        text = self.output
        for mark in (b"\x1b[?2026h", b"\x1b[?2026l"):
            text = text.replace(mark, b"")
        pyte.ByteStream(screen).feed(text)
        return "\n".join(line.rstrip() for line in screen.display).rstrip("\n").split("\n")
