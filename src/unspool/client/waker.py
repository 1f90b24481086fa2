"""Ending a wait from elsewhere: from another thread, or from a signal's handler."""

from __future__ import annotations

import os


class Waker:
    """A descriptor that can be read once `wake` was called. ``watch`` holds it; empty on a system where only sockets can be waited for."""

    __slots__ = ("watch", "_fd", "_writing")

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self._fd = self._writing = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        elif os.name == "posix":
            self._fd, self._writing = os.pipe()
            os.set_blocking(self._writing, False)
        else:
            self._fd = self._writing = -1
        self.watch = (self._fd,) if self._fd >= 0 else ()

    def wake(self) -> None:
        """End the wait."""
        if self._writing >= 0:
            try:
                os.write(self._writing, b"\1\0\0\0\0\0\0\0")
            except BlockingIOError:
                pass  # it is awake already

    def close(self) -> None:
        """Give the descriptor back."""
        for fd in {self._fd, self._writing} - {-1}:
            os.close(fd)
