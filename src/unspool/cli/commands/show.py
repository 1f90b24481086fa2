"""``unspool show`` and ``unspool last``: an answer again, from its journal."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.cli import formats
from unspool.cli.options import Option, scan
from unspool.cli.streaming import judged, tallied
from unspool.client.replay import Replay
from unspool.config.paths import streams_dir
from unspool.journal import folder, reader, record
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.cli.margin import Margin
    from unspool.cli.tally import Tally
    from unspool.journal.reader import Reader
    from unspool.outcome import Ending

OPTIONS = (
    Option(("--format",), "value", "the form of the output", choices=formats.NAMES, default="text"),
    Option(("--json",), "flag", "short for --format stream-json", dest="format", const="stream-json", default="text"),
    Option(
        ("--sse",),
        "flag",
        "short for --format sse: the server's own events",
        dest="format",
        const="sse",
        default="text",
    ),
    *formats.RENDERING_OPTIONS,
    Option(("-q", "--quiet"), "flag", "say nothing on stderr but errors"),
)


def run(name: str, argv: list[str]) -> int:
    """Print a kept answer, and return the exit code it had: `show` of a cut answer is 7 again."""
    arguments = scan(OPTIONS, argv, "id")
    wanted = 0 if name == "last" else 1
    if arguments is None or len(arguments["id"]) != wanted:
        from unspool.cli.parser import build, read

        parser = build(
            f"unspool {name}",
            OPTIONS,
            rest="id",
            metavar="ID",
            rest_help="any piece of an id that only one stream has, or a journal's file" if wanted else "(none)",
            examples="  unspool show 7F3K9Q\n  unspool show 7F3K9Q --json"
            if wanted
            else "  unspool last\n  unspool last --sse",
            description="Print an answer again; the exit code is the one it had.",
        )
        arguments = read(parser, argv)
        if len(arguments["id"]) != wanted:
            parser.error(
                "which answer? Give a piece of its id" if wanted else "unspool last takes no ID: use unspool show ID"
            )
    notes = Notes(Output(2), quiet=arguments["quiet"])
    kept = streams_dir()
    try:
        path = locate(arguments["id"][0]) if wanted else folder.path_of(kept, folder.newest(kept))
    except folder.NotFound as error:
        notes.line(str(error), always=True)
        return 1
    with reader.Reader(path) as journal:
        ending = show(journal, folder.id_of(path), arguments, notes)
    return ending.exit_code


def locate(wanted: str) -> str:
    """The file of a journal: the one named, or the one that is kept under this piece of an id. Raises folder.NotFound."""
    # No id has a dot or a slash in it, and every path to a journal has.
    if "." in wanted or "/" in wanted or os.sep in wanted:
        with open(wanted, "rb") as file:
            if file.read(len(record.HEADER)) != record.HEADER:
                raise folder.NotFound(f"{wanted} is not a journal, or not of a version this program reads")
        return wanted
    kept = streams_dir()
    return folder.path_of(kept, folder.find(kept, wanted))


def show(journal: Reader, id: str, arguments: dict[str, Any], notes: Notes) -> Ending:
    """Print what a journal holds, as the arguments say, and say how it ended. Returns how the showing did."""
    stdout = Output(1)
    format = formats.choose(arguments)(stdout)
    replay = Replay(journal)
    tally = tallied(arguments, format)
    shown = format if arguments["reasoning"] != "show" else margin(notes, stdout, format)
    for deltas, events, at in replay.turns():
        if tally is not None:
            tally.feed(deltas, at)
        shown.show(deltas, events, at)
    shown.show(replay.close(), [], replay.at)
    if shown is not format:
        shown.close()
    return finish(format, replay, tally, journal, id, notes, stdout)


def finish(
    format: Any, replay: Replay, tally: Tally | None, journal: Reader, id: str, notes: Notes, stdout: Output
) -> Ending:
    """Close the format, and say what there is to say. Returns how the showing ended."""
    ending = replay.ending
    if tally is not None:
        tally.end(replay.decoder, ending, total=replay.ended_at, attempts=replay.attempts, id=id)
    format.close(ending, id)
    say_ending(journal, ending, notes)
    verdict = judged(format, ending, tally.tell(ending, notes, stdout) if tally is not None else "")
    if verdict is not ending:
        notes.line(verdict.message, always=True)
    return verdict


def margin(notes: Notes, stdout: Output, format: Any) -> Margin:
    """What shows the reasoning of a kept answer around it."""
    from unspool.cli.margin import Margin

    return Margin(notes, stdout, format, since=0.0, shows_reasoning=True)


def say_ending(journal: Reader, ending: Ending, notes: Notes) -> None:
    """Say how a kept answer ended, and what of its journal cannot be read."""
    if journal.damage is not None:
        notes.line(str(journal.damage), always=True)
    if ending.outcome == outcome.CLOSED:
        notes.line("closed: whoever read this answer went away before its end")
    elif sentence := outcome.sentence(ending, None):
        notes.line(sentence)
