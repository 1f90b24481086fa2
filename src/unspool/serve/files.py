"""The store on one machine: a folder with a journal for each stream, and an index that its processes share.

The journals hold the streams. The index (SQLite, WAL) holds what several processes must agree on: which process produces which stream,
until when its lease runs, idempotency keys, who watches, quotas. If the index is lost it is made again from the journals, and what ran
by then has ended.

Leases. Each process renews one row twice a second, from a thread, so that a busy event loop keeps its lease and a stopped process loses
it. Whoever finds an expired lease marks its process as dead, and ends its streams: it copies each journal with an end into a new file
and renames that over the old one. A stream stays that of the dead process until its end is recorded, so that another process ends it
where this one is lost meanwhile; two that do so write the same. What a process that wakes up later still writes goes to a file that has
no name any more, and it shows nothing: it checks its lease after each write, before anybody sees what it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict

from unspool import Error
from unspool.journal import blocks, record, ulid
from unspool.journal.blocks import Block, Request, Response
from unspool.journal.folder import path_of
from unspool.journal.reader import Reader
from unspool.journal.unframed import Body
from unspool.journal.writer import Writer
from unspool.masking import without_secrets
from unspool.outcome import INTERRUPTED, RUNNING
from unspool.serve.judging import end_in_log
from unspool.serve.store import (
    BODY,
    END,
    EVENT,
    GONE,
    HEAD,
    LEASE,
    UNLISTED_SECONDS,
    End,
    Entry,
    Fenced,
    Head,
    Idempotency,
    IdempotencyMismatch,
    Producer,
    Store,
    StoreError,
    StreamInfo,
    TooManyStreams,
)
from unspool.sse import Events

_log = logging.getLogger("unspool.serve")

_RENEW = LEASE / 4
# How often other processes' journals are looked at while somebody here reads one, and the index otherwise: news there are seldom, for a
# client mostly comes back to the process it left.
_POLL = 0.015
_POLL_INDEX = 0.1
# Seconds between syncs to the disk, for all streams together: what a power cut can take. A crash of the program takes nothing.
_SYNC = 1.0

# Seconds that it is remembered of a stream that retention has removed it.
_REMEMBER_GONE = 7 * 86400.0

_STOPPED = "this process was stopped for so long that its streams have been ended"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS worker (id TEXT PRIMARY KEY, renewed REAL NOT NULL, dead INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS stream (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL, created REAL NOT NULL, state TEXT NOT NULL,
    ended REAL, ttft REAL, input_tokens INTEGER, output_tokens INTEGER, response_id TEXT, listed INTEGER NOT NULL,
    abandon_after REAL, epoch INTEGER NOT NULL, worker TEXT, cancel TEXT, bytes INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stream_owner ON stream (owner, id);
CREATE INDEX IF NOT EXISTS stream_response ON stream (response_id) WHERE response_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS stream_worker ON stream (worker) WHERE worker IS NOT NULL;
CREATE TABLE IF NOT EXISTS idempotency (scope TEXT PRIMARY KEY, body TEXT NOT NULL, stream TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS idempotency_stream ON idempotency (stream);
CREATE TABLE IF NOT EXISTS viewer (stream TEXT NOT NULL, worker TEXT NOT NULL, PRIMARY KEY (stream, worker)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gone (id TEXT PRIMARY KEY, owner TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quota (owner TEXT NOT NULL, day TEXT NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY (owner, day)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object (id TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (id, owner)) WITHOUT ROWID;
"""
_COLUMNS = (
    "id, owner, endpoint, model, created, state, ended, ttft, input_tokens, output_tokens, response_id, listed,"
    " abandon_after, epoch"
)


class FileStore(Store):
    """Keeps streams in a folder. ``keep`` is for how many seconds after its end, ``keep_bytes`` how much in all (None: any).

    ``is_shared`` says that the folder is a person's, with journals of other programs: an index that is lost is not made again from all of them.
    """

    def __init__(
        self,
        folder: str,
        *,
        sync: str = "interval",
        keep: float = 86400.0,
        keep_bytes: int | None = None,
        is_shared: bool = False,
    ) -> None:
        self.folder = folder
        self._streams = os.path.join(folder, "streams")
        self._sync = sync
        self._keep = keep
        self._keep_bytes = keep_bytes
        self._is_shared = is_shared
        self._worker = ulid.new()
        self._index: sqlite3.Connection
        self.renewed_at = 0.0
        self.fenced = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._producers: dict[str, FileProducer] = {}
        self.unrecorded: list[tuple[End, StreamInfo, int]] = []
        self._watches: dict[str, _Watch] = {}
        self._poller: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        try:
            os.makedirs(os.path.dirname(self.folder) or ".", exist_ok=True)
            for folder in (self.folder, self._streams):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700)
            self._index = self._connect()
            # A store that nobody closes, such as that of a `Relay` whose program just ends, closes its index all the same.
            weakref.finalize(self, self._index.close)
            is_new = self._index.execute("SELECT count(*) FROM worker").fetchone()[0] == 0
            self._renew(self._index)
            if is_new and not self._is_shared:
                self._rebuild()
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{self.folder}: {error}") from error
        self._thread = threading.Thread(target=self._keep_lease, name="unspool-lease", daemon=True)
        self._thread.start()
        loop = asyncio.get_running_loop()
        self._poller = loop.create_task(self._poll())
        self._sweeper = loop.create_task(self._sweep())
        self._syncing = loop.create_task(self._sync_journals())

    async def close(self) -> None:
        for producer in list(self._producers.values()):
            with contextlib.suppress(StoreError):
                await producer.end(End(INTERRUPTED, "the gateway was stopped"), await self._info(producer.id))
        for task in (self._poller, self._sweeper, self._syncing):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._stopping.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        with contextlib.suppress(sqlite3.Error):
            self._index.execute("DELETE FROM viewer WHERE worker = ?", (self._worker,))
            self._index.execute("DELETE FROM worker WHERE id = ?", (self._worker,))
        self._index.close()

    async def create(
        self, info: StreamInfo, idempotency: Idempotency | None = None, *, at_most: int | None = None
    ) -> tuple[Producer | None, StreamInfo]:
        self.check_lease()
        with self._transaction() as index:
            if idempotency is not None:
                found = index.execute(
                    "SELECT body, stream FROM idempotency WHERE scope = ?", (idempotency.scope,)
                ).fetchone()
                if found is not None:
                    if found[0] != idempotency.body:
                        raise IdempotencyMismatch
                    known = self._select(index, "id = ?", (found[1],))
                    if known:
                        return None, known[0]
                    index.execute("DELETE FROM idempotency WHERE scope = ?", (idempotency.scope,))
                index.execute(
                    "INSERT INTO idempotency VALUES (?, ?, ?)", (idempotency.scope, idempotency.body, info.id)
                )
            if at_most is not None and self._running(info.owner.partition("/")[0]) >= at_most:
                raise TooManyStreams
            self._insert(index, info)
        try:
            writer = Writer.create(path_of(self._streams, info.id), sync=self._sync)
        except OSError as error:
            self._execute("DELETE FROM stream WHERE id = ?", (info.id,))
            self._execute("DELETE FROM idempotency WHERE stream = ?", (info.id,))
            raise StoreError(f"{self._streams}: {error.strerror or error}") from error
        producer = self._producers[info.id] = FileProducer(self, writer, info.epoch)
        request = {key: value for key, value in info.request.items() if key not in ("owner", "epoch")}
        asked = Request.of({**request, "owner": info.owner, "epoch": info.epoch, "listed": info.listed})
        try:
            producer.write(asked.replace(body=without_secrets(asked.body).body))
        except StoreError:
            producer.abandon()
            with contextlib.suppress(sqlite3.Error, OSError, StoreError):
                self._remove([info.id])
            raise
        return producer, info

    async def adopt(self, writer: Writer, info: StreamInfo) -> FileProducer:
        """Hold the lease of a stream whose journal is written by a client in this process. `FileProducer.ended` gives it back."""
        self.check_lease()
        with self._transaction() as index:
            self._insert(index, info)
        producer = self._producers[info.id] = FileProducer(self, writer, info.epoch)
        return producer

    async def forget_idempotency(self, id: str) -> None:
        self._execute("DELETE FROM idempotency WHERE stream = ?", (id,))

    async def find(self, id: str) -> StreamInfo | None:
        if not ulid.is_ulid(id):
            return None
        found = self._select(self._index, "id = ?", (id,))
        if found:
            return found[0]
        gone = self._index.execute("SELECT owner FROM gone WHERE id = ?", (id,)).fetchone()
        return StreamInfo(id, gone[0], "", state=GONE, listed=False) if gone is not None else None

    async def find_response(self, response_id: str, owner: str) -> StreamInfo | None:
        found = self._select(
            self._index, "response_id = ? AND owner = ? ORDER BY id DESC LIMIT 1", (response_id, owner)
        )
        return found[0] if found else None

    async def streams(self, owner: str | None, limit: int = 200) -> list[StreamInfo]:
        condition = "listed AND owner = ?" if owner is not None else "listed"
        values = (owner, limit) if owner is not None else (limit,)
        return self._select(self._index, f"{condition} ORDER BY id DESC LIMIT ?", values)

    async def note(self, info: StreamInfo) -> None:
        self._execute(
            "UPDATE stream SET response_id = ?, ttft = ?, model = ? WHERE id = ?",
            (info.response_id, info.ttft, info.model, info.id),
        )

    async def delete(self, id: str) -> None:
        self._remove([id])

    async def cancel(self, id: str, reason: str) -> None:
        producer = self._producers.get(id)
        if producer is not None:
            producer.ask_to_stop(reason)
        else:
            self._execute("UPDATE stream SET cancel = ? WHERE id = ? AND state = ?", (reason, id, RUNNING))

    async def read(self, id: str, position: int, limit: int = 1024) -> list[Entry]:
        try:
            with Reader(path_of(self._streams, id)) as reader:
                entries: list[Entry] = []
                for records in reader.batches():
                    entries += filter(None, (_entry(one) for one in records if one.id >= position))
                    if len(entries) >= limit:
                        break
        except FileNotFoundError:
            raise KeyError(id) from None
        except OSError as error:
            raise StoreError(f"{self._streams}: {error.strerror or error}") from error
        return entries

    def watch(self, id: str, on_news: Callable[[], None]) -> Callable[[], None]:
        watch = self._watches.get(id)
        if watch is None:
            watch = self._watches[id] = _Watch(path_of(self._streams, id))
        watch.callbacks.append(on_news)

        def stop() -> None:
            watch.callbacks.remove(on_news)
            if not watch.callbacks:
                self._watches.pop(id, None)

        return stop

    async def viewing(self, id: str, count: int) -> None:
        if count:
            self._execute("INSERT OR IGNORE INTO viewer VALUES (?, ?)", (id, self._worker))
        else:
            self._execute("DELETE FROM viewer WHERE stream = ? AND worker = ?", (id, self._worker))

    async def viewers_elsewhere(self, id: str) -> bool:
        found = self._index.execute(
            "SELECT 1 FROM viewer JOIN worker ON worker.id = viewer.worker"
            " WHERE stream = ? AND worker <> ? AND NOT dead AND renewed BETWEEN ? AND ? LIMIT 1",
            (id, self._worker, time.monotonic() - LEASE, time.monotonic() + LEASE),
        ).fetchone()
        return found is not None

    def _running(self, owner: str) -> int:
        found = self._index.execute(
            "SELECT count(*) FROM stream WHERE state = ? AND (owner = ? OR substr(owner, 1, ?) = ?)",
            (RUNNING, owner, len(owner) + 1, f"{owner}/"),
        ).fetchone()
        return int(found[0])

    async def spend(self, owner: str, tokens: int) -> int:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        if tokens:
            self._execute(
                "INSERT INTO quota VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens",
                (owner, day, tokens),
            )
        found = self._index.execute("SELECT tokens FROM quota WHERE owner = ? AND day = ?", (owner, day)).fetchone()
        return int(found[0]) if found else 0

    async def own_object(self, object_id: str, owner: str) -> None:
        self._execute("INSERT OR IGNORE INTO object VALUES (?, ?)", (object_id, owner))

    async def owns_object(self, object_id: str, owner: str) -> bool:
        return (
            self._index.execute("SELECT 1 FROM object WHERE id = ? AND owner = ?", (object_id, owner)).fetchone()
            is not None
        )

    def check_lease(self) -> None:
        """Raise Fenced unless this process surely holds its lease. Costs a comparison, for it comes before every write."""
        if self.fenced or time.monotonic() - self.renewed_at > LEASE:
            self._check_lease_again()

    def stop_renewing(self) -> None:
        """Let the lease run out, as that of a stopped process does."""
        self._stopping.set()
        for task in (self._sweeper, self._poller):
            if task is not None:
                task.cancel()

    def release(self, id: str) -> None:
        """Forget a stream that this process produced."""
        self._producers.pop(id, None)

    def record_end(self, end: End, info: StreamInfo, size: int, worker: str | None = None) -> None:
        """Put the end of a stream of this process, or of that worker, into the index."""
        self._execute(
            "UPDATE stream SET state = ?, ended = ?, ttft = ?, input_tokens = ?, output_tokens = ?, response_id = ?, model = ?,"
            " worker = NULL, bytes = ? WHERE id = ? AND worker = ?",
            (
                end.outcome,
                time.time(),
                info.ttft,
                info.input_tokens,
                info.output_tokens,
                info.response_id,
                info.model,
                size,
                info.id,
                worker or self._worker,
            ),
        )

    def _record_ends(self) -> None:
        """Record the ends that a full disk kept out of the index."""
        while self.unrecorded:
            self.record_end(*self.unrecorded[0])
            del self.unrecorded[0]

    def _insert(self, index: sqlite3.Connection, info: StreamInfo) -> None:
        index.execute(
            "INSERT OR REPLACE INTO stream (id, owner, endpoint, model, created, state, listed, abandon_after, epoch, worker)"
            " VALUES (:id, :owner, :endpoint, :model, :created, :state, :listed, :abandon_after, :epoch, :worker)",
            {**asdict(info), "worker": self._worker, "listed": int(info.listed)},
        )

    # The lease

    def _check_lease_again(self) -> None:
        # Long stopped, or the thread could not run: only the index knows whether somebody took our streams.
        try:
            if not self.fenced and self._renew(self._index):
                return
        except sqlite3.Error as error:
            raise StoreError(f"{self.folder}: {error}") from error
        self.fenced = True
        raise Fenced(_STOPPED)

    def _renew(self, index: sqlite3.Connection) -> bool:
        now = time.monotonic()
        index.execute(
            "INSERT INTO worker (id, renewed) VALUES (?, ?) ON CONFLICT DO UPDATE SET renewed = excluded.renewed WHERE NOT dead",
            (self._worker, now),
        )
        if index.execute("SELECT dead FROM worker WHERE id = ?", (self._worker,)).fetchone()[0]:
            return False
        self.renewed_at = now
        return True

    def _keep_lease(self) -> None:
        index = self._connect()
        try:
            while not self._stopping.wait(_RENEW):
                try:
                    if not self._renew(index):
                        self.fenced = True
                        return
                except sqlite3.Error:
                    continue  # a full disk: the lease runs out, and the streams end as interrupted
        finally:
            index.close()

    async def _sweep(self) -> None:
        logged = ""
        try:
            while True:
                try:
                    self._record_ends()
                    self._start_again_when_fenced()
                    self._end_orphans()
                    self._retire()
                except (sqlite3.Error, OSError, StoreError) as error:
                    if str(error) != logged:
                        logged = str(error)
                        _log.error("the store failed: %s", error)
                except Exception:
                    _log.exception("the store failed")  # without this task no lease is kept
                await asyncio.sleep(_RENEW)
        finally:
            # Also when the loop is closed without `close`: nobody is left who could produce anything.
            self._stopping.set()

    def _start_again_when_fenced(self) -> None:
        """Take part again under another name, once everything of the old one has been given up."""
        if not self.fenced:
            return
        if self._producers:
            # Those whose upstream is silent would not find out.
            for producer in list(self._producers.values()):
                if producer.on_trouble is not None:
                    producer.on_trouble(Fenced(_STOPPED))
            return
        self._worker = ulid.new()
        self.fenced = False
        self._renew(self._index)
        self._thread = threading.Thread(target=self._keep_lease, name="unspool-lease", daemon=True)
        self._thread.start()

    def _end_orphans(self) -> None:
        now = time.monotonic()
        # After a reboot the clock starts again: a lease from the future is one of the time before.
        stale = "SELECT id FROM worker WHERE NOT dead AND (renewed < ? OR renewed > ?) AND id <> ?"
        values = (now - LEASE, now + LEASE, self._worker)
        if self._index.execute(stale, values).fetchone():
            with self._transaction() as index:
                for dead in index.execute(stale, values).fetchall():
                    index.execute("UPDATE worker SET dead = 1 WHERE id = ?", dead)
                    index.execute("DELETE FROM viewer WHERE worker = ?", dead)
                    index.execute("UPDATE stream SET epoch = epoch + 1 WHERE worker = ?", dead)
        orphans = self._index.execute(
            "SELECT stream.id, worker.id FROM worker JOIN stream ON worker.id = stream.worker WHERE dead"
        ).fetchall()
        # In another order than the other processes, so that they share the work.
        random.shuffle(orphans)
        for id, worker in orphans:
            self._interrupt(id, worker)
        if (
            not orphans
            and self._index.execute("SELECT 1 FROM worker WHERE dead AND renewed < ?", (now - 3600,)).fetchone()
        ):
            # The rows stay for a while, so that one that wakes up finds itself dead.
            self._execute("DELETE FROM worker WHERE dead AND renewed < ?", (now - 3600,))

    def _interrupt(self, id: str, worker: str) -> None:
        """End the stream of a dead producer, in a file that it cannot write."""
        path = path_of(self._streams, id)
        copy = f"{path}.{self._worker}"
        end = End(INTERRUPTED, "the process that produced the answer ended before it did")
        size = 0
        entries: list[Entry] = []
        found = self._select(self._index, "id = ? AND state = ?", (id, RUNNING))
        if not found:
            return
        [info] = found
        writer: Writer | None = None
        last: record.Record | None = None
        try:
            try:
                shutil.copyfile(path, copy)
            except FileNotFoundError:
                open(copy, "xb").close()  # it was lost before it began its journal
            os.chmod(copy, 0o600)
            writer = Writer.reopen(copy, sync=self._sync)
            with Reader(copy) as reader:
                for batch in reader.batches():
                    entries += filter(None, map(_entry, batch))
                    last = batch[-1] if batch else last
            if last is None:
                asked = {"api": info.endpoint, "model": info.model, "listed": info.listed}
                writer.put(Request.of({**asked, "owner": info.owner, "epoch": info.epoch}))
            if reader.ended:
                end = (entries[-1].end if entries else None) or end
            else:
                end = end_in_log(info.endpoint, entries) or end
                writer.put(_block_of(end))
            if not self._is_running(id):
                return  # another process was faster, and the stream may have been removed since
            if writer.trouble is None:
                os.rename(copy, path)
                size = os.path.getsize(path)
        except (OSError, ValueError, Error) as error:
            # A full disk, or a damaged journal: viewers find a log without an end.
            _log.error("stream %s could not be ended in its journal: %s", id, error)
        finally:
            if writer is not None:
                writer.close()
            with contextlib.suppress(OSError):
                os.unlink(copy)
        if not any(one.kind in (EVENT, BODY) for one in entries):
            self._execute("DELETE FROM idempotency WHERE stream = ?", (id,))
        self.record_end(end, info, size, worker)

    def _is_running(self, id: str) -> bool:
        return bool(self._select(self._index, "id = ? AND state = ?", (id, RUNNING)))

    def _retire(self) -> None:
        """Remove what has been kept for long enough, and the oldest of what is too much."""
        now = time.time()
        # Not stored upstream means not for long here.
        old = [
            row[0]
            for row in self._index.execute(
                "SELECT id FROM stream WHERE ended IS NOT NULL AND (ended < ? OR (NOT listed AND ended < ?))",
                (now - self._keep, now - min(UNLISTED_SECONDS, self._keep)),
            )
        ]
        if self._keep_bytes is not None:
            total = 0
            for id, size in self._index.execute(
                "SELECT id, bytes FROM stream WHERE ended IS NOT NULL ORDER BY id DESC"
            ):
                total += size
                if total > self._keep_bytes:
                    old.append(id)
        if old:
            for id in old:
                self._execute(
                    "INSERT OR IGNORE INTO gone SELECT id, owner, ? FROM stream WHERE id = ? AND listed", (now, id)
                )
            self._remove(old)
            self._execute("DELETE FROM gone WHERE at < ?", (now - _REMEMBER_GONE,))

    def _remove(self, ids: list[str]) -> None:
        for id in ids:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path_of(self._streams, id))
        with self._transaction() as index:
            for id in ids:
                index.execute("DELETE FROM stream WHERE id = ?", (id,))
                index.execute("DELETE FROM idempotency WHERE stream = ?", (id,))
                index.execute("DELETE FROM viewer WHERE stream = ?", (id,))

    def _rebuild(self) -> None:
        """Make the index from the journals: those without an owner are nobody's, and are left alone."""
        for name in sorted(os.listdir(self._streams)):
            id, _, suffix = name.partition(".")
            if suffix != "sse" or not ulid.is_ulid(id):
                continue
            path = path_of(self._streams, id)
            with Reader(path) as reader:
                records = reader.read()
            if not records or not records[0].is_own(record.REQUEST):
                continue
            request = Request.read(records[0].data)
            if request.owner is None:
                continue
            if not reader.ended:
                writer = Writer.reopen(path, sync=self._sync)
                writer.put(blocks.End(INTERRUPTED, "the machine or the gateway was restarted"))
                writer.close()
                state = INTERRUPTED
            else:
                state = blocks.End.read(records[-1].data).outcome
            self._index.execute(
                "INSERT OR IGNORE INTO stream (id, owner, endpoint, model, created, state, ended, listed, epoch, bytes)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id,
                    request.owner,
                    request.api,
                    request.model or str(request.body.get("model", "")),
                    ulid.milliseconds(id) / 1000,
                    state,
                    time.time(),
                    int(request.listed is not False),
                    request.epoch or 0,
                    os.path.getsize(path),
                ),
            )

    # News of other processes

    async def _poll(self) -> None:
        # Every write to the index changes its log first, and asking for that costs a hundredth of asking SQLite.
        index = _Watch(os.path.join(self.folder, "index.db-wal"))
        index.callbacks.append(self._look_for_cancels)
        looked_at = 0.0
        while True:
            await asyncio.sleep(_POLL if self._watches else _POLL_INDEX)
            for watch in list(self._watches.values()):
                watch.look()
            now = time.monotonic()
            if self._producers and now - looked_at >= _POLL_INDEX:
                looked_at = now
                index.look()

    def _look_for_cancels(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            for id, reason in self._index.execute(
                "SELECT id, cancel FROM stream WHERE worker = ? AND cancel IS NOT NULL", (self._worker,)
            ).fetchall():
                if id in self._producers:
                    self._producers[id].ask_to_stop(reason)

    async def _sync_journals(self) -> None:
        while True:
            await asyncio.sleep(_SYNC)
            due = [one.writer for one in self._producers.values() if one.writer.sync_due() is not None]
            if due:
                await asyncio.to_thread(_sync_each, due)

    # SQLite

    def _connect(self) -> sqlite3.Connection:
        # Closed by whichever thread collects a store that nobody closed.
        path = os.path.join(self.folder, "index.db")
        index = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
        index.execute("PRAGMA journal_mode = WAL")
        index.execute("PRAGMA synchronous = NORMAL")
        index.executescript(_SCHEMA)
        return index

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            self._index.execute(statement, values)
        except sqlite3.Error as error:
            raise StoreError(f"{self.folder}: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._index.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise StoreError(f"{self.folder}: {error}") from error
        try:
            yield self._index
            self._index.execute("COMMIT")
        except BaseException as error:
            # SQLite may have done that itself, on a full disk.
            if self._index.in_transaction:
                self._index.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise StoreError(f"{self.folder}: {error}") from error
            raise

    def _select(self, index: sqlite3.Connection, condition: str, values: tuple[object, ...]) -> list[StreamInfo]:
        try:
            rows = index.execute(f"SELECT {_COLUMNS} FROM stream WHERE {condition}", values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.folder}: {error}") from error
        return [StreamInfo(*row) for row in rows]

    async def _info(self, id: str) -> StreamInfo:
        return self._select(self._index, "id = ?", (id,))[0]


class FileProducer(Producer):
    """Writes one journal, as long as its process holds its lease."""

    def __init__(self, store: FileStore, writer: Writer, epoch: int) -> None:
        self.id = writer.id
        self.epoch = epoch
        self.writer = writer
        self._store = store

    async def head(self, head: Head) -> int:
        return self.write(Response(head.status, headers=head.headers))

    def append(self, events: Events, at: float) -> None:
        # Hot: once for each network read.
        writer = self.writer
        first = writer.events(events, at)
        if writer.trouble is not None:
            raise StoreError(writer.trouble)
        # After the write: a process that was stopped just before it has written to a file that is no longer the stream's.
        store = self._store
        if store.fenced or time.monotonic() - store.renewed_at > LEASE:
            store.check_lease()
        self.on_kept(first, events, at)

    async def body(self, data: bytes, at: float) -> int:
        return self.write(Body(data.decode("utf-8", "replace"), at=round(at, 3)))

    async def end(self, end: End, info: StreamInfo) -> int:
        try:
            position = self.write(_block_of(end))
        except Fenced:
            raise
        except StoreError:
            # The log has no end then, but the stream must not count as running.
            self.writer.close()
            await self.ended(end, info)
            raise
        await asyncio.to_thread(self.writer.close)
        await self.ended(end, info)
        return position

    async def ended(self, end: End, info: StreamInfo) -> None:
        """Give back the lease of a stream whose journal has this end."""
        self._store.release(self.id)
        try:
            size = os.path.getsize(self.writer.path or "")
        except OSError:
            size = 0  # removed by somebody
        try:
            self._store.record_end(end, info, size)
        except StoreError:
            self._store.unrecorded.append((end, info, size))
            raise

    def check(self) -> None:
        """Raise Fenced once the lease is lost."""
        self._store.check_lease()

    def write(self, block: Block) -> int:
        """Append a block of the journal's own. Returns its position."""
        self._store.check_lease()
        position = self.writer.put(block)
        if self.writer.trouble is not None:
            raise StoreError(self.writer.trouble)
        self._store.check_lease()
        return position

    def ask_to_stop(self, reason: str) -> None:
        """Tell whoever produces the stream that somebody wants it to end."""
        if self.cancelled is None:
            self.cancelled = reason
            if self.on_cancel is not None:
                self.on_cancel()

    def abandon(self) -> None:
        self._store.release(self.id)
        self.writer.close()


class _Watch:
    """Looks whether a file that another process writes has changed, or has been replaced."""

    def __init__(self, path: str) -> None:
        self.callbacks: list[Callable[[], None]] = []
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def look(self) -> None:
        try:
            found = os.stat(self._path)
            now: tuple[int, int, int] | None = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError:
            now = None
        if now != self._seen:
            self._seen = now
            for callback in list(self.callbacks):
                callback()


def _sync_each(writers: list[Writer]) -> None:
    for writer in writers:
        writer.sync()


def _entry(one: record.Record) -> Entry | None:
    """The entry that a block is; None for the request, and for a block of a type that is not known."""
    if one.at is not None:
        return Entry(one.id, EVENT, one.at, one.type, one.data.encode())
    block = blocks.read(one)
    if isinstance(block, Response):
        return Entry(one.id, HEAD, head=Head(block.status, block.headers))
    if isinstance(block, Body):
        return Entry(one.id, BODY, block.at or 0.0, data=block.text.encode("utf-8", "replace"))
    if isinstance(block, blocks.End):
        end = End(block.outcome, block.message, block.finish_reason, bool(block.upstream), block.successor)
        return Entry(one.id, END, end=end)
    return None


def _block_of(end: End) -> blocks.End:
    return blocks.End(
        end.outcome,
        end.message,
        end.finish_reason,
        upstream=end.upstream or None,
        successor=end.successor,
    )
