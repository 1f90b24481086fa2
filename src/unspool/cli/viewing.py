"""Showing a kept answer: what `show`, `replay` and `attach` have in common. They differ in when they look for more."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.cli import formats
from unspool.cli.display import Display
from unspool.cli.streaming import verdict, wanted_stats
from unspool.config.paths import runs_dir, streams_dir
from unspool.journal import folder, record
from unspool.journal.replay import Replay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.cli.options.shared import RenderingOptions
    from unspool.journal.reader import Reader
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Notes


def locate(wanted: str | None) -> str:
    """The file of a journal: the one named, the kept one whose id has this part, or the last one. Raises folder.NotFound."""
    if wanted is None:
        return folder.locate(streams_dir(), None)
    # No id has a dot or a slash in it, and every path to a journal has.
    if "." in wanted or "/" in wanted or os.sep in wanted:
        with open(wanted, "rb") as file:
            if file.read(len(record.HEADER)) != record.HEADER:
                raise folder.NotFound(f"{wanted} is not a journal, or its version is not supported")
        return wanted
    return folder.locate(streams_dir(), wanted)


def streams_in(run: str | None) -> str:
    """The folder of the journals of a run, or of all answers outside runs. Raises folder.NotFound."""
    if run is None:
        return streams_dir()
    from unspool.batch import parts

    return parts.streams_of(parts.find(runs_dir(), run))


class View:
    """Shows what a journal holds, as the options say: in a format, with the reasoning beside it and what is counted of it.

    `show` takes the turns of ``replay``; `close` says that there are no more.
    """

    def __init__(self, journal: Reader, options: RenderingOptions, notes: Notes, *, first_id: int = 0) -> None:
        self.replay = Replay(journal, first_id)
        self.display = Display(notes, formats.choose(options), shows_reasoning=options.reasoning == "show")
        self._journal = journal
        self._stats = wanted_stats(options)

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show what arrived together."""
        if self._stats is not None:
            self._stats.feed(deltas, at)
        self.display.show(deltas, events, at)

    def draw(self) -> float | None:
        """Draw what is due; return the seconds after which to do so again, None for not before more is shown."""
        self.display.tick()
        return self.display.due()

    @property
    def is_damaged(self) -> bool:
        """Whether the journal cannot be read any further."""
        return self._journal.damage is not None

    def close(self) -> Ending:
        """Show what was held back, and report how the answer ended. Returns how the showing ended."""
        replay, display = self.replay, self.display
        display.show(replay.close(), [], replay.at)
        ending, id = replay.ending, folder.id_of(self._journal.path)
        if self._stats is not None:
            self._stats.end(
                replay.decoder, ending, total=replay.ended_at, attempts=replay.attempts, id=id, format=display.format
            )
        display.close(ending, id)
        if self._journal.damage is not None:
            display.note(str(self._journal.damage), always=True)
        if ending.outcome == outcome.CLOSED:
            display.note("closed: the program that read this answer stopped before its end")
        elif ending.outcome != outcome.DAMAGED and (sentence := outcome.sentence(ending, None)):
            display.note(sentence)
        judged = verdict(display, ending, self._stats)
        if judged is not ending:
            display.note(judged.message, always=True)
        return judged
