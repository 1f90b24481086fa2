"""What a person sees around an answer, on stderr: what is waited for, and what the model thinks.

Imported when there is something to show, which for a quick answer is never.
"""

from __future__ import annotations

import os
import time

from unspool.api.deltas import Reasoning, Refusal, Text
from unspool.client.http.location import origin
from unspool.terminal import abilities, progress, waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.answer import Answer
    from unspool.sse import Event
    from unspool.terminal.output import Notes, Output

# Waits before a retry that are longer than this are told to a log.
_TOLD_WAIT = 1.0
_ERASE = "\r\x1b[K"


class StatusLine:
    """Shows a line while an answer is waited for, and its reasoning as that arrives if ``shows_reasoning``.

    The line is drawn only where it can be taken back: not on a dumb terminal, nor in a row that the answer has begun, nor from the
    background of a shell. ``since`` is when the waiting began, by `time.monotonic`.
    """

    def __init__(
        self, notes: Notes, stdout: Output, format: Any, *, since: float, shows_reasoning: bool = False
    ) -> None:
        self._notes = notes
        self._stdout = stdout
        self._format = format
        self._shows_reasoning = shows_reasoning
        self._since = since
        self._is_dumb = abilities.is_dumb(os.environ)
        self._draws = notes.is_tty and not self._is_dumb
        self._progress = self._draws and progress.is_known(os.environ)
        self._bar = progress.NONE
        self._bar_until = 0.0
        self._told = 1
        # The attempt that runs, and the last one that brought anything.
        self._attempt = self._fed = 1
        self._is_shown = False
        # Events of this attempt that brought nothing to see were of a model that thinks.
        self._thinks = False
        # A line of reasoning that has not ended.
        self._open = False
        #: Whether reasoning was the last thing that was written.
        self.is_thinking = False
        self._room = notes.before
        notes.before = self._make_room

    def tell(self, answer: Answer) -> float | None:
        """Say what is waited for; return the seconds after which to say it again, None for never."""
        words, left = self._words(answer)
        self._attempt = answer.exchange.attempt
        if not self._draws:
            return self._log(answer, left)
        if not words or self.is_thinking or not self._is_foreground():
            self._clear()
            return None
        now = time.monotonic()
        line = waiting.line(words, now - self._since, self._notes.columns - 2)
        if self._stdout.is_tty and not self._stdout.at_line_start:
            if (status := getattr(self._format, "status", None)) is None:
                return None
            status(line)
        else:
            # Whoever writes the answer's first byte takes the line away with it.
            self._stdout.before = self._clear
            self._notes.output.parting = (_ERASE + (progress.NONE if self._progress else "")).encode()
            self._notes.draw(line)
        self._is_shown = True
        self._set_bar(progress.TROUBLED if left is not None else progress.WORKING, now)
        return waiting.FRAME

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Have what arrived shown: the reasoning here, all else by the format."""
        if events:
            self._fed = self._attempt
        for event in events:
            if event.type == "response.output_item.added" and '"reasoning"' in event.data:
                self._thinks = True
        run: list[Delta] = []
        for delta in deltas:
            kind = type(delta)
            if kind is Reasoning:
                self._thinks = True
                if self._shows_reasoning and delta.choice == 0:  # type: ignore[attr-defined]
                    self._answer(run, [], at)
                    run = []
                    self._think(delta.text)  # type: ignore[attr-defined]
                    continue
            elif kind is Text or kind is Refusal:
                self._thinks = False
            run.append(delta)
        self._answer(run, events, at)

    def close(self) -> None:
        """Take away what passes, and end the line of the reasoning."""
        self._clear()
        self._end_thinking()
        self._notes.before = self._room

    def forget(self) -> None:
        """Take what is on the screen for somebody else's."""
        self._notes.forget()

    # The line

    def _words(self, answer: Answer) -> tuple[str, float | None]:
        """What is waited for, "" when for nothing, and the seconds before another attempt, if that is it."""
        exchange = answer.exchange
        if answer.retry_at is not None:
            left = answer.retry_at - time.monotonic()
            what = "taking the response up again" if exchange.started else "trying again"
            if left > 0:
                return f"{what} in {-int(-left // 1)} s: {exchange.retry_reason}", left
        if exchange.started and exchange.attempt > self._fed:
            return f"taking the response up again: {exchange.retry_reason}", None
        if answer.connecting and not exchange.started:
            return f"connecting to {origin(exchange.url).partition('://')[2]}", None
        model = answer.model or exchange.prompt.model
        if self._thinks:
            return f"{model} is thinking", None
        if not self._stdout.is_used:
            return getattr(self._format, "awaits", "") or f"waiting for the first token of {model}", None
        return "", None

    def _log(self, answer: Answer, left: float | None) -> float | None:
        """Say once that a retry is waited for, where a line cannot be taken back."""
        attempt = answer.exchange.attempt
        if left is not None and left > _TOLD_WAIT and attempt != self._told:
            self._told = attempt
            self._notes.line(self._words(answer)[0])
        return None

    def _clear(self) -> None:
        if not self._is_shown:
            return
        self._is_shown = False
        self._stdout.before = None
        self._notes.clear()
        self._notes.output.parting = b""
        if (status := getattr(self._format, "status", None)) is not None:
            status(None)
        self._set_bar(progress.NONE, 0.0)

    def _set_bar(self, state: str, now: float) -> None:
        if self._progress and (state != self._bar or (state != progress.NONE and now >= self._bar_until)):
            self._bar, self._bar_until = state, now + progress.REPEAT
            self._notes.write(state)

    def _is_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._notes.output.fd) == os.getpgrp()
        except (OSError, AttributeError):  # no terminal of ours, or a system without jobs
            return True

    # The reasoning

    def _answer(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        if not deltas and not events:
            return
        if self.is_thinking and any(type(one) is not Reasoning for one in deltas):
            self._end_thinking()
        self._format.show(deltas, events, at)

    def _think(self, text: str) -> None:
        output = self._notes.output
        self._clear()
        if not self.is_thinking:
            self._make_room()
            if self._stdout.is_tty and not self._stdout.at_line_start:
                self._stdout.write("\n")
            self.is_thinking = True
            if self._is_dumb or not output.is_tty:
                self._notes.write("reasoning:\n")
        text = output.safe(text)
        if text:
            self._open = not text.endswith("\n")
            self._notes.write(f"\x1b[2m{text}\x1b[0m" if output.is_tty and not self._is_dumb else text)
        if (get_ready := getattr(self._format, "get_ready", None)) is not None:
            get_ready()

    def _end_thinking(self) -> None:
        """End the reasoning's last line, and set the answer off from it where both are on one screen."""
        if not self.is_thinking:
            return
        self.is_thinking = False
        self._notes.write(
            ("\n" if self._open else "") + ("\n" if self._stdout.is_tty and self._notes.output.is_tty else "")
        )
        self._open = False

    def _make_room(self) -> None:
        """Leave an empty row to whoever is about to write a line."""
        self._clear()
        if self._open:
            self._open = False
            self._notes.write("\n")
        if self._room is not None:
            self._room()
