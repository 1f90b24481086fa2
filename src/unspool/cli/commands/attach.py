"""``unspool attach``: follow a stream that another process writes, from any terminal and any number of them.

A viewer reads the journal and nothing else, so there is no seam between what was and what comes, at which something could be
missing or come twice; and its going away means nothing to the stream.
"""

from __future__ import annotations

import select

from unspool import outcome
from unspool.cli import viewing
from unspool.cli.signals import Signals
from unspool.config.paths import streams_dir
from unspool.journal import folder, reader, ulid
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.running import AttachOptions
    from unspool.outcome import Ending

# Seconds between two checks at the file: a frame or so, and some 10 microseconds of work each.
_INTERVAL = 0.02


def run(options: AttachOptions) -> int:
    """Follow a stream to its end, and return its exit code."""
    if options.names_server:
        from unspool.cli import gateway

        return gateway.attach(options)
    notes = Notes(Output(2), quiet=options.quiet)
    path = folder.locate(streams_dir(), options.id)
    with reader.Reader(path) as journal:
        view = viewing.View(journal, options, notes, first_id=options.first)
        return _run(path, view, notes)


def _run(path: str, view: viewing.View, notes: Notes) -> int:
    with Signals(view.display) as signals:
        try:
            ending = _follow(path, view, signals)
        except BlockingIOError:  # a signal came, and the reader of the output is not reading
            ending = None
        except BrokenPipeError:
            return outcome.EXIT_CODES[outcome.CLOSED]
        if ending is None:
            short = ulid.short(folder.id_of(path))
            notes.line(f"detached; the stream continues; to follow it again: unspool attach {short}")
            return 128 + signals.number
    return ending.exit_code


def _follow(path: str, view: viewing.View, signals: Signals) -> Ending | None:
    """Show a journal while it grows, until its stream ends. Returns how, or None when a signal ended the following."""
    while True:
        # Asked before the file is read: who is dead now has written all it ever will.
        alive = reader.is_alive(path)
        for deltas, events, at in view.replay.turns():
            view.show(deltas, events, at)
        view.draw()
        if view.is_damaged or not alive:
            return view.close()
        if view.display.stdout.is_abandoned():
            raise BrokenPipeError
        if select.select([signals.fd], [], [], _INTERVAL)[0]:
            if signals.has_resumed() and not signals.number:
                view.display.redraw()
                continue
            view.display.flush()
            return None
