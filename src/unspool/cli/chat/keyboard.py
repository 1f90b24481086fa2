"""The terminal while no line is edited: what is typed is neither echoed into the answer nor lost.

The line editor puts the terminal into its own mode and back. Between two of its prompts, while an answer streams, the terminal is in ours:
no echo, no lines, only the keys that make signals. What is typed then is taken out of the terminal, whose own room for it is small, and
is in the next prompt. Bracketed paste stays on, so that a text pasted then does not come as so many prompts.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from unspool.cli.signals import Signals

try:
    import termios
except ImportError:  # Windows: what is typed is shown where the cursor is
    termios = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType, TracebackType
    from typing import Any

    from unspool.cli.signals import Handler, Screen
    from unspool.terminal.output import Output

_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
# No style, the cursor shown, lines wrapped: what the line editor may have changed when a signal ends the program in the midst of it.
_AS_USUAL = "\x1b[0m\x1b[?25h\x1b[?7h" + _PASTE_OFF + "\r\n"


class Keyboard:
    """The terminal at descriptor 0, in our mode from entering to leaving; without a terminal it does nothing.

    ``screen`` is where the terminal shows things, None for one that knows no sequences. ``on_leaving`` is called when a signal ends the
    program while no answer streams, which is after the terminal is as it was.
    """

    def __init__(self, screen: Output | None, on_leaving: Callable[[], None] = lambda: None) -> None:
        self._screen = screen
        self._on_leaving = on_leaving
        self._before: list[Any] | None = None
        self._typed = bytearray()
        self._is_resting = False
        self._is_gone = False
        self._handlers: dict[int, Handler] = {}
        if termios is not None and os.isatty(0):
            self._before = termios.tcgetattr(0)

    def __enter__(self) -> Keyboard:
        if self._before is not None:
            self._handle(signal.SIGTSTP, self.stop)
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._handle(number, self._leave)
            self.quieten()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def quieten(self) -> None:
        """Put the terminal into our mode, unless another has it."""
        if self._before is None or self._is_resting:
            return
        mode = [*self._before]
        # Enter must stay what it is for the line editor, and Ctrl-C must not throw away what is typed and what is still to be shown.
        mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
        mode[3] = mode[3] & ~(termios.ECHO | termios.ICANON) | termios.ISIG | termios.NOFLSH
        mode[6] = [*mode[6]]
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        self._set(mode, _PASTE_ON)

    def restore(self) -> None:
        """Put the terminal back as it was found."""
        if self._before is not None:
            self._set(self._before, _PASTE_OFF)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Leave the terminal to a question, in its usual mode. What was typed before is no answer to it."""
        self.take()
        self.restore()
        self._is_resting = True
        try:
            yield
        finally:
            self._is_resting = False
            self.quieten()

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Let another program have the terminal, with its signals: an editor."""
        with self.lent():
            # Ctrl-C is the other program's; a handler, unlike an ignored signal, is not inherited.
            before = signal.signal(signal.SIGINT, lambda number, frame: None)
            try:
                yield
            finally:
                signal.signal(signal.SIGINT, before)

    def take(self) -> None:
        """Take what has been typed out of the terminal, without waiting."""
        try:
            while self.descriptors and select.select([0], [], [], 0)[0]:
                data = os.read(0, 1 << 16)
                self._is_gone = not data
                self._typed += data
        except OSError:
            self._is_gone = True

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What can be read when something is typed."""
        return (0,) if self._before is not None and not self._is_gone and not self._is_resting else ()

    def typed(self) -> bytes:
        """Return what was taken, and forget it."""
        self.take()
        data = bytes(self._typed)
        self._typed.clear()
        return data

    def _set(self, mode: list[Any], sequence: str) -> None:
        try:
            # In the background the system would stop us for it: the terminal is another's.
            if os.tcgetpgrp(0) != os.getpgrp():
                return
            termios.tcsetattr(0, termios.TCSANOW, mode)
            if self._screen is not None:
                at_line_start = self._screen.at_line_start
                self._screen.write(sequence)
                self._screen.at_line_start = at_line_start
        except (OSError, termios.error):
            pass  # the terminal is gone

    def _handle(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        if signal.getsignal(number) != signal.SIG_IGN:
            self._handlers[number] = signal.signal(number, handler)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Stop, as Ctrl-Z wants, and leave the shell a terminal that echoes."""
        if not self._is_resting:
            self.restore()
        handler = signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Continues here after fg.
        signal.signal(number, handler)
        self.quieten()

    def _leave(self, number: int, frame: FrameType | None) -> None:
        """End the program from wherever it is: every answer is in its journal, so there is nothing else to tidy up."""
        self.restore()
        if self._screen is not None:
            with contextlib.suppress(OSError):
                self._screen.write(_AS_USUAL)
        self._on_leaving()
        os._exit(128 + number)


class Interrupts(Signals):
    """The signals of one answer in a chat: Ctrl-C stops the answer, however often it is pressed, and never the chat.

    Typing wakes the loop too, so that it is taken in.
    """

    def __init__(self, keyboard: Keyboard, screen: Screen) -> None:
        super().__init__(screen)
        self._keyboard = keyboard

    def __enter__(self) -> Interrupts:
        super().__enter__()
        if self._keyboard.descriptors:
            self._before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        return self

    def watched(self) -> tuple[int, ...]:
        """The descriptors that wake the loop; what was typed is taken in first."""
        self._keyboard.take()
        return (self.fd, *self._keyboard.descriptors)

    def has_resumed(self) -> bool:
        """Whether the process was stopped and continued since this was last asked."""
        resumed = super().has_resumed()
        if resumed:
            # A shell may have changed the mode of the terminal in between.
            self._keyboard.quieten()
        return resumed

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for screen in self._screens:
            screen.leave()
        self._keyboard.stop(number, frame)
        self._has_resumed = True

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number and number == signal.SIGINT:
            return
        if self.number:
            self._keyboard.restore()
        super()._note(number, frame)
