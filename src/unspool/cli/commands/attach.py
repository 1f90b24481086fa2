"""``unspool attach``: follow a stream that another process writes, from any terminal and any number of them.

A viewer reads the journal and nothing else, so there is no seam between what was and what comes, at which something could be
missing or come twice; and its going away means nothing to the stream.
"""

from __future__ import annotations

import select

from unspool import outcome
from unspool.cli import formats
from unspool.cli.commands.show import OPTIONS as SHOW_OPTIONS
from unspool.cli.commands.show import finish, margin
from unspool.cli.flags import count
from unspool.cli.options import Option, scan
from unspool.cli.signals import Signals
from unspool.cli.streaming import tallied
from unspool.client.replay import Replay
from unspool.config.paths import streams_dir
from unspool.journal import folder, reader
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.cli.tally import Tally
    from unspool.journal.reader import Reader
    from unspool.outcome import Ending

OPTIONS = (
    *SHOW_OPTIONS,
    Option(
        ("--from",),
        "value",
        "leave out what precedes this block of the journal",
        metavar="N",
        dest="first",
        type=count,
        default=0,
    ),
)

# Seconds between two looks at the file: a frame or so, and some 10 microseconds of work each.
_INTERVAL = 0.02


def run(name: str, argv: list[str]) -> int:
    """Follow a stream to its end, and return its exit code."""
    arguments = scan(OPTIONS, argv, "id")
    if arguments is None or len(arguments["id"]) != 1:
        from unspool.cli.parser import build, read

        parser = build(
            "unspool attach",
            OPTIONS,
            rest="id",
            metavar="ID",
            rest_help="any piece of an id that only one stream has; unspool ps lists those that run",
            examples='  unspool attach "$(unspool -d "Tell me everything")"\n  unspool attach 7F3K9Q --from 200',
            description="Follow a stream that runs elsewhere, from its beginning to its end. The exit code is the stream's.",
        )
        arguments = read(parser, argv)
        if len(arguments["id"]) != 1:
            parser.error("which stream? Give a piece of its id; unspool ps lists those that run")
    notes = Notes(Output(2), quiet=arguments["quiet"])
    kept = streams_dir()
    try:
        id = folder.find(kept, arguments["id"][0])
    except folder.NotFound as error:
        notes.line(str(error), always=True)
        return 1
    stdout = Output(1)
    with reader.Reader(folder.path_of(kept, id)) as journal, Signals(stdout, notes.output) as signals:
        format = formats.choose(arguments)(stdout)
        replay = Replay(journal, arguments["first"])
        tally = tallied(arguments, format)
        shown = format if arguments["reasoning"] != "show" else margin(notes, stdout, format)
        ending = follow(journal, id, replay, shown, tally, format, notes, stdout, signals)
        if ending is None:
            notes.line(f"detached; the stream goes on, and unspool attach {id[-6:]} follows it again")
            return 128 + signals.number
    return ending.exit_code


def follow(
    journal: Reader,
    id: str,
    replay: Replay,
    shown: Any,
    tally: Tally | None,
    format: Any,
    notes: Notes,
    stdout: Output,
    signals: Signals,
) -> Ending | None:
    """Show a journal while it grows, until its stream ends. Returns how, or None when a signal ended the following.

    ``shown`` is what is shown the answer: the format, or a margin around it.
    """
    tick = getattr(format, "tick", None)
    try:
        while True:
            # Asked before the file is read: who is dead now has written all it ever will.
            alive = reader.is_alive(journal.path)
            for deltas, events, at in replay.turns():
                if tally is not None:
                    tally.feed(deltas, at)
                shown.show(deltas, events, at)
            if tick is not None and not getattr(shown, "is_thinking", False) and format.due() is not None:
                tick()
            if journal.damage is not None or not alive:
                break
            if stdout.is_abandoned():
                raise BrokenPipeError
            if select.select([signals.fd], [], [], _INTERVAL)[0]:
                if signals.has_resumed() and not signals.number:
                    start_anew = getattr(format, "start_anew", None)
                    if start_anew is not None:
                        start_anew()
                    continue
                if shown is not format:
                    shown.close()
                leave = getattr(format, "leave", None)
                if leave is not None:
                    leave()
                return None
        shown.show(replay.close(), [], replay.at)
        if shown is not format:
            shown.close()
        return finish(format, replay, tally, journal, id, notes, stdout)
    except BlockingIOError:
        return None
    except BrokenPipeError:
        return outcome.Ending(outcome.CLOSED)
