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
        is_first = options.format == "text"
        for deltas, events, at in view.replay.turns():
            if is_first:
                is_first = False
                _show_beginning(view)
            view.show(deltas, events, at)
        return view.close().exit_code


def _show_beginning(view: View) -> None:
    """Where this answer is the rest of another, show that one first."""
    request = view.replay.request
    if request is None or not request.parent:
        return
    from unspool.api.deltas import Text
    from unspool.cli.formats.joined import Joined
    from unspool.client.resume import continuation

    text, seam = continuation.before(request)
    if text:
        view.display.format.show([Text(text)], [], 0.0)
    if seam is not None:
        view.display.format = Joined(view.display.format, seam)
