"""A kept answer, shown: what `show`, `replay` and `attach` have in common, which differ in when they look for more."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.cli import formats
from unspool.cli.options import Option
from unspool.cli.options.flags import FORMAT_OPTIONS, RENDERING_OPTIONS
from unspool.cli.streaming import judged, tallied
from unspool.client.kept.replay import Replay
from unspool.config.paths import streams_dir
from unspool.journal import folder, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.journal.reader import Reader
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Notes, Output

OPTIONS = (
    *FORMAT_OPTIONS,
    Option(
        ("--sse",),
        "flag",
        "short for --format sse: the server's own events",
        group="what comes out",
        dest="format",
        const="sse",
        default="text",
    ),
    *RENDERING_OPTIONS,
    Option(("-q", "--quiet"), "flag", "say nothing on stderr but errors", group="what comes out"),
)


def locate(wanted: str) -> str:
    """The file of a journal: the one named, or the one that is kept under this piece of an id. Raises folder.NotFound."""
    # No id has a dot or a slash in it, and every path to a journal has.
    if "." in wanted or "/" in wanted or os.sep in wanted:
        with open(wanted, "rb") as file:
            if file.read(len(record.HEADER)) != record.HEADER:
                raise folder.NotFound(f"{wanted} is not a journal, or not of a version this program reads")
        return wanted
    return folder.locate(streams_dir(), wanted)


class View:
    """Shows what a journal holds, as the arguments say: in a format, with the reasoning around it and what is counted beside it.

    `show` takes the turns of ``replay``; `close` says that they are all.
    """

    def __init__(
        self, journal: Reader, arguments: dict[str, Any], notes: Notes, stdout: Output, *, first_id: int = 0
    ) -> None:
        self.replay = Replay(journal, first_id)
        self._journal = journal
        self._notes = notes
        self._stdout = stdout
        self._format = formats.choose(arguments)(stdout)
        self._tally = tallied(arguments, self._format)
        notes.before = getattr(self._format, "step_aside", None)
        self._margin = None
        if arguments["reasoning"] == "show":
            from unspool.cli.status_line import StatusLine

            self._margin = StatusLine(notes, stdout, self._format, since=0.0, shows_reasoning=True)

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show what arrived together."""
        if self._tally is not None:
            self._tally.feed(deltas, at)
        self._put(deltas, events, at)

    def draw(self) -> float | None:
        """Draw what is due; return the seconds after which to do so again, None for not before more is shown."""
        due = getattr(self._format, "due", None)
        if due is None or (self._margin is not None and self._margin.is_thinking):
            return None
        if due() == 0.0:
            self._format.tick()
        seconds: float | None = due()
        return seconds

    @property
    def is_damaged(self) -> bool:
        """Whether the journal cannot be read any further."""
        return self._journal.damage is not None

    def start_anew(self) -> None:
        """Leave what is on the screen as it is, since others may have written below it."""
        self._call("start_anew")

    def leave(self) -> None:
        """Show all that has come, though there is more."""
        if self._margin is not None:
            self._margin.close()
        self._call("leave")

    def close(self) -> Ending:
        """Show what was held back, and say what there is to say of the answer. Returns how the showing ended."""
        replay, notes = self.replay, self._notes
        self._put(replay.close(), [], replay.at)
        if self._margin is not None:
            self._margin.close()
        ending, id = replay.ending, folder.id_of(self._journal.path)
        if self._tally is not None:
            self._tally.end(replay.decoder, ending, total=replay.ended_at, attempts=replay.attempts, id=id)
        self._format.close(ending, id)
        if self._journal.damage is not None:
            notes.line(str(self._journal.damage), always=True)
        if ending.outcome == outcome.CLOSED:
            notes.line("closed: whoever read this answer went away before its end")
        elif sentence := outcome.sentence(ending, None):
            notes.line(sentence)
        trouble = self._tally.tell(ending, notes, self._stdout) if self._tally is not None else ""
        verdict = judged(self._format, ending, trouble)
        if verdict is not ending:
            notes.line(verdict.message, always=True)
        return verdict

    def _put(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        (self._format if self._margin is None else self._margin).show(deltas, events, at)

    def _call(self, name: str) -> None:
        verb = getattr(self._format, name, None)
        if verb is not None:
            verb()
