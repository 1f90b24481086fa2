"""Showing a stream while it runs: the one loop of every command that asks a server."""

from __future__ import annotations

import errno
import gc
import time

from unspool import outcome
from unspool.cli.access import key_advice
from unspool.terminal.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.cli.signals import Signals
    from unspool.client.answer import Answer
    from unspool.journal.writer import Writer
    from unspool.outcome import Ending
    from unspool.terminal.output import Notes

# Waits before a retry that are longer than this are told, second by second.
_TOLD_WAIT = 1.0

_SIGHUP = 1


def stream(answer: Answer, format: Any, notes: Notes, signals: Signals) -> Ending:
    """Show an answer as it arrives, until it ends or somebody ends it. Returns how the showing ended.

    That may be worse than the answer itself, which can be whole before its reader has gone away.
    """
    # The start is over: what it made is never looked at again, and what the stream leaves behind is.
    gc.freeze()
    gc.enable()
    trouble = _Trouble(answer.exchange.journal, notes)
    ending = _show(answer, format, notes, signals, trouble)
    if ending is not answer.ending:
        answer.cancel(ending.message, ending.signal, ending.outcome)
    trouble.tell_last()
    return ending


def _show(answer: Answer, format: Any, notes: Notes, signals: Signals, trouble: _Trouble) -> Ending:
    countdown = _Countdown(notes)
    stdout = Output(1)
    readers = (1,) if stdout.has_reader else ()
    # What is drawn has a time of its own: formats that draw say when, and make room for what is said in between.
    due = getattr(format, "due", None)
    notes.before = getattr(format, "step_aside", None)
    try:
        while answer.ending is None:
            deltas = answer.step(_sooner(countdown.tell(answer), due), signals.watched(), readers)
            if signals.number:
                deltas += answer.cancel(signal=signals.number)
            elif 1 in answer.woken:
                raise BrokenPipeError
            elif signals.has_resumed() and (start_anew := getattr(format, "start_anew", None)) is not None:
                start_anew()
            notes.clear()
            trouble.tell()
            if deltas or answer.exchange.events:
                format.show(deltas, answer.exchange.events, answer.exchange.at)
            elif due is not None and due() is not None:
                format.tick()
        format.close(answer.ending, kept_id(answer))
        return answer.ending
    except BlockingIOError:  # a signal came, and nobody reads what is to be written
        return outcome.Ending(outcome.CANCELLED, signal=signals.number)
    except BrokenPipeError:
        return outcome.Ending(outcome.CLOSED)
    except OSError as error:
        # A terminal that is closed refuses what is written, and only then is the hang-up told: to the shell first.
        if signals.number or (stdout.is_tty and error.errno == errno.EIO):
            return outcome.Ending(outcome.CANCELLED, signal=signals.number or _SIGHUP)
        return outcome.Ending(outcome.ERROR, f"the answer cannot be written to standard output: {error.strerror}")


class _Trouble:
    """Tells what a disk does to the journal: once, and again only when it is something else."""

    def __init__(self, journal: Writer | None, notes: Notes) -> None:
        self._journal = journal
        self._notes = notes
        self._told: str | None = None

    def tell(self) -> None:
        """Say what is new."""
        if self._journal is not None and self._journal.trouble != self._told:
            self._told = self._journal.trouble
            self._notes.line(self._told or "")

    def tell_last(self) -> None:
        """Wait for the disk for the last time, and say how that went."""
        if self._journal is not None:
            self._journal.sync()
            self.tell()


def _sooner(seconds: float | None, due: Callable[[], float | None] | None) -> float | None:
    other = None if due is None else due()
    if seconds is None or other is None:
        return other if seconds is None else seconds
    return min(seconds, other)


class _Countdown:
    """Tells that a retry is being waited for: second by second to a person, once to a log."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._told = 0

    def tell(self, answer: Answer) -> float | None:
        """Say how long it still takes, and return for how long that stays true."""
        if answer.retry_at is None:
            return None
        left = answer.retry_at - time.monotonic()
        attempt = answer.exchange.attempt
        if left <= 0 or (self._told != attempt and left <= _TOLD_WAIT):
            return None
        words = f"trying again in {-int(-left // 1)} s: {answer.exchange.retry_reason}"
        if self._notes.is_tty:
            self._notes.passing(words)
        elif self._told != attempt:
            self._notes.line(words)
        self._told = attempt
        return left % 1 or 1.0


def tell(answer: Answer, ending: Ending, format: Any, notes: Notes, verbose: bool, sentence: str | None = None) -> None:
    """Say how an answer ended, in the words of ``sentence`` if there is one."""
    if sentence is None:
        sentence = outcome.sentence(ending, kept_id(answer), key_advice(answer.exchange.endpoint))
    if sentence:
        notes.line(sentence, always=True)
    for call in getattr(format, "tool_calls", ()):
        notes.line(f"the model calls the tool {call.name} with {call.arguments}")
    if verbose:
        describe(answer, ending, notes)


def describe(answer: Answer, ending: Ending, notes: Notes) -> None:
    exchange = answer.exchange
    parts = [ending.outcome]
    if ending.finish_reason:
        parts.append(f"finish reason {ending.finish_reason}")
    if answer.model:
        parts.append(f"model {answer.model}")
    if exchange.first_event_at is not None:
        parts.append(f"first event after {exchange.first_event_at:.3f} s, last after {exchange.at:.3f} s")
    if answer.usage is not None:
        parts.append(f"{answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out")
    if exchange.request_id:
        parts.append(f"request {exchange.request_id}")
    if exchange.attempt > 1:
        parts.append(f"attempt {exchange.attempt}")
    notes.line(", ".join(parts))


def kept_id(answer: Answer) -> str | None:
    journal = answer.exchange.journal
    return journal.id if journal is not None and journal.path is not None else None
