"""The catalogue: an index of the journals in SQLite, so that listing and searching ten thousand of them is fast.

The journals are the truth. Each listing or search first brings the catalogue up to date: new and changed journals are read, newest
first, and removed ones are taken out. No stream waits for it. A catalogue that is missing, damaged or of another version is made
again; where it cannot be written it is made in memory, for this time.

Two processes may update it at once. Each reads journals without holding a lock, and stores what it read in short transactions.
"""

from __future__ import annotations

import os

from unspool import outcome
from unspool.journal import folder as folders
from unspool.journal import fulltext, reader, summary, ulid
from unspool.jsontext import whole
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeVar

    from unspool.journal.summary import Summary

    Result = TypeVar("Result")
    #: A journal's size in bytes and the time of its last change in nanoseconds.
    FileIdentity = tuple[int, int]

#: The name of the file, beside the folder of the journals.
NAME = "catalogue.sqlite"

# Increment when the schema or the stored content changes; a file with another number is rebuilt.
_VERSION = 2
# ``outcome`` is '' for a journal without an end, whose writer is asked for when it is listed, and NULL for a file that is no
# journal. ``prompt`` and ``answer`` are first words here, and the complete text in ``words``.
_SCHEMA = f"""
CREATE TABLE streams (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    outcome TEXT,
    parent TEXT NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    answer TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5(prompt, answer, tokenize = '{fulltext.TOKENIZER}');
PRAGMA user_version = {_VERSION};
"""

# Characters of a prompt and an answer that a line of a listing can show.
_FIRST_WORDS = 200
# Characters of a text that are indexed, to bound memory.
_MOST_TEXT = 1 << 20
# Seconds to wait for another process. Its transactions take a tenth of one.
_PATIENCE = 10.0
# A transaction's share of the work: journals, and bytes of them.
_BATCH = 200
_BATCH_SIZE = 4 << 20
# So much is read from the newest journals without a catalogue: 20 ordinary ones are a fortieth of it.
_STRAIGHT_SIZE = 4 << 20


class Filter(Fields):
    """Which streams: the ``most`` newest ones (None for all) that the rest is true of.

    ``model`` is a piece of the model's name, in any case; ``outcomes`` are words of `unspool.outcome`, any of which will do;
    ``since`` is the earliest time, in milliseconds since the epoch.
    """

    most: int | None = None
    model: str = ""
    outcomes: Sequence[str] = ()
    since: int | None = None


class Entry(Fields):
    """A stream as a listing shows it: ``prompt`` and ``answer`` are first words, on one line. ``parent`` is the stream that it
    continues, "" for none.
    """

    id: str
    outcome: str
    parent: str
    model: str
    prompt: str
    answer: str


class Hit(Fields):
    """A stream that a search found: ``snippet`` is the text around the hits, ``hits`` where in it they are, in characters."""

    entry: Entry
    snippet: str
    hits: list[tuple[int, int]]


class Catalogue:
    """The catalogue of one folder of journals.

    ``path`` is its file, by default beside the folder. ``tell`` is called with the number of journals read so far and the number to be read, while there are many. ``skipped`` holds, after a listing or search, what could not be read: file names and reasons.
    """

    def __init__(self, folder: str, path: str | None = None, tell: Callable[[int, int], None] | None = None) -> None:
        self.folder = folder
        self.path = path or os.path.join(os.path.dirname(folder), NAME)
        self.skipped: dict[str, str] = {}
        self._tell = tell
        self._database: sqlite3.Connection | None = None
        self._inode = 0

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def entries(self, filter: Filter) -> list[Entry]:
        """Return these streams, newest first. Reads a few from their journals, and makes a catalogue for more."""
        straight = self._straight(filter)
        return (
            straight if straight is not None else self._with_database(lambda database: self._listed(database, filter))
        )

    def search(self, typed: Iterable[str], filter: Filter) -> list[Hit]:
        """Return these of the streams in which all that was typed is found, newest first. Raises `unspool.journal.fulltext.NoWords`."""
        wanted = fulltext.query(typed)
        return self._with_database(lambda database: self._found(database, wanted, filter))

    def forget(self, ids: Iterable[str]) -> None:
        """Take out streams whose journals have been removed, with every word of theirs. Does nothing where there is no catalogue."""
        gone = list(ids)
        if gone and os.path.exists(self.path):
            self._with_database(lambda database: _forget(database, gone))

    # Answering

    def _straight(self, filter: Filter) -> list[Entry] | None:
        """Read the newest streams from their journals; None when they are too many or too large, or must be chosen."""
        if filter.most is None or filter.most > _BATCH or filter.model or filter.outcomes:
            return None
        self.skipped = {}
        entries: list[Entry] = []
        size = 0
        earliest = "" if filter.since is None else ulid.earliest(filter.since)
        for id in reversed(folders.ids(self.folder)):
            if len(entries) >= filter.most or id < earliest:
                break
            path = folders.path_of(self.folder, id)
            try:
                size += os.stat(path).st_size
            except OSError:
                continue
            if size > _STRAIGHT_SIZE:
                return None
            one = self._read(path)
            if one is not None:
                entries.append(_entry(one))
        return entries

    def _listed(self, database: sqlite3.Connection, filter: Filter) -> list[Entry]:
        self._refresh(database)
        condition, values = _condition(filter)
        rows = database.execute(
            f"SELECT id, size, outcome, parent, model, prompt, answer FROM streams WHERE {condition} ORDER BY id DESC",
            values,
        )
        entries = []
        for row in rows:
            entry = self._settled(*row)
            if not filter.outcomes or entry.outcome in filter.outcomes:
                entries.append(entry)
                if len(entries) == filter.most:
                    break
        rows.close()
        return entries

    def _found(self, database: sqlite3.Connection, wanted: str, filter: Filter) -> list[Hit]:
        self._refresh(database)
        condition, values = _condition(filter)
        rows = database.execute(
            "SELECT number, id, size, outcome, parent, model, prompt, answer FROM streams "
            f"WHERE {condition} AND number IN (SELECT rowid FROM words WHERE words MATCH ?) ORDER BY id DESC",
            [*values, wanted],
        ).fetchall()
        hits: list[Hit] = []
        for number, *row in rows:
            if len(hits) == filter.most:
                break
            entry = self._settled(*row)
            if not filter.outcomes or entry.outcome in filter.outcomes:
                # One by one: a snippet costs more than finding its stream did.
                found = database.execute(
                    "SELECT snippet(words, -1, ?, ?, '…', 24) FROM words WHERE words MATCH ? AND rowid = ?",
                    [fulltext.BEGIN, fulltext.END, wanted, number],
                ).fetchone()
                if found is not None:
                    hits.append(Hit(entry, *fulltext.hit(found[0])))
        return hits

    def _settled(self, id: str, size: int, ended: str, parent: str, model: str, prompt: str, answer: str) -> Entry:
        """Return the entry of a row; of a journal that had no end yet, find out whether its writer lives."""
        if {type(one) for one in (id, ended, parent, model, prompt, answer)} != {str}:
            raise ValueError("not a row that was stored")
        if ended == "":
            path = folders.path_of(self.folder, id)
            ended = outcome.INTERRUPTED
            try:
                if reader.is_alive(path):
                    ended = outcome.RUNNING
                elif os.stat(path).st_size != size:
                    ended = summary.read(path).outcome
            except (OSError, ValueError):
                pass  # removed a moment ago
        return Entry(id, ended, parent, model, prompt, answer)

    # Making

    def _refresh(self, database: sqlite3.Connection) -> None:
        """Bring the catalogue up to what the folder holds."""
        self.skipped = {}
        # Read before the folder is: what another process adds between the two is then new, and not taken for removed.
        known = {id: (size, changed) for id, size, changed in database.execute("SELECT id, size, changed FROM streams")}
        present = _present(self.folder)
        gone = known.keys() - present.keys()
        if gone:
            _forget(database, gone)
        news = sorted((id for id, identity in present.items() if known.get(id) != identity), reverse=True)
        done = 0
        for batch in _batches(news, present):
            if self._tell is not None and len(news) > _BATCH:
                self._tell(done, len(news))
            self._add(database, batch, present)
            done += len(batch)
        for (id,) in database.execute("SELECT id FROM streams WHERE outcome IS NULL"):
            self.skipped[f"{id}.sse"] = "not a journal"

    def _add(self, database: sqlite3.Connection, ids: list[str], present: dict[str, FileIdentity]) -> None:
        rows: list[tuple[str, Entry | None, str, str]] = []
        for id in ids:
            one = self._read(folders.path_of(self.folder, id))
            if one is not None:
                prompt, answer = (fulltext.spaced(text[:_MOST_TEXT]) for text in (one.question, "\n\n".join(one.texts)))
                rows.append((id, _entry(one), prompt, answer))
            elif self.skipped.get(f"{id}.sse") == "not a journal":
                rows.append((id, None, "", ""))
        with _transaction(database):
            for id, entry, prompt, answer in rows:
                try:
                    now = _identity(os.stat(folders.path_of(self.folder, id)))
                except OSError:
                    continue  # removed meanwhile by another process, which waits for this transaction to delete its row
                if _stored(database, id) != now:
                    _store(database, id, present[id], entry, prompt, answer)

    def _read(self, path: str) -> Summary | None:
        """Return a journal's summary; note why there is none. An empty file is a stream that is about to begin."""
        name = os.path.basename(path)
        try:
            one = summary.read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.skipped[name] = error.strerror or str(error)
            return None
        except summary.NoJournal:
            self.skipped[name] = "not a journal"
            return None
        return one if one.size else None

    # The file

    def _with_database(self, operation: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run an operation on the catalogue: on a new one if the file is damaged, on one in memory if it cannot be written."""
        import sqlite3

        for _ in range(3):
            try:
                return operation(self._opened())
            except OSError:
                break
            except (ValueError, TypeError, sqlite3.DatabaseError) as error:
                # Damage is noticed not only by SQLite: its messages and texts may be bytes that are no text.
                self.close()
                code = getattr(error, "sqlite_errorcode", 0)
                if code == sqlite3.SQLITE_READONLY_DBMOVED:
                    continue  # the file was deleted; the next one is new
                if code & 0xFF in _refusals():
                    break
                self._discard()
        self.close()
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.executescript(_SCHEMA)
        return operation(self._database)

    def _opened(self) -> sqlite3.Connection:
        if self._database is not None:
            return self._database
        import sqlite3

        try:
            # Created here, since SQLite creates files that others can read.
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass
        status = os.stat(self.path)
        self._inode = status.st_ino
        if status.st_mode & 0o077:
            os.chmod(self.path, 0o600)
        self._database = database = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
        # Deleted text must not stay readable in the file's free pages.
        database.execute("PRAGMA secure_delete = ON")
        database.execute("PRAGMA synchronous = NORMAL")
        # KiB. A transaction that fits does not block readers until it commits.
        database.execute("PRAGMA cache_size = -32000")
        if _version(database) == 0:
            with _transaction(database):
                # Another process may have made it while this one waited.
                if _version(database) == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    for statement in _SCHEMA.split(";"):
                        database.execute(statement)
        if _version(database) != _VERSION:
            raise _Outdated
        return database

    def _discard(self) -> None:
        """Delete the file, unless another process has already put a new one in its place."""
        try:
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)
                os.unlink(self.path + "-journal")
        except OSError:
            pass


class _Outdated(ValueError):
    """The catalogue was made by another version of this program, or is another program's database."""


def _refusals() -> tuple[int, ...]:
    """The codes with which SQLite says that the file may be good, but cannot be used now."""
    import sqlite3

    names = "BUSY LOCKED READONLY CANTOPEN FULL PERM AUTH NOLFS PROTOCOL"
    return tuple(getattr(sqlite3, f"SQLITE_{name}") for name in names.split())


def _transaction(database: sqlite3.Connection) -> sqlite3.Connection:
    """Begin a transaction that is committed where the ``with`` block ends, or undone where that raises."""
    database.execute("BEGIN IMMEDIATE")
    return database


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _present(folder: str) -> dict[str, FileIdentity]:
    """The ids of the journals in a folder that are not empty, with their identities."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return {}
    present = {}
    with entries:
        for entry in entries:
            if folders.is_journal(entry):
                try:
                    status = entry.stat()
                except OSError:
                    continue
                if status.st_size:
                    present[folders.id_of(entry.name)] = _identity(status)
    return present


def _batches(ids: list[str], present: dict[str, FileIdentity]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for id in ids:
        batch.append(id)
        size += present[id][0]
        if len(batch) == _BATCH or size > _BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _identity(status: os.stat_result) -> FileIdentity:
    return (status.st_size, status.st_mtime_ns)


def _stored(database: sqlite3.Connection, id: str) -> FileIdentity | None:
    row: FileIdentity | None = database.execute("SELECT size, changed FROM streams WHERE id = ?", [id]).fetchone()
    return row


def _store(
    database: sqlite3.Connection, id: str, identity: FileIdentity, entry: Entry | None, prompt: str, answer: str
) -> None:
    _remove(database, id)
    if entry is None:
        values: list[object] = [id, *identity, None, "", "", "", ""]
    else:
        ended = "" if entry.outcome in (outcome.RUNNING, outcome.INTERRUPTED) else entry.outcome
        values = [id, *identity, ended, entry.parent, entry.model, entry.prompt, entry.answer]
    number = database.execute(
        "INSERT INTO streams (id, size, changed, outcome, parent, model, prompt, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    ).lastrowid
    database.execute("INSERT INTO words (rowid, prompt, answer) VALUES (?, ?, ?)", [number, prompt, answer])


def _remove(database: sqlite3.Connection, id: str) -> None:
    database.execute("DELETE FROM words WHERE rowid IN (SELECT number FROM streams WHERE id = ?)", [id])
    database.execute("DELETE FROM streams WHERE id = ?", [id])


def _forget(database: sqlite3.Connection, ids: Iterable[str]) -> None:
    with _transaction(database):
        for id in ids:
            _remove(database, id)
        # The index only notes that a word is gone; writing it again drops the word itself.
        database.execute("INSERT INTO words (words) VALUES ('optimize')")


def _condition(filter: Filter) -> tuple[str, list[object]]:
    """Return the SQL of a filter, as far as SQL can say it, and its values."""
    conditions = ["outcome IS NOT NULL"]
    values: list[object] = []
    if filter.since is not None:
        conditions.append("id >= ?")
        values.append(ulid.earliest(filter.since))
    if filter.model:
        conditions.append("instr(lower(model), lower(?))")
        values.append(whole(filter.model))
    if filter.outcomes:
        conditions.append(f"outcome IN ('', {', '.join('?' * len(filter.outcomes))})")
        values += filter.outcomes
    return " AND ".join(conditions), values


def _entry(one: Summary) -> Entry:
    answer = one.text or next((text for text in one.texts if text), "")
    if not answer and one.tool_calls:
        answer = f"[{one.tool_calls[0].name}({one.tool_calls[0].arguments})]"
    return Entry(one.id, one.outcome, one.parent or "", one.model, _first_words(one.question), _first_words(answer))


def _first_words(text: str) -> str:
    return " ".join(text[: 4 * _FIRST_WORDS].split())[:_FIRST_WORDS]
