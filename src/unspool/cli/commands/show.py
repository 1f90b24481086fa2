"""``unspool show`` and ``unspool last``: an answer again, from its journal."""

from __future__ import annotations

from unspool.cli.viewing import View, locate
from unspool.journal.reader import Reader
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.kept import LastOptions, ShowOptions
    from unspool.cli.options.shared import RenderingOptions


def run(options: ShowOptions) -> int:
    """Print a kept answer, and return the exit code it had: `show` of a cut answer is 7 again."""
    return show(locate(options.id), options, Notes(Output(2), quiet=options.quiet))


def last(options: LastOptions) -> int:
    """Print the last answer, and return the exit code it had."""
    return show(locate(None), options, Notes(Output(2), quiet=options.quiet))


def show(path: str, options: RenderingOptions, notes: Notes) -> int:
    """Print what a journal holds, as the options say, and say how it ended. Returns the exit code."""
    with Reader(path) as journal:
        view = View(journal, options, notes)
        for deltas, events, at in view.replay.turns():
            view.show(deltas, events, at)
        return view.close().exit_code
