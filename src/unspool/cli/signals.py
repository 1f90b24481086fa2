"""Ctrl-C, SIGTERM and SIGHUP: recorded when they arrive, handled by the loop of a stream."""

from __future__ import annotations

# The public module wraps these in enums, whose making costs a tenth of a short answer.
import _signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Protocol, TypeAlias

    #: What `signal.signal` takes and returns.
    Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | None

    class Screen(Protocol):
        """What is written to while signals are noted: an output, or a display with all of its outputs."""

        def hurry(self) -> None:
            """From now on never wait for a reader."""

        def restore(self) -> None:
            """Leave the descriptors as they were."""

        def leave(self) -> None:
            """Remove transient content from the screen."""


_WATCHED = tuple(getattr(_signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(_signal, name))


def leave_at_once() -> None:
    """From now on let Ctrl-C end the process silently: there is nothing to clean up.

    Python's own handler raises KeyboardInterrupt wherever the program happens to be: in an import, in a callback, on the way
    out. A Ctrl-C that the parent process ignores stays ignored.
    """
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)


def ignore_hang_up() -> None:
    """Ignore SIGHUP from now on."""
    _signal.signal(_signal.SIGHUP, _signal.SIG_IGN)


def tidy_up_first() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, where something must be restored, such as a terminal that does not echo."""
    if _signal.getsignal(_signal.SIGINT) is _leave:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


class Signals:
    """Records signals instead of ending the process: ``number`` is the first one, 0 until then.

    ``fd`` can be read from the moment a signal arrives, which wakes a loop that waits. A second signal ends the process at
    once. Signals that the parent process ignores (nohup, background jobs of a shell) stay ignored.

    From the first on, nothing waits any more for the readers of ``screens``. They take what is transient away before the process is
    stopped, or ended at once. A process that was stopped (Ctrl-Z) and continues is woken too, and `has_resumed` says so once: others
    may have written to the terminal since.
    """

    def __init__(self, *screens: Screen) -> None:
        self.number = 0
        self._has_resumed = False
        self._screens = screens
        self._before: dict[int, Handler] = {}
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def __enter__(self) -> Signals:
        # Written to by the interpreter's C handler, so there is no moment at which a signal could be missed.
        self._fd_before = _signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        for number in _WATCHED:
            if _signal.getsignal(number) != _signal.SIG_IGN:
                self._before[number] = _signal.signal(number, self._note)
        if hasattr(_signal, "SIGCONT"):
            self._before[_signal.SIGCONT] = _signal.signal(_signal.SIGCONT, self._resume)
        if hasattr(_signal, "SIGTSTP") and _signal.getsignal(_signal.SIGTSTP) == _signal.SIG_DFL:
            self._before[_signal.SIGTSTP] = _signal.signal(_signal.SIGTSTP, self._stop)
        return self

    def watched(self) -> tuple[int, ...]:
        """The descriptors that wake a loop which waits."""
        return (self.fd,)

    def has_resumed(self) -> bool:
        """Whether the process was stopped and continued since this was last asked."""
        if not self._has_resumed:
            return False
        self._has_resumed = False
        os.read(self.fd, 4096)  # what woke the loop for this has been seen
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        _signal.set_wakeup_fd(self._fd_before)
        for number, handler in self._before.items():
            _signal.signal(number, handler)
        os.close(self.fd)
        os.close(self._write_fd)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            for screen in self._screens:
                screen.leave()
            self._restore()
            os._exit(128 + number)
        self.number = number
        for screen in self._screens:
            screen.hurry()

    def _resume(self, number: int, frame: FrameType | None) -> None:
        self._has_resumed = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        for screen in self._screens:
            screen.leave()
        _signal.signal(number, _signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here again, some time later; or at once, where no shell waits for stopped processes.
        _signal.signal(number, self._stop)
        self._has_resumed = True

    def _restore(self) -> None:
        for screen in self._screens:
            screen.restore()
