"""Writing to the descriptors of a terminal, a pipe or a file: whole, at once, and interruptibly."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


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
        #: Whether anything was written.
        self.is_used = False
        #: Called once, before the next thing is written: what stands in its place gives way.
        self.before: Callable[[], None] | None = None
        #: Written before the process is stopped, or ended by a second signal, so that nothing passing stays on the screen.
        self.parting = b""
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
        if self.before is not None:
            before, self.before = self.before, None
            before()
        data = text.encode("utf-8", "replace")
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                if self._hurried:
                    self.at_line_start = False
                    raise
                # Somebody who shares the descriptor has set O_NONBLOCK on it.
                self._wait()
        self.at_line_start = text[-1] == "\n"

    def is_abandoned(self) -> bool:
        """Whether whoever read this pipe or socket has gone away, which writing would otherwise be the first to tell."""
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
            pass  # closed, so there is nobody to wait for; or a Windows whose pipes cannot be told
        self._hurried = True

    def restore(self) -> None:
        """Leave the descriptor, which other processes may share, as it was."""
        if self._restore:
            self._restore = False
            os.set_blocking(self.fd, True)

    def leave(self) -> None:
        """Write the parting word, if there is one, as far as that is possible without waiting. Made for signal handlers."""
        try:
            if self.parting:
                os.write(self.fd, self.parting)
        except OSError:
            pass

    def _wait(self) -> None:
        import select

        select.select([], [self.fd], [])


class Notes:
    """What is said beside the answer, on stderr: lines, and one line that is taken back before anything else is shown.

    All of it may quote a server, and is made safe here.
    """

    def __init__(self, output: Output, *, quiet: bool = False) -> None:
        self.output = output
        self._quiet = quiet
        self._passing = False
        self._passing_columns = 0
        #: Called before anything is said in the midst of an answer, so that what is drawn there makes room.
        self.before: Callable[[], None] | None = None

    @property
    def is_tty(self) -> bool:
        """Whether a person watches."""
        return self.output.is_tty and not self._quiet

    def line(self, text: str, *, always: bool = False) -> None:
        """Say one line. With ``always`` also to those who asked for quiet."""
        if self._quiet and not always:
            return
        from unspool.terminal.safety import one_line

        self.clear()
        if self.before is not None and self.output.is_tty:
            self.before()
        self.write(f"unspool: {one_line(text)}\n")

    def passing(self, text: str) -> None:
        """Show a line that the next one replaces, until `clear`. Only to a person, on an empty row."""
        if self.is_tty:
            from unspool.terminal.safety import one_line
            from unspool.terminal.waiting import fitted

            self.draw(fitted(one_line(text), self.columns - 1, "..."))

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
        """Leave the passing line where it is, for the cursor may be anywhere by now."""
        self._passing = False

    @property
    def columns(self) -> int:
        """The width of the terminal."""
        return _columns(self.output.fd)

    def _erasure(self) -> str:
        return "\r\x1b[J" if self._passing and self.columns < self._passing_columns else "\r\x1b[K"

    def write(self, text: str) -> None:
        """Write a text as it is, made safe by the caller."""
        try:
            self.output.write(text)
        except OSError:
            return  # a closed or full stderr must not cost the answer


def _columns(fd: int) -> int:
    try:
        return os.get_terminal_size(fd).columns or 80
    except OSError:
        return 80
