"""The folder of a run, and its parts: each shard of a run has a ledger there, and all have their journals beside these.

A part depends on nothing outside the folder, so parts that were made on several machines are joined by copying them into one.
A run that is not sharded has one part, shard 0 of 1.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import sha256

from unspool.batch.ledger import Streams
from unspool.journal.folder import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.batch.lines import Line

_PART = re.compile(r"(\d{1,6})-of-(\d{1,6})\.run", re.ASCII)
# A name is the name of a folder; the longest default one leaves room for the digits after it.
_LONGEST_NAME = 100
_LONGEST_STEM = 40


class PartsError(ValueError):
    """The parts in the folder are not those that are wanted. The message says which are there."""


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """Shard ``index`` (from 0) of ``count``."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def file_name(self) -> str:
        """The name of its ledger."""
        return f"{self.index}-of-{self.count}.run"

    def has(self, line: Line) -> bool:
        """Whether this shard asks this line. The server and the model do not matter: each shard may have its own."""
        return int(line.text_key, 16) % self.count == self.index


def shard(text: str) -> Shard:
    """Read ``I/N``. Raises ValueError."""
    index, slash, count = text.partition("/")
    if not (slash and all(one.isascii() and one.isdigit() and len(one) <= 6 for one in (index, count))):
        raise ValueError(f"{text!r} is not I/N, such as 0/4 for the first of four shards")
    made = Shard(int(index), int(count))
    if made.index >= made.count:
        raise ValueError(f"there is no shard {made}: I counts from 0" + (f" to {made.count - 1}" if made.count else ""))
    return made


def default_name(file: str) -> str:
    """The name of the run of a file: the file's own, and digits that tell files of the same name apart. ``-`` is standard input."""
    if file == "-":
        return "stdin"
    path = os.path.realpath(file)
    stem = os.path.splitext(os.path.basename(path))[0]
    safe = "".join(one if one.isalnum() or one in "-_." else "-" for one in stem).strip("-.")[:_LONGEST_STEM]
    return f"{safe or 'run'}-{sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"


def run_name(text: str) -> str:
    """Read the name of a run. Raises ValueError for what cannot be one."""
    if (
        not text
        or text[0] in ".-"
        or len(text.encode()) > _LONGEST_NAME
        or not all(c.isalnum() or c in "-_." for c in text)
    ):
        raise ValueError(f"{text!r} cannot be a run's name: letters, digits, -, _ and . can")
    return text


def find(folder: str, wanted: str) -> str:
    """The folder of the run in ``folder`` that has this name, is of this file, or alone has a name that begins so. Raises NotFound."""
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except FileNotFoundError:
        names = []
    exact = [one for one in (wanted, default_name(wanted)) if one in names]
    found = exact[:1] or [one for one in names if wanted and one.startswith(wanted)]
    if len(found) != 1:
        there = ", ".join((found or names)[:10]) + (", …" if len(found or names) > 10 else "")
        what = "several runs have" if found else "no run has"
        raise NotFound(f"{what} a name that begins with {wanted!r}; there are {there or 'none'}")
    return os.path.join(folder, found[0])


def streams_of(folder: str) -> str:
    """The folder of the journals of a run, whichever part they belong to."""
    return os.path.join(folder, "streams")


def parts_in(folder: str) -> list[Shard]:
    """The parts that are in a run's folder. Raises PartsError where they are not of the same number of shards."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = sorted(Shard(int(match[1]), int(match[2])) for match in map(_PART.fullmatch, names) if match)
    counts = sorted({one.count for one in found})
    if len(counts) > 1:
        raise PartsError(
            f"{folder} has parts of runs in {' and in '.join(map(str, counts))} shards, which do not fit together"
        )
    return found


def missing_from(parts: list[Shard]) -> list[Shard]:
    """The shards of which there is no part."""
    count = parts[0].count
    return [one for one in (Shard(index, count) for index in range(count)) if one not in set(parts)]


def streams_in(folder: str, parts: list[Shard]) -> Streams:
    """The streams of all these parts. They may be under way: what is read is what had begun by now."""
    streams = Streams()
    for one in parts:
        with open(os.path.join(folder, one.file_name), "rb") as file:
            streams.read(file.read())
    return streams
