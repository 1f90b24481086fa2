"""Named conversations: for each a file ``names/NAME`` beside the folder of the journals, with the id of each of its streams on a line.

The file is only appended to. The conversation is at the newest of these streams that is kept and has an answer. A stream that
continues that one is added, whatever command begins it: `resume`, the loop of tools and the library need no option for that.
"""

from __future__ import annotations

import os

from unspool.journal import folder, summary, ulid

# A name is the name of a file, and stands in lists.
_LONGEST = 60


class Taken(ValueError):
    """Another conversation has this name."""


def checked(text: str) -> str:
    """Read a name. Raises ValueError for what cannot be one: it must look neither like an option, nor a file, nor an id."""
    is_plain = text[:1].isalnum() and all(one.isalnum() or one in "-_" for one in text)
    if not is_plain or len(text.encode()) > _LONGEST or ulid.is_ulid(text.upper()):
        raise ValueError(
            f"{text!r} cannot be a conversation's name: letters, digits, - and _ can, {_LONGEST} bytes at most"
        )
    return text


def exists(streams: str, text: str) -> bool:
    """Whether a conversation has this name."""
    try:
        return os.path.isfile(_path(streams, checked(text)))
    except ValueError:
        return False


def head(streams: str, name: str) -> str | None:
    """The id of the answer at which a conversation continues, None where it has none or is not there."""
    return _head(streams, _ids(_path(streams, name))) if exists(streams, name) else None


def heads(streams: str) -> dict[str, str]:
    """The names of all conversations that have an answer, each with the id of the answer at which it continues."""
    found = {name: _head(streams, _ids(_path(streams, name))) for name in _names(streams)}
    return {name: id for name, id in found.items() if id is not None}


def of(streams: str, id: str) -> str | None:
    """The name of the conversation that continues at this answer, None where it has none."""
    return next((name for name in _names(streams) if _is_at(streams, _ids(_path(streams, name)), id)), None)


def add(streams: str, name: str, id: str) -> None:
    """Give a stream this name: it begins the conversation of that name, or continues it. Raises OSError."""
    path = _path(streams, checked(name))
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if _ids(path)[-1:] != [id]:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            os.write(fd, f"{id}\n".encode())
        finally:
            os.close(fd)


def follow(path: str, parent: str) -> None:
    """Add the stream of this journal to the conversations that were at its parent. One that cannot be written stays where it was."""
    streams, id = os.path.dirname(path), folder.id_of(path)
    for name in _names(streams):
        if _is_at(streams, _ids(_path(streams, name)), parent):
            try:
                add(streams, name, id)
            except OSError:
                pass


def rename(streams: str, old: str, new: str) -> None:
    """Give a conversation another name. Raises Taken, ValueError for what cannot be a name, OSError."""
    if exists(streams, new):
        raise Taken(f"another conversation is called {new}")
    os.rename(_path(streams, old), _path(streams, checked(new)))


def streams_of(streams: str, name: str) -> list[str]:
    """The ids of the streams of a conversation that are kept, oldest first: those since it has the name, and those before."""
    ids = {id for id in _ids(_path(streams, name)) if os.path.exists(folder.path_of(streams, id))}
    for id in list(ids):
        try:
            ids.update(one.id for one in summary.conversation(streams, id))
        except (OSError, ValueError):
            continue
    return sorted(ids)


def forget(streams: str) -> None:
    """Remove the names of conversations of which nothing is kept any more."""
    for name in _names(streams):
        path = _path(streams, name)
        if not any(os.path.exists(folder.path_of(streams, id)) for id in _ids(path)):
            os.unlink(path)


def _names(streams: str) -> list[str]:
    try:
        return sorted(os.listdir(_path(streams, "")))
    except OSError:
        return []


def _path(streams: str, name: str) -> str:
    return os.path.join(os.path.dirname(streams), "names", name)


def _ids(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return [line for line in file.read().split("\n") if ulid.is_ulid(line)]
    except OSError:
        return []


def _head(streams: str, ids: list[str]) -> str | None:
    for id in reversed(ids):
        try:
            if summary.read(folder.path_of(streams, id)).turn:
                return id
        except (OSError, ValueError):
            continue  # removed since
    return None


def _is_at(streams: str, ids: list[str], id: str) -> bool:
    return id in ids and _head(streams, ids) == id
