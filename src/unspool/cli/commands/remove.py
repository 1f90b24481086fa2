"""``unspool rm`` and ``unspool prune``: kept answers removed, by id or by age."""

from __future__ import annotations

import os

from unspool.cli.options import CommandError, UsageError, dates
from unspool.config.paths import streams_dir
from unspool.journal import folder, record, summary, ulid
from unspool.journal.catalogue import Catalogue
from unspool.journal.reader import is_alive
from unspool.terminal.cells import byte_count
from unspool.terminal.output import Notes, Output
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.cli.options.kept import PruneOptions, RemoveOptions


def rm(options: RemoveOptions) -> int:
    """Remove all that were named, or nothing if one of the names is wrong."""
    notes = Notes(Output(2))
    kept = streams_dir()
    ids: list[str] = []
    for piece in options.ids:
        try:
            id = folder.find(kept, piece)
        except folder.NotFound as error:
            raise CommandError(f"{error}; nothing is removed") from error
        if _is_running(kept, id):
            raise CommandError(f"{ulid.short(id)} is still being written; nothing is removed")
        if id not in ids:
            ids.append(id)
    if not options.yes:
        for id in ids if _asks() else ():
            notes.line(_described(kept, id))
        if not _agreed("remove it?" if len(ids) == 1 else f"remove these {len(ids)}?"):
            return 1
    removed, _ = _remove(kept, ids, notes)
    return 0 if removed == len(ids) else 1


def prune(options: PruneOptions) -> int:
    """Remove old answers."""
    if options.older_than is None and options.keep is None:
        raise UsageError("choose what to remove: --older-than TIME, --keep N, or both")
    notes = Notes(Output(2))
    kept = streams_dir()
    ids = folder.ids(kept)
    if options.keep is not None:
        ids = ids[: max(0, len(ids) - options.keep)]
    if options.older_than is not None:
        earliest = ulid.earliest(options.older_than)
        ids = [id for id in ids if id < earliest]
    ids = [id for id in ids if _is_ours(kept, id) and not _is_running(kept, id)]
    amount = _amount(len(ids), sum(_size(kept, id) for id in ids))
    stdout = Output(1)
    if options.dry_run:
        stdout.write(f"would remove {amount}\n")
        return 0
    if ids and not options.yes and not _agreed(f"remove {amount}?"):
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
    return f"{streams} {'answer' if streams == 1 else 'answers'}, {byte_count(size)}"
