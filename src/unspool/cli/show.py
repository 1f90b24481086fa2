"""``unspool show`` and ``unspool last``: an answer again, from its journal."""

from __future__ import annotations

from unspool import api, outcome
from unspool.cli import formats
from unspool.cli.options import Option, scan
from unspool.config.paths import streams_dir
from unspool.journal import folder, reader, record
from unspool.sse import Event
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
    Option(("-r", "--raw"), "flag", "the text as it is, without rendering"),
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
            rest_help="any piece of an id that only one stream has" if wanted else "(none)",
            description="Print the last answer again."
            if name == "last"
            else "Print an answer again: unspool show 7F3K9Q",
        )
        arguments = read(parser, argv)
        if len(arguments["id"]) != wanted:
            parser.error("which one? Give a piece of its id" if wanted else "it takes no ID; use: unspool show ID")
    notes = Notes(Output(2), quiet=arguments["quiet"])
    kept = streams_dir()
    try:
        id = folder.find(kept, arguments["id"][0]) if wanted else folder.newest(kept)
    except folder.NotFound as error:
        notes.line(str(error), always=True)
        return 1
    with reader.Reader(folder.path_of(kept, id)) as journal:
        ending = show(journal, id, formats.FORMATS[arguments["format"]], notes)
    return ending.exit_code


def show(journal: Reader, id: str, view: Any, notes: Notes) -> Ending:
    """Print what a journal holds, in a format, and say how it ended. Returns how."""
    import jiter

    format = view(Output(1), lambda output, text: output.write(text))
    decoder: Any = None
    ended: dict[str, Any] | None = None
    for records in journal.batches():
        events = []
        at = 0.0
        deltas: list[Any] = []
        for one in records:
            if one.at is not None:
                events.append(Event(one.type, one.data, one.upstream_id))
                at = one.at
            elif one.type == record.REQUEST:
                request = jiter.from_json(one.data.encode())
                decoder = api.endpoint(request["api"]).Decoder(request["body"].get("n") or 1)
            elif one.type == record.BODY:
                text = jiter.from_json(one.data.encode())["text"]
                events.append(Event("message", text))
                deltas += decoder.decode_body(jiter.from_json(text.encode()))
                continue
            elif one.type == record.END:
                ended = jiter.from_json(one.data.encode())
        if decoder is not None:
            deltas += decoder.decode([one for one in events if not deltas]) if not deltas else []
            format.show(deltas, events, at)
    if decoder is not None:
        format.show(decoder.close(), [], 0.0)
    ending = _ending(journal, ended)
    format.close(ending, id)
    notes.clear()
    from unspool.terminal.safety import one_line

    if journal.damage is not None:
        notes.line(one_line(str(journal.damage)), always=True)
    if ending.outcome != outcome.COMPLETE:
        notes.line(one_line(f"{ending.outcome}: {ending.message}" if ending.message else ending.outcome))
    return ending


def _ending(journal: Reader, ended: dict[str, Any] | None) -> Ending:
    if ended is not None:
        return outcome.Ending(
            ended["outcome"], ended.get("message", ""), ended.get("finish_reason"), signal=ended.get("signal")
        )
    if reader.is_alive(journal.path):
        return outcome.Ending(outcome.INTERRUPTED, "it is still being written; this is what there is by now")
    return outcome.Ending(outcome.INTERRUPTED, "its process ended before the answer did; this is what had arrived")
