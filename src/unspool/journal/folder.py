"""The folder of journals: finding one by a piece of its id."""

from __future__ import annotations

import os

from unspool import Error
from unspool.journal import ulid

_SUFFIX = ".sse"


class NotFound(Error, LookupError):
    """No journal, or more than one, answers to the given piece of an id. The message says which and what to do."""


def id_of(path: str) -> str:
    """The id of the stream in this file."""
    return os.path.basename(path).removesuffix(_SUFFIX)


def path_of(folder: str, id: str) -> str:
    """The file of a stream."""
    return os.path.join(folder, id + _SUFFIX)


def ids(folder: str) -> list[str]:
    """The ids of all streams kept, oldest first. Empty where there is no folder yet."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return []
    with entries:
        return sorted(entry.name[: -len(_SUFFIX)] for entry in entries if is_journal(entry))


def is_journal(entry: os.DirEntry[str]) -> bool:
    """Whether this has the name of a journal, and is a file."""
    name = entry.name
    return name.endswith(_SUFFIX) and ulid.is_ulid(name[: -len(_SUFFIX)]) and entry.is_file()


def find(folder: str, piece: str) -> str:
    """Return the id that contains ``piece``, in any case; an id that ends with it wins over others. Raises NotFound."""
    wanted = piece.strip().upper()
    matches = [id for id in ids(folder) if wanted in id] if wanted else []
    ending = [id for id in matches if id.endswith(wanted)]
    if len(ending) == 1:
        return ending[0]
    if not matches:
        raise NotFound(f"no saved answer has {piece!r} in its id; unspool log lists them")
    if len(matches) > 1:
        some = ", ".join(matches[:4]) + (", …" if len(matches) > 4 else "")
        raise NotFound(f"{len(matches)} answers match {piece!r}: {some}; give more of the id")
    return matches[0]


def locate(folder: str, piece: str | None) -> str:
    """Return the file of the stream that a piece of an id names, or without one of the newest. Raises NotFound.

    The name of a conversation stands for its last answer; no id is written like one that is taken. Where no stream of the folder has that piece, those of the runs beside it are looked for.
    """
    if piece is None:
        return path_of(folder, newest(folder))
    from unspool.journal import names

    if (named := names.head(folder, piece)) is not None:
        return path_of(folder, named)
    try:
        return path_of(folder, find(folder, piece))
    except NotFound:
        for run in runs(folder):
            try:
                return path_of(run, find(run, piece))
            except NotFound:
                pass
        raise


def runs(folder: str) -> list[str]:
    """The folders of the streams of runs, which are beside that of all other streams."""
    beside = os.path.join(os.path.dirname(folder), "runs")
    try:
        return [os.path.join(beside, name, "streams") for name in sorted(os.listdir(beside))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def newest(folder: str) -> str:
    """Return the id of the newest stream. Raises NotFound when none is kept."""
    all_ids = ids(folder)
    if not all_ids:
        raise NotFound("there are no saved answers yet")
    return all_ids[-1]
