"""Writing to the descriptors of a terminal, a pipe or a file: whole, at once, and interruptibly."""

from __future__ import annotations

import os


class Output:
    """A descriptor that text is written to without buffering: what `write` was given is out when it returns.

    Raises BrokenPipeError when nobody reads it any more, OSError when it cannot be written.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        try:
            self.is_tty = os.isatty(fd)
            # A reader's going away can be noticed while there is nothing to write, on what has a reader: a pipe or a socket.
            self.has_reader = os.fstat(fd).st_mode & 0o170000 in (0o010000, 0o140000)
        except OSError:  # the descriptor is closed
            self.is_tty = self.has_reader = False
        self.at_line_start = True

    def write(self, text: str) -> None:
        """Write a text."""
        if not text:
            return
        self.at_line_start = text[-1] == "\n"
        data = text.encode("utf-8", "replace")
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                self._wait()

    def _wait(self) -> None:
        # Somebody who shares the descriptor has set O_NONBLOCK on it.
        import select

        select.select([], [self.fd], [])


class Notes:
    """What is said beside the answer, on stderr: lines, and one line that is taken back before anything else is shown."""

    def __init__(self, output: Output, *, quiet: bool = False) -> None:
        self._output = output
        self._quiet = quiet
        self._passing = False

    @property
    def is_tty(self) -> bool:
        """Whether a person watches."""
        return self._output.is_tty and not self._quiet

    def line(self, text: str, *, always: bool = False) -> None:
        """Say one line. With ``always`` also to those who asked for quiet."""
        if self._quiet and not always:
            return
        self.clear()
        self._write(f"unspool: {text}\n")

    def passing(self, text: str) -> None:
        """Show a line that the next one, or the answer, replaces. Only to a person."""
        if self.is_tty:
            self._write(f"\r\x1b[K{text}")
            self._passing = True

    def clear(self) -> None:
        """Take the passing line back."""
        if self._passing:
            self._passing = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            self._output.write(text)
        except OSError:
            pass  # a closed or full stderr must not cost the answer
