"""Who has the screen while an answer is shown: the one owner of stdout, stderr and the status line.

Three things may share the rows below what is final: the rows that a format redraws, the status line, and a row of reasoning that has
not ended. Whoever writes next goes through the display, which first makes the others give way.
"""

from __future__ import annotations

import os
import time

from unspool.api.deltas import Reasoning, Refusal, Text
from unspool.terminal.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.cli.formats import View
    from unspool.cli.reasoning import ReasoningView
    from unspool.cli.status_line import StatusLine
    from unspool.client.answer import Answer
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Notes

# Seconds without a status line: an answer that comes by then was not waited for (Nielsen's 0.1 to 1 s).
_QUIET = 0.2


class Display:
    """Shows one answer: the answer itself by a format on stdout; notes, the status line and the reasoning on stderr.

    With ``shows_reasoning`` the reasoning of the first choice goes to stderr as it arrives.
    """

    def __init__(self, notes: Notes, view: View, *, shows_reasoning: bool = False) -> None:
        self.notes = notes
        self.stdout: Output = _Stdout(self)
        self.format = view(self.stdout)
        #: Whether the answer has any text, and any reasoning before that.
        self.has_text = self.has_reasoning = False
        self._shows_reasoning = shows_reasoning
        self._since = time.monotonic()
        # Both are imported when there is something to show, which for a quick answer is never.
        self._status: StatusLine | None = None
        self._reasoning: ReasoningView | None = None
        # Reasoning was the last thing to be written: nothing else is drawn until the answer continues.
        self._is_reasoning = False

    # The answer

    def begin(self) -> None:
        """Begin to wait for the answer. What is on the screen by now does not count as part of it."""
        self.stdout.is_used = False
        self._since = time.monotonic()

    def wait(self, answer: Answer) -> float | None:
        """Draw the status line; return the seconds until something is to be drawn, None for never."""
        if self._status is None and answer.exchange.attempt == 1 and (self.stdout.is_used or not self.notes.is_tty):
            return self.due()
        seconds, due = self._wait_for_status(answer), self.due()
        if seconds is None or due is None:
            return due if seconds is None else seconds
        return min(seconds, due)

    def due(self) -> float | None:
        """Return the seconds until `tick` has something to draw, None for never."""
        return None if self._is_reasoning else self.format.due()

    def tick(self) -> None:
        """Draw pending output of the answer."""
        if not self._is_reasoning:
            self.format.tick()

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show what arrived ``at`` seconds after the request."""
        if not self.has_text:
            self.look_for_text(deltas)
        if self._status is not None:
            self._status.feed(deltas, events)
        if not self._shows_reasoning:
            self.format.show(deltas, events, at)
            return
        answer: list[Delta] = []
        for delta in deltas:
            if type(delta) is Reasoning and delta.choice == 0:
                self._show_answer(answer, [], at)
                answer = []
                self._show_reasoning(delta.text)
            else:
                answer.append(delta)
        self._show_answer(answer, events, at)

    def redraw(self) -> None:
        """Draw below the current screen content, because others have written there."""
        self.notes.forget()
        self.format.redraw()

    def flush(self) -> None:
        """Show all that has come, though the answer has not ended."""
        self.clear()
        self.format.flush()

    def close(self, ending: Ending, id: str | None) -> None:
        """Show what was held back, and how the answer ended."""
        self.clear()
        self.format.close(ending, id)

    # What else there is to see

    def note(self, text: str, *, always: bool = False) -> None:
        """Write one line to stderr. With ``always`` also for those who asked for quiet."""
        if always or not self.notes.is_quiet:
            if self.notes.output.is_tty:
                self._make_room()
            self.notes.line(text, always=always)

    def clear(self) -> None:
        """Take the status line away, and end the row of the reasoning."""
        self.clear_status()
        if self._is_reasoning:
            self._end_reasoning()

    def clear_status(self) -> None:
        """Take the status line away until it is drawn again."""
        if self._status is not None and self._status.is_shown:
            self._status.clear()

    # Signals. All three are made for signal handlers: they only call the system.

    def hurry(self) -> None:
        """From now on never wait for a reader."""
        self.stdout.hurry()
        self.notes.output.hurry()

    def restore(self) -> None:
        """Leave the descriptors, which other processes may share, as they were."""
        self.stdout.restore()
        self.notes.output.restore()

    def leave(self) -> None:
        """Take the status line off the screen before the process is stopped, or ended by a second signal."""
        if self._status is not None and self._status.is_shown:
            try:
                os.write(self.notes.output.fd, self._status.erasure)
            except OSError:
                pass

    # The parts

    def look_for_text(self, deltas: list[Delta]) -> None:
        """Take note of whether there is any text, or reasoning."""
        for delta in deltas:
            kind = type(delta)
            if kind is Text or kind is Refusal:
                self.has_text = True
            elif kind is Reasoning:
                self.has_reasoning = True

    def _wait_for_status(self, answer: Answer) -> float | None:
        if self._status is None:
            left = self._since + _QUIET - time.monotonic()
            if left > 0 and answer.exchange.attempt == 1:
                return left
            from unspool.cli.status_line import StatusLine

            self._status = StatusLine(self, since=self._since)
        return self._status.update(answer, has_room=not self._is_reasoning)

    def _show_answer(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        if not deltas and not events:
            return
        if self._is_reasoning and any(type(delta) is not Reasoning for delta in deltas):
            self._end_reasoning()
        self.format.show(deltas, events, at)

    def _show_reasoning(self, text: str) -> None:
        if self._reasoning is None:
            from unspool.cli.reasoning import ReasoningView

            self._reasoning = ReasoningView(self.notes)
        self.clear_status()
        if not self._is_reasoning:
            self._make_room()
            if self.stdout.is_tty and not self.stdout.at_line_start:
                self.stdout.write("\n")
            self._is_reasoning = True
            self._reasoning.begin()
        self._reasoning.write(text)
        # Whoever reads the reasoning leaves time for that.
        self.format.prepare()

    def _end_reasoning(self) -> None:
        self._is_reasoning = False
        if self._reasoning is not None:
            self._reasoning.end(is_followed=self.stdout.is_tty)

    def _make_room(self) -> None:
        """Leave an empty row to whoever is about to write a line."""
        self.clear_status()
        if self._reasoning is not None:
            self._reasoning.end_row()
        self.format.step_aside()


class _Stdout(Output):
    """Standard output. The answer's first byte takes the status line away."""

    def __init__(self, display: Display) -> None:
        super().__init__(1)
        self._display = display

    def write(self, text: str) -> None:
        """Write a text."""
        status = self._display._status
        if status is not None and status.has_own_row and text:
            self.is_used = True
            status.clear()
        super().write(text)
