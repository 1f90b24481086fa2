"""Showing a stream while it runs: the one loop of every command that asks a server."""

from __future__ import annotations

import errno
import gc
import time

from unspool import outcome
from unspool.api.deltas import Reasoning
from unspool.cli.access import key_advice
from unspool.terminal.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.cli.signals import Signals
    from unspool.cli.stats import Stats
    from unspool.cli.status_line import StatusLine
    from unspool.client.answer import Answer
    from unspool.journal.writer import Writer
    from unspool.outcome import Ending
    from unspool.terminal.output import Notes

# Seconds for which nothing is said: an answer that comes by then was not waited for (Nielsen's 0.1 to 1 s).
_QUIET = 0.2

_SIGHUP = 1


def stream(
    answer: Answer,
    format: Any,
    notes: Notes,
    signals: Signals,
    stdout: Output | None = None,
    arguments: dict[str, Any] | None = None,
) -> Ending:
    """Show an answer as it arrives, until it ends or somebody ends it. Returns how the showing ended.

    That may be worse than the answer itself, which can be whole before its reader has gone away, or lack what was to be extracted.
    ``stdout`` is what the format writes to; of the ``arguments`` those count that say what is told beside the answer.
    """
    stdout = stdout or Output(1)
    tally = tallied(arguments, format)
    # The start is over: what it made is never looked at again, and what the stream leaves behind is.
    gc.freeze()
    gc.enable()
    trouble = _Trouble(answer.exchange.journal, notes)
    ending = _show(answer, format, notes, signals, trouble, stdout, tally, _shows_reasoning(arguments, notes))
    if ending is not answer.ending:
        answer.cancel(ending.message, ending.signal, ending.outcome)
    trouble.tell_last()
    return judged(format, ending, tally.tell(ending, notes, stdout) if tally is not None else "")


def tallied(arguments: dict[str, Any] | None, format: Any) -> Stats | None:
    """What counts and keeps for the options that ask for it, None if none does."""
    if not arguments or not (arguments["usage"] or arguments["stats"] or arguments["copy"]):
        return None
    from unspool.cli.stats import Stats

    return Stats(arguments, format)


def judged(format: Any, ending: Ending, trouble: str = "") -> Ending:
    """How the showing ended: an answer that is whole may lack what its format is about, or meet trouble when it is used."""
    lacks = getattr(format, "lacks", None)
    words = (lacks() if lacks is not None else "") or trouble
    if not words or ending.outcome != outcome.COMPLETE:
        return ending
    return outcome.Ending(outcome.ERROR, words, ending.finish_reason)


def _shows_reasoning(arguments: dict[str, Any] | None, notes: Notes) -> bool:
    if not arguments or arguments["format"] != "text" or arguments["reasoning"] == "hide":
        return False
    return notes.is_tty or arguments["reasoning"] == "show"


def _show(
    answer: Answer,
    format: Any,
    notes: Notes,
    signals: Signals,
    trouble: _Trouble,
    stdout: Output,
    tally: Stats | None,
    shows_reasoning: bool,
) -> Ending:
    readers = (1,) if stdout.has_reader else ()
    # What came before is another's.
    stdout.is_used = False
    margin: StatusLine | None = None
    began_at = time.monotonic()
    speaks_at = began_at + _QUIET if notes.is_tty else None
    # What is drawn has a time of its own: formats that draw say when, and make room for what is said in between.
    due = getattr(format, "due", None)
    notes.before = getattr(format, "step_aside", None)
    try:
        while answer.ending is None:
            if margin is not None:
                wait = margin.tell(answer)
            elif speaks_at is None or stdout.is_used:
                wait = speaks_at = None
            else:
                wait = max(0.0, speaks_at - time.monotonic())
            is_drawn = margin is None or not margin.is_thinking
            deltas = answer.step(_sooner(wait, due if is_drawn else None), signals.watched(), readers)
            if signals.number:
                deltas += answer.cancel(signal=signals.number)
            elif 1 in answer.woken:
                raise BrokenPipeError
            elif signals.has_resumed():
                notes.forget()
                if (start_anew := getattr(format, "start_anew", None)) is not None:
                    start_anew()
            if margin is None and (
                answer.exchange.attempt > 1
                or (wait is not None and time.monotonic() >= began_at + _QUIET)
                or (shows_reasoning and any(type(one) is Reasoning for one in deltas))
            ):
                from unspool.cli.status_line import StatusLine

                margin = StatusLine(notes, stdout, format, since=began_at, shows_reasoning=shows_reasoning)
            trouble.tell()
            if deltas or answer.exchange.events:
                if tally is not None:
                    tally.feed(deltas, answer.exchange.at)
                (format if margin is None else margin).show(deltas, answer.exchange.events, answer.exchange.at)
            elif due is not None and is_drawn and due() is not None:
                format.tick()
        if tally is not None:
            exchange = answer.exchange
            tally.end(
                exchange.decoder,
                answer.ending,
                total=exchange.ended_at,
                attempts=exchange.attempt,
                id=kept_id(answer),
            )
        if margin is not None:
            margin.close()
            margin = None
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
    finally:
        if margin is not None:
            margin.close()


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


def tell(answer: Answer, ending: Ending, format: Any, notes: Notes, verbose: bool, sentence: str | None = None) -> None:
    """Say how an answer ended, in the words of ``sentence`` if there is one."""
    if sentence is None:
        sentence = outcome.sentence(ending, kept_id(answer), key_advice(answer.exchange.target))
    if sentence:
        notes.line(sentence, always=True)
    for call in getattr(format, "tool_calls", ()):
        notes.line(f"the model calls the tool {call.name} with {call.arguments}")
    if (calls := getattr(format, "tool_calls", ())) and kept_id(answer):
        results = " ".join(f"--tool-result {_typed(call.id)} RESULT" for call in calls if call.choice == 0)
        notes.line(f"to go on with what it brings: unspool -c {results}")
    if verbose:
        describe(answer, ending, notes)


def _typed(id: str) -> str:
    """A server's id as part of a command that people copy into a shell: what may mean something to one is not shown."""
    return id if id.replace("_", "").replace("-", "").isalnum() and id[0] != "-" else "ID"


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
