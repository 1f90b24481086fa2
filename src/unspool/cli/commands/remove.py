"""``unspool rm`` and ``unspool prune``: kept answers removed, by id or by age."""

from __future__ import annotations

import os

from unspool.cli.options import Option, dates, scan
from unspool.cli.options.flags import count
from unspool.config.paths import streams_dir
from unspool.journal import folder, record, summary, ulid
from unspool.journal.catalogue import Catalogue
from unspool.journal.reader import is_alive
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_YES = Option(("-f", "-y", "--yes"), "flag", "do not ask; without a terminal nothing is asked anyway")

RM_OPTIONS = (_YES,)
PRUNE_OPTIONS = (
    Option(
        ("--older-than",),
        "value",
        "remove those older than this: 90d, 12h, 2026-11-01",
        metavar="TIME",
        type=dates.moment,
    ),
    Option(
        ("--keep",),
        "value",
        "remove all but the N newest; with --older-than: keep these, however old they are",
        metavar="N",
        type=count,
    ),
    Option(("--dry-run",), "flag", "say what would be removed, and remove nothing"),
    _YES,
)

_RM = """\
examples:
  unspool rm 7F3K9Q
  unspool rm -f 7F3K9Q 2BXW4M

Remove kept answers: their journals, and every word of theirs in the catalogue.
"""
_PRUNE = """\
examples:
  unspool prune --older-than 90d
  unspool prune --keep 1000
  unspool prune --older-than 90d --keep 100 --dry-run

Remove old answers. Those that are still being written stay.
"""
_EPILOG = "Exits with 1 when something was not removed, because it could not be or because you said no."


def run(name: str, argv: list[str]) -> int:
    """Remove, and return the exit code."""
    pruning = name == "prune"
    options = PRUNE_OPTIONS if pruning else RM_OPTIONS
    arguments = scan(options, argv, "id")
    if arguments is None or _mistake(pruning, arguments):
        from unspool.cli.options.parser import build, read

        parser = build(
            f"unspool {name}",
            options,
            rest="id",
            metavar="" if pruning else "ID",
            rest_help="(none)" if pruning else "any piece of an id that only one stream has",
            description=_PRUNE if pruning else _RM,
            epilog=_EPILOG,
        )
        arguments = read(parser, argv)
        mistake = _mistake(pruning, arguments)
        if mistake:
            parser.error(mistake)
    notes = Notes(Output(2))
    kept = streams_dir()
    return _prune(kept, arguments, notes) if pruning else _rm(kept, arguments, notes)


def _mistake(pruning: bool, arguments: dict[str, Any]) -> str:
    if not pruning:
        return "" if arguments["id"] else "which one? Give a piece of its id (unspool log lists them)"
    if arguments["id"]:
        return "it takes options only; to remove one stream: unspool rm ID"
    if arguments["older_than"] is None and arguments["keep"] is None:
        return "say which: --older-than TIME, --keep N, or both"
    return ""


def _rm(kept: str, arguments: dict[str, Any], notes: Notes) -> int:
    """Remove all that were named, or nothing if one of the names is wrong."""
    ids: list[str] = []
    for piece in arguments["id"]:
        try:
            id = folder.find(kept, piece)
        except folder.NotFound as error:
            notes.line(f"{one_line(str(error))}; nothing is removed", always=True)
            return 1
        if _is_running(kept, id):
            notes.line(f"{ulid.short(id)} is still being written; nothing is removed", always=True)
            return 1
        if id not in ids:
            ids.append(id)
    if not arguments["yes"]:
        for id in ids if _asks() else ():
            notes.line(_described(kept, id))
        if not _agreed("remove it?" if len(ids) == 1 else f"remove these {len(ids)}?"):
            return 1
    removed, _ = _remove(kept, ids, notes)
    return 0 if removed == len(ids) else 1


def _prune(kept: str, arguments: dict[str, Any], notes: Notes) -> int:
    ids = folder.ids(kept)
    if arguments["keep"] is not None:
        ids = ids[: max(0, len(ids) - arguments["keep"])]
    if arguments["older_than"] is not None:
        earliest = ulid.earliest(arguments["older_than"])
        ids = [id for id in ids if id < earliest]
    ids = [id for id in ids if _is_ours(kept, id) and not _is_running(kept, id)]
    amount = _amount(len(ids), sum(_size(kept, id) for id in ids))
    stdout = Output(1)
    if arguments["dry_run"]:
        stdout.write(f"would remove {amount}\n")
        return 0
    if ids and not arguments["yes"] and not _agreed(f"remove {amount}?"):
        return 1
    removed, size = _remove(kept, ids, notes)
    stdout.write(f"removed {_amount(removed, size)}\n")
    return 0 if removed == len(ids) else 1


def _remove(kept: str, ids: Sequence[str], notes: Notes) -> tuple[int, int]:
    """Remove these journals and forget them; return how many are gone, and how many bytes they had."""
    gone = []
    bytes = 0
    for id in ids:
        size = _size(kept, id)
        try:
            os.unlink(folder.path_of(kept, id))
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            notes.line(one_line(f"cannot remove {folder.path_of(kept, id)}: {error.strerror}"), always=True)
            continue
        gone.append(id)
        bytes += size
    # After the files: a catalogue that another process is making at this moment would otherwise take them in again.
    with Catalogue(kept) as catalogue:
        catalogue.forget(gone)
    return len(gone), bytes


def _asks() -> bool:
    return os.isatty(0) and os.isatty(2)


def _agreed(question: str) -> bool:
    """Ask a person; where there is none, the command line has said it all."""
    if not _asks():
        return True
    Output(2).write(f"unspool: {question} [y/N] ")
    answer = os.read(0, 1024).decode("utf-8", "replace")
    if not answer.endswith("\n"):
        Output(2).write("\n")
    return answer.strip().lower() in ("y", "yes")


def _described(kept: str, id: str) -> str:
    """Say in a line which stream this is, as far as it can be read."""
    said = ""
    try:
        said = " ".join(summary.read(folder.path_of(kept, id)).question[:400].split())[:60]
    except (OSError, ValueError):
        pass
    return one_line(f"{ulid.short(id)}, {dates.shown(ulid.milliseconds(id))}: {said}")


def _is_running(kept: str, id: str) -> bool:
    try:
        return is_alive(folder.path_of(kept, id))
    except OSError:
        return False


def _is_ours(kept: str, id: str) -> bool:
    """Whether this is a journal, or the beginning of one: nothing else is removed without being named."""
    try:
        with open(folder.path_of(kept, id), "rb") as file:
            return record.HEADER.startswith(file.read(len(record.HEADER)))
    except OSError:
        return False


def _size(kept: str, id: str) -> int:
    try:
        return os.stat(folder.path_of(kept, id)).st_size
    except OSError:
        return 0


def _amount(streams: int, size: int) -> str:
    return f"{streams} {'stream' if streams == 1 else 'streams'}, {size} bytes"
