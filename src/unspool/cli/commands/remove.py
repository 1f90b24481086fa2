"""``unspool rm`` and ``unspool prune``: kept answers removed, by id or by age."""

from __future__ import annotations

import os

from unspool.cli.options import CommandError, UsageError, dates
from unspool.config.paths import streams_dir
from unspool.journal import folder, names, record, summary, ulid
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
    paths: list[str] = []
    for piece in options.ids:
        try:
            named = names.streams_of(kept, piece) if names.exists(kept, piece) else None
            found = [folder.locate(kept, piece)] if named is None else [folder.path_of(kept, id) for id in named]
        except folder.NotFound as error:
            raise CommandError(f"{error}; nothing was removed") from error
        for path in found:
            if _is_running(path):
                raise CommandError(f"{ulid.short(folder.id_of(path))} is still running; nothing was removed")
            if path not in paths:
                paths.append(path)
    if not options.yes:
        for path in paths if _asks() else ():
            notes.line(_described(path))
        if not _agreed("remove it?" if len(paths) == 1 else f"remove these {len(paths)}?"):
            return 1
    removed, _ = _remove(paths, notes)
    return 0 if removed == len(paths) else 1


def prune(options: PruneOptions) -> int:
    """Remove old answers."""
    if options.older_than is None and options.keep is None:
        raise UsageError("choose what to remove: --older-than TIME, --keep N, or both")
    notes = Notes(Output(2))
    kept = streams_dir()
    ids = folder.ids(kept)
    if options.keep is not None:
        ids = ids[: max(0, len(ids) - options.keep)]
    paths = [folder.path_of(kept, id) for id in ids]
    if options.older_than is not None:
        # --keep counts what somebody asked: a run of thousands must not push that out, nor be torn by it.
        paths += [folder.path_of(run, id) for run in folder.runs(kept) for id in folder.ids(run)]
        earliest = ulid.earliest(options.older_than)
        paths = [path for path in paths if folder.id_of(path) < earliest]
    paths = [path for path in paths if _is_ours(path) and not _is_running(path)]
    amount = _amount(len(paths), sum(map(_size, paths)))
    stdout = Output(1)
    if options.dry_run:
        stdout.write(f"would remove {amount}\n")
        return 0
    if paths and not options.yes and not _agreed(f"remove {amount}?"):
        return 1
    removed, size = _remove(paths, notes)
    stdout.write(f"removed {_amount(removed, size)}\n")
    return 0 if removed == len(paths) else 1


def _remove(paths: Sequence[str], notes: Notes) -> tuple[int, int]:
    """Remove these journals and forget them; return how many are gone, and how many bytes they had."""
    gone: dict[str, list[str]] = {}
    bytes = 0
    for path in paths:
        size = _size(path)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass  # another process was faster
        except OSError as error:
            notes.line(one_line(f"cannot remove {path}: {error.strerror}"), always=True)
            continue
        gone.setdefault(os.path.dirname(path), []).append(folder.id_of(path))
        bytes += size
    # After the files: a catalogue that another process is making at this moment would otherwise take them in again.
    for kept, ids in gone.items():
        with Catalogue(kept) as catalogue:
            catalogue.forget(ids)
        names.forget(kept)
    return sum(map(len, gone.values())), bytes


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


def _described(path: str) -> str:
    """Say in a line which stream this is, as far as it can be read."""
    said = ""
    try:
        said = " ".join(summary.read(path).question[:400].split())[:60]
    except (OSError, ValueError):
        pass
    id = folder.id_of(path)
    return one_line(f"{ulid.short(id)}, {dates.shown(ulid.milliseconds(id))}: {said}")


def _is_running(path: str) -> bool:
    try:
        return is_alive(path)
    except OSError:
        return False


def _is_ours(path: str) -> bool:
    """Whether this is a journal, or the beginning of one: nothing else is removed without being named."""
    try:
        with open(path, "rb") as file:
            return record.HEADER.startswith(file.read(len(record.HEADER)))
    except OSError:
        return False


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _amount(streams: int, size: int) -> str:
    return f"{streams} {'answer' if streams == 1 else 'answers'}, {byte_count(size)}"
