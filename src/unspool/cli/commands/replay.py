"""``unspool replay``: an answer again as it came, in time."""

from __future__ import annotations

import select
import time

from unspool import outcome
from unspool.cli import viewing
from unspool.cli.options import CommandError
from unspool.cli.signals import Signals
from unspool.journal import folder, reader, ulid
from unspool.journal.record import RECONNECTING
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.kept import ReplayOptions
    from unspool.outcome import Ending

# Seconds between two checks whether the output is still read.
_INTERVAL = 0.25


def run(options: ReplayOptions) -> int:
    """Play a kept answer in time, and return the exit code it had."""
    notes = Notes(Output(2), quiet=options.quiet)
    path = viewing.locate(options.id)
    with reader.Reader(path) as journal:
        if reader.is_alive(path):
            short = ulid.short(folder.id_of(path))
            raise CommandError(
                f"{short} is still running; to follow it: unspool attach {short}; replay it when it has ended"
            )
        view = viewing.View(journal, options, notes)
        with Signals(view.display) as signals:
            try:
                ending = _Player(view, signals, options.speed).play()
            except BlockingIOError:  # a signal came, and the reader of the output is not reading
                ending = None
            except BrokenPipeError:
                return outcome.EXIT_CODES[outcome.CLOSED]
            return 128 + signals.number if ending is None else ending.exit_code


class _Player:
    """Shows what a journal holds when its time has come, as fast as asked for, until its end or a signal."""

    def __init__(self, view: viewing.View, signals: Signals, speed: float) -> None:
        self._view = view
        self._signals = signals
        self._speed = speed
        self._begun = time.monotonic()
        # What is left out of the time: waits while the stream was being taken up again.
        self._skipped = 0.0
        self._attempts = 1
        self._last = 0.0

    def play(self) -> Ending | None:
        """Play all of it. Returns how it ended, None when a signal ended the playing."""
        view = self._view
        for deltas, events, at in view.replay.turns():
            if not self._wait_until(at):
                return None
            view.show(deltas, events, at)
        ended_at = view.replay.ended_at
        if ended_at is not None and not self._wait_until(max(ended_at, self._last)):
            return None
        return view.close()

    def _wait_until(self, at: float) -> bool:
        """Wait for a time on the tape, and draw pending output meanwhile. Returns False if a signal came."""
        if self._view.replay.attempts != self._attempts:
            self._attempts = self._view.replay.attempts
            if self._last:
                self._skipped += max(0.0, at - self._last - RECONNECTING)
        self._last = at
        while True:
            now = time.monotonic()
            left = self._begun + (at - self._skipped) / self._speed - now
            due = self._view.draw()
            wait = max(0.0, min(left, _INTERVAL, left if due is None else due))
            if select.select([self._signals.fd], [], [], wait)[0] and not self._has_resumed(now):
                self._view.display.flush()
                return False
            if left <= 0:
                return True
            if self._view.display.stdout.is_abandoned():
                raise BrokenPipeError

    def _has_resumed(self, since: float) -> bool:
        """Whether we woke because the process was stopped and continued: the time in between does not count."""
        if not self._signals.has_resumed() or self._signals.number:
            return False
        self._begun += time.monotonic() - since
        self._view.display.redraw()
        return True
