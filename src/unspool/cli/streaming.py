"""Showing a stream while it runs: the one loop of every command that asks a server."""

from __future__ import annotations

import gc

from unspool import outcome
from unspool.cli.access import advice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.display import Display
    from unspool.cli.options.shared import RenderingOptions
    from unspool.cli.signals import Signals
    from unspool.cli.stats import Stats
    from unspool.client.answer import Answer
    from unspool.outcome import Ending
    from unspool.terminal.output import Notes

_SIGHUP = 1


def stream(
    answer: Answer, display: Display, signals: Signals, stats: Stats | None = None, *, needs_journal: bool = False
) -> Ending:
    """Show an answer as it arrives, until it ends or somebody ends it. Returns how the showing ended.

    That may be worse than the answer's own ending: its reader has gone away, or it has no code block that was to be extracted.
    With ``needs_journal`` nobody sees the answer but in its journal: it is cancelled when that cannot be written any more.
    """
    # Start-up is over: nothing made so far becomes garbage, and what the stream leaves behind does.
    gc.freeze()
    gc.enable()
    disk = _Disk(answer, display, needs_journal)
    ending = _show(answer, display, signals, stats, disk)
    if ending is not answer.ending:
        answer.cancel(ending.message, ending.signal, ending.outcome)
    disk.finish()
    return verdict(display, ending, stats)


def wanted_stats(options: RenderingOptions) -> Stats | None:
    """Return what measures an answer for ``--usage``, ``--stats`` and ``--copy``, None where none of them is given."""
    if not (options.usage or options.stats or options.copy):
        return None
    from unspool.cli.stats import Stats

    return Stats(usage=options.usage, stats=options.stats, copy=options.copy)


def shows_reasoning(options: RenderingOptions, notes: Notes) -> bool:
    """Return whether a live answer's reasoning is shown: unless an option says otherwise, to a person who reads text."""
    return options.format == "text" and (options.reasoning == "show" or (options.reasoning != "hide" and notes.is_tty))


def verdict(display: Display, ending: Ending, stats: Stats | None) -> Ending:
    """Tell the statistics, and return how the showing ended: a complete answer may miss what was wanted of it."""
    trouble = stats.tell(ending, display) if stats is not None else ""
    problem = display.format.problem() or trouble
    if not problem or ending.outcome != outcome.COMPLETE:
        return ending
    return outcome.Ending(outcome.ERROR, problem, ending.finish_reason, notes=ending.notes)


def _show(answer: Answer, display: Display, signals: Signals, stats: Stats | None, disk: _Disk) -> Ending:
    exchange = answer.exchange
    # A reader who goes away is noticed while there is nothing to write, too.
    readers = (1,) if display.stdout.has_reader else ()
    display.begin()
    try:
        while answer.ending is None:
            deltas = answer.step(display.wait(answer), signals.watched(), readers)
            if signals.number:
                deltas += answer.cancel(signal=signals.number)
            elif 1 in answer.woken:
                raise BrokenPipeError
            elif signals.has_resumed():
                display.redraw()
            disk.check()
            if disk.loses_answer and answer.ending is None:
                # Nobody sees the answer: cancel it, so that no more of it is charged.
                deltas += answer.cancel()
            if not deltas and not exchange.events:
                display.tick()
                continue
            if stats is not None:
                stats.feed(deltas, exchange.at)
            display.show(deltas, exchange.events, exchange.at)
        if stats is not None:
            stats.end(
                exchange.decoder,
                answer.ending,
                total=exchange.ended_at,
                attempts=exchange.attempt,
                id=kept_id(answer),
                format=display.format,
            )
        display.close(answer.ending, kept_id(answer))
        return answer.ending
    except BlockingIOError:  # a signal came, and the reader of the output is not reading
        return outcome.Ending(outcome.CANCELLED, signal=signals.number)
    except BrokenPipeError:
        return outcome.Ending(outcome.CLOSED)
    except OSError as error:
        import errno

        # A closed terminal refuses what is written before its hang-up reaches us: the shell gets that first.
        if signals.number or (display.stdout.is_tty and error.errno == errno.EIO):
            return outcome.Ending(outcome.CANCELLED, signal=signals.number or _SIGHUP)
        return outcome.Ending(outcome.ERROR, f"the answer cannot be written to standard output: {error.strerror}")
    finally:
        display.clear()


class _Disk:
    """Reports what a disk does to the journal: once, and again only when that changes."""

    def __init__(self, answer: Answer, display: Display, needs_journal: bool) -> None:
        self._journal = answer.exchange.journal
        self._display = display
        self._needs_journal = needs_journal
        self._reported: str | None = None
        if self._journal is not None and self._journal.warning:
            display.note(self._journal.warning, always=True)

    @property
    def loses_answer(self) -> bool:
        """Whether the answer is to be read from its journal, and that cannot be written any more."""
        return self._needs_journal and self._journal is not None and not self._journal.is_kept

    def check(self) -> None:
        """Report what is new."""
        if self._journal is not None and self._journal.trouble != self._reported:
            self._reported = self._journal.trouble
            self._display.note(self._reported or "")

    def finish(self) -> None:
        """Wait for the disk for the last time, and report how that went."""
        if self._journal is not None:
            self._journal.sync()
            self.check()


def report(
    answer: Answer, ending: Ending, display: Display, *, verbose: bool, sentence: str | None = None, hint: str = ""
) -> None:
    """Say on stderr how an answer ended, in the words of ``sentence`` if there is one; with ``hint`` how to give tools' results."""
    if sentence is None:
        sentence = outcome.sentence(ending, kept_id(answer), advice(ending, answer.exchange.target))
    if sentence:
        display.note(sentence, always=True)
    for note in ending.notes:
        display.note(note)
    calls, beside = display.format.tool_calls, display.format.extras
    if beside:
        from unspool.cli import extras

        extras.tell(beside, display, kept_id(answer))
    if ending.outcome == outcome.COMPLETE and not display.has_text and not calls and not beside:
        display.note(
            "the answer has no text, only reasoning (--show-reasoning shows it)"
            if display.has_reasoning
            else "the answer is complete but empty"
        )
    if calls:
        from unspool.cli import extras

        extras.tell_calls(calls, display, kept_id(answer), hint)
    if verbose:
        from unspool.cli import extras

        display.note(extras.details(answer, ending))


def kept_id(answer: Answer) -> str | None:
    """Return the id of the journal in which an answer is kept, None where it is not."""
    journal = answer.exchange.journal
    return journal.id if journal is not None and journal.path is not None else None
