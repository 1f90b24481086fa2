"""The status line on stderr. Imported only after a wait, so never for a quick answer."""

from __future__ import annotations

import os
import time

from unspool.api.deltas import Reasoning, Refusal, Text
from unspool.config.url import origin
from unspool.terminal import abilities, progress, waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.cli.display import Display
    from unspool.client.answer import Answer
    from unspool.sse import Event

# Waits before a retry that are longer than this are written to a log.
_LOGGED_WAIT = 1.0
_ERASE = "\r\x1b[K"


class StatusLine:
    """Shows what the command waits for, and since when.

    It is drawn only where it can be taken back: not on a dumb terminal, nor in a row that the answer has begun (unless the format
    makes room below it), nor from the background of a shell. ``since`` is when the wait began, by `time.monotonic`.
    """

    def __init__(self, display: Display, *, since: float) -> None:
        self.is_shown = False
        #: Whether it stands in a row of its own on stderr, and not below the rows of the format.
        self.has_own_row = False
        self._display = display
        self._notes = display.notes
        self._stdout = display.stdout
        self._since = since
        self._draws = self._notes.is_tty and not abilities.is_dumb(os.environ)
        self._has_progress = self._draws and progress.is_known(os.environ)
        self._bar = progress.NONE
        self._bar_until = 0.0
        self._logged = 1
        # The attempt that runs, and the last one that brought anything.
        self._attempt = self._fed = 1
        # The newest events were of a model that thinks.
        self._thinks = False

    @property
    def erasure(self) -> bytes:
        """What takes the line off the screen."""
        row = _ERASE if self.has_own_row else ""
        return (row + (progress.NONE if self._has_progress else "")).encode()

    def update(self, answer: Answer, *, has_room: bool) -> float | None:
        """Draw the status line, if there is room. Returns the seconds until the next drawing, None for never."""
        words, left = self._words(answer)
        self._attempt = answer.exchange.attempt
        if not self._draws:
            self._log(words, left)
            return None
        if not words or not has_room or not self._is_foreground():
            self.clear()
            return None
        now = time.monotonic()
        line = waiting.line(words, now - self._since, self._notes.columns - 2)
        if self._stdout.is_tty and not self._stdout.at_line_start:
            if not self._display.format.show_status(line):
                return None
        else:
            # Before it is drawn: a signal that arrives from now on takes it away.
            self.is_shown = self.has_own_row = True
            self._notes.draw(line)
        self.is_shown = True
        self._set_bar(progress.TROUBLED if left is not None else progress.WORKING, now)
        return waiting.FRAME

    def feed(self, deltas: Iterable[Delta], events: Iterable[Event]) -> None:
        """Take note of what arrived."""
        if events:
            self._fed = self._attempt
        for event in events:
            if event.type == "response.output_item.added" and '"reasoning"' in event.data:
                self._thinks = True
        for delta in deltas:
            kind = type(delta)
            if kind is Reasoning:
                self._thinks = True
            elif kind is Text or kind is Refusal:
                self._thinks = False

    def clear(self) -> None:
        """Take the line away."""
        if not self.is_shown:
            return
        self.is_shown = self.has_own_row = False
        self._notes.clear()
        self._display.format.show_status(None)
        self._set_bar(progress.NONE, 0.0)

    def _words(self, answer: Answer) -> tuple[str, float | None]:
        """What is waited for, "" when for nothing, and the seconds before another attempt, if that is it."""
        exchange = answer.exchange
        if answer.retry_at is not None:
            left = answer.retry_at - time.monotonic()
            what = "resuming the response" if exchange.started else "trying again"
            if left > 0:
                return f"{what} in {-int(-left // 1)} s: {exchange.retry_reason}", left
        if exchange.started and exchange.attempt > self._fed:
            return f"resuming the response: {exchange.retry_reason}", None
        if answer.connecting and not exchange.started:
            return f"connecting to {origin(exchange.url).partition('://')[2]}", None
        model = answer.model or exchange.prompt.model
        if self._thinks:
            return f"{model} is thinking", None
        if not self._stdout.is_used:
            return self._display.format.awaits or f"waiting for the first token of {model}", None
        return "", None

    def _log(self, words: str, left: float | None) -> None:
        """Say once that a retry is waited for, where a line cannot be taken back."""
        if left is not None and left > _LOGGED_WAIT and self._attempt != self._logged:
            self._logged = self._attempt
            self._display.note(words)

    def _set_bar(self, state: str, now: float) -> None:
        if self._has_progress and (state != self._bar or (state != progress.NONE and now >= self._bar_until)):
            self._bar, self._bar_until = state, now + progress.REPEAT
            self._notes.write(state)

    def _is_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._notes.output.fd) == os.getpgrp()
        except (OSError, AttributeError):  # no terminal of ours, or a system without jobs
            return True
