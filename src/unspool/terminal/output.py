"""Writing to the descriptors of a terminal, a pipe or a file: completely, at once, and interruptibly."""

from __future__ import annotations

import os


class Output:
    """A descriptor that text is written to without buffering: the text is written when `write` returns.

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
        #: Whether anything was written.
        self.is_used = False
        self._hurried = False
        self._restore = False
        self._sanitizer = None
        if self.is_tty:
            from unspool.terminal.safety import Sanitizer

            self._sanitizer = Sanitizer()

    def safe(self, text: str) -> str:
        """Return a piece of foreign text as it may be written here: exactly, or made safe where a terminal would obey it."""
        return text if self._sanitizer is None else self._sanitizer.feed(text)

    def write(self, text: str) -> None:
        """Write a text. Once hurried, raises BlockingIOError instead of waiting for a reader."""
        if not text:
            return
        self.is_used = True
        data = text.encode("utf-8", "replace")
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                if self._hurried:
                    self.at_line_start = False
                    raise
                # Another process that shares the descriptor has set O_NONBLOCK on it.
                self._wait()
        self.at_line_start = text[-1] == "\n"

    def is_abandoned(self) -> bool:
        """Whether the reader of this pipe or socket has gone, known before a write fails."""
        import select

        if not self.has_reader or not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(0))

    def hurry(self) -> None:
        """From now on never wait for a reader, not even in a write that waits at this moment. Made for signal handlers.

        A write that a signal interrupts is tried again, and finds the descriptor changed: so it is known to the byte what is
        out, which it would not be if the handler raised an exception.
        """
        try:
            if os.get_blocking(self.fd):
                os.set_blocking(self.fd, False)
                self._restore = True
        except (OSError, AttributeError):
            pass  # closed, so there is nobody to wait for; or Windows, whose pipes cannot be asked
        self._hurried = True

    def restore(self) -> None:
        """Leave the descriptor, which other processes may share, as it was."""
        if self._restore:
            self._restore = False
            os.set_blocking(self.fd, True)

    def leave(self) -> None:
        """Remove transient rows from the screen; here there are none."""

    def _wait(self) -> None:
        import select

        select.select([], [self.fd], [])


class Notes:
    """Messages on stderr: lines, and one transient line that is erased before anything else is written.

    Any of them may quote a server, so they are made safe here. While an answer is shown, write with
    `unspool.cli.display.Display.note`, which makes room on the screen first.
    """

    def __init__(self, output: Output, *, quiet: bool = False) -> None:
        self.output = output
        self.is_quiet = quiet
        self._passing = False
        self._passing_columns = 0

    @property
    def is_tty(self) -> bool:
        """Whether a person watches."""
        return self.output.is_tty and not self.is_quiet

    def line(self, text: str, *, always: bool = False) -> None:
        """Say one line. With ``always`` also to those who asked for quiet."""
        if self.is_quiet and not always:
            return
        from unspool.terminal.safety import one_line

        self.clear()
        line = f"unspool: {one_line(text)}"
        if self.output.is_tty:
            from unspool.terminal.cells import fold

            line = fold(line, self.columns - 1)
        self.write(f"{line}\n")

    def passing(self, text: str) -> None:
        """Show a line that the next one replaces, until `clear`. Only to a person, on an empty row."""
        if self.is_tty:
            from unspool.terminal.cells import clip
            from unspool.terminal.safety import one_line

            self.draw(clip(one_line(text), self.columns - 1, "..."))

    def draw(self, line: str) -> None:
        """Show a passing line that is safe and short enough already.

        The cursor rests at its beginning, which is where a terminal that has become narrower leaves it: from there all of a line
        that was wrapped can be erased, and nothing above it.
        """
        if self.is_tty:
            erasure = self._erasure()
            # Before it is written: a window that becomes narrower meanwhile is then known to have done so.
            self._passing_columns = self.columns
            self.write(f"{erasure}{line}\r")
            self._passing = True

    def clear(self) -> None:
        """Take the passing line back."""
        if self._passing:
            self._passing = False
            self.write(self._erasure())

    def forget(self) -> None:
        """Leave the transient line where it is, since the cursor may be anywhere by now."""
        self._passing = False

    @property
    def columns(self) -> int:
        """The width of the terminal."""
        from unspool.terminal.size import size_of

        return size_of(self.output.fd)[0]

    def _erasure(self) -> str:
        # In a window that became narrower the line may be wrapped. What is below is erased from the next row on, since tmux keeps
        # what is erased from the upper left corner in its history.
        narrower = self._passing and self.columns < self._passing_columns
        return "\r\x1b[K\x1b7\x1b[1B\x1b[J\x1b8" if narrower else "\r\x1b[K"

    def write(self, text: str) -> None:
        """Write a text as it is, made safe by the caller."""
        try:
            self.output.write(text)
        except OSError:
            return  # a closed or full stderr must not cost the answer
