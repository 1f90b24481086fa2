"""``unspool show`` and ``unspool last``: an answer again, from its journal."""

from __future__ import annotations

from unspool.cli.options import scan
from unspool.cli.viewing import OPTIONS, View, locate
from unspool.config.paths import streams_dir
from unspool.journal import folder
from unspool.journal.reader import Reader
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(name: str, argv: list[str]) -> int:
    """Print a kept answer, and return the exit code it had: `show` of a cut answer is 7 again."""
    arguments = scan(OPTIONS, argv, "id")
    wanted = 0 if name == "last" else 1
    if arguments is None or len(arguments["id"]) != wanted:
        from unspool.cli.options.parser import build, read

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
    return show(locate(arguments["id"][0]) if wanted else folder.locate(streams_dir(), None), arguments, notes)


def show(path: str, arguments: dict[str, Any], notes: Notes) -> int:
    """Print what a journal holds, as the arguments say, and say how it ended. Returns the exit code."""
    with Reader(path) as journal:
        view = View(journal, arguments, notes)
        for deltas, events, at in view.replay.turns():
            view.show(deltas, events, at)
        return view.close().exit_code
