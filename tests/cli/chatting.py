"""A person at a terminal who chats: types, looks at the screen, resizes it, stops the program and continues it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from pathlib import Path
from typing import Any

import pyte

from support.waiting import PATIENCE

COLUMNS, ROWS = 100, 24


def _be_a_shell() -> None:
    """Stay the leader of the session, with the command as a job in the foreground: what has no shell above it cannot be stopped."""
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        return
    # Whoever started the command waits until nobody holds the pipe that would tell of a failure.
    os.closerange(3, 1024)
    _, status = os.waitpid(job, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


class Person:
    """A terminal with the command on it. ``said`` are all bytes that the command has written."""

    def __init__(
        self,
        unspool: Any,
        *arguments: str,
        term: str = "xterm-256color",
        stoppable: bool = False,
        cwd: Path | None = None,
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._theirs, (ROWS, COLUMNS))
        os.set_blocking(self._ours, False)
        self.before = termios.tcgetattr(self._theirs)
        unspool.env["TERM"] = term
        self.said = b""
        self._screen = pyte.HistoryScreen(COLUMNS, ROWS, history=20000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)

        def own_the_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if stoppable:
                _be_a_shell()

        self.child = unspool.start(
            *arguments, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, prepare=own_the_terminal, cwd=cwd
        )

    def type(self, text: str) -> None:
        """Press keys. Enter is a carriage return."""
        data = text.encode()
        while data:
            select.select([], [self._ours], [], PATIENCE)
            # Both sides may be full at once: who only writes would wait for ever.
            self._read(0)
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._ours, data[:512]) :]

    def paste(self, text: str) -> None:
        """Paste, as a terminal does that was asked to bracket it."""
        newlines = text.replace("\n", "\r")
        self.type(f"\x1b[200~{newlines}\x1b[201~")

    def sees(self, text: str, since: int = 0) -> int:
        """Wait until the command has written this text; return the place after it."""
        deadline = time.monotonic() + PATIENCE
        wanted = text.encode()
        while (at := self.said.find(wanted, since)) < 0:
            assert time.monotonic() < deadline, f"{text!r} never came: {self.said[since:][-3000:]!r}"
            assert self._read(0.05) or self.child.poll() is None, f"{text!r} did not come before the end: {self.said!r}"
        return at + len(wanted)

    def shows(self, text: str) -> None:
        """Wait until a line of the screen has this text."""
        deadline = time.monotonic() + PATIENCE
        while not any(text in line for line in self.lines):
            assert time.monotonic() < deadline, f"{text!r} is not shown: {self.lines}"
            assert self.child.poll() is None or self._read(0.05), f"{text!r} is not shown: {self.lines}"
            self._read(0.05)

    def asks(self) -> None:
        """Wait until the command asks for the next prompt."""
        deadline = time.monotonic() + PATIENCE
        while self.lines[self._screen.cursor.y] != ">" or not self._is_idle():
            assert time.monotonic() < deadline, f"it does not ask: {self.lines}"
            assert self.child.poll() is None, f"it has ended: {self.said[-3000:]!r}"
            self._read(0.05)

    def answers(self, keys: str, *texts: str) -> None:
        """Type this at the prompt, wait until all the texts have come, and for the prompt after them."""
        if not keys.startswith("\r"):
            self.asks()
        at = len(self.said)
        self.type(keys)
        for text in texts:
            self.sees(text, at)
        self.asks()

    def settles(self) -> None:
        """Wait until nothing more is written: what runs in the background has come to its end."""
        while self._read(0.5):
            pass

    def stops(self) -> None:
        """Wait until the command has been stopped."""
        self._await_state("T")
        while self._read(0.02):
            pass

    def goes_on(self) -> None:
        """Continue it, as fg does."""
        os.killpg(self._group(), signal.SIGCONT)

    def awaits_quiet(self) -> None:
        """Wait until the terminal does not echo."""
        deadline = time.monotonic() + PATIENCE
        while self.mode[3] & termios.ECHO:
            assert time.monotonic() < deadline, "it echoes"
            self._read(0.02)

    def leaves(self) -> int:
        """Wait until the command has ended; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while self.child.poll() is None:
            assert time.monotonic() < deadline, f"it does not end: {self.said[-3000:]!r}"
            self._read(0.05)
        while self._read(0.02):
            pass
        return int(self.child.returncode)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        self._read(0)
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        self.child.send_signal(signal.SIGWINCH)

    @property
    def lines(self) -> list[str]:
        """The lines of the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def everything(self) -> list[str]:
        """The lines of scrollback and screen."""
        above = [
            "".join(row[at].data for at in range(self._screen.columns)).rstrip() for row in self._screen.history.top
        ]
        return above + self.lines

    @property
    def text(self) -> str:
        """All lines as one text, however they are wrapped."""
        return " ".join(" ".join(self.everything).split())

    @property
    def mode(self) -> list[Any]:
        """The terminal's mode."""
        return termios.tcgetattr(self._theirs)

    @property
    def is_restored(self) -> bool:
        """Whether the terminal is as it was before."""
        return self.mode == self.before

    @property
    def brackets_pastes(self) -> bool:
        """Whether the terminal was left in bracketed paste mode."""
        return self.said.rfind(b"\x1b[?2004h") > self.said.rfind(b"\x1b[?2004l")

    def close(self) -> None:
        """Take the terminal away."""
        for fd in (self._ours, self._theirs):
            try:
                os.close(fd)
            except OSError:
                pass

    def hang_up(self) -> None:
        """Close the terminal's window."""
        os.close(self._theirs)
        os.close(self._ours)

    def _group(self) -> int:
        return os.tcgetpgrp(self._ours)

    def _is_idle(self) -> bool:
        """Whether everything has been read that the command has written, and it waits for keys in a mode of its own."""
        return not self._read(0.02) and self.lines[self._screen.cursor.y] == ">"

    def _await_state(self, state: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while Path(f"/proc/{self._group()}/stat").read_text().rpartition(")")[2].split()[0] != state:
            assert time.monotonic() < deadline, f"it is not {state}"
            self._read(0.02)

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._ours, 1 << 16)
        except OSError:
            return False
        self.said += data
        self._stream.feed(data)
        return bool(data)
