"""Writes a journal: append before delivery, and continue without a journal when the disk fails.

The promises, and what each costs:

- A block is given to the kernel with one ``write`` before its event is delivered. Whatever then happens to the process,
  the block is in the file.
- ``sync`` decides what a power cut can take: ``"always"`` nothing, at milliseconds for each network read; ``"interval"`` (the
  default) the last fifth of a second; ``"never"`` what the kernel has not written back, usually half a minute.
- One process writes a journal: it is created with O_EXCL and locked while its writer lives.
- A disk that refuses (full, read-only, no permission) ends the journal and not the answer: `Writer.trouble` says why.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock

from unspool import Error
from unspool.journal import record, ulid

try:
    import fcntl
except ImportError:  # Windows: O_EXCL alone keeps writers apart
    fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from unspool.journal.blocks import Block
    from unspool.sse import Events

# Seconds between syncs to the disk with sync="interval": one sync costs some 4 ms, so 2 % of the time at most.
SYNC_INTERVAL = 0.2

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Busy(Error):
    """Another process writes this journal."""


class Writer:
    """The journal of one stream while it is being written.

    ``id`` is the stream's. ``path`` is the file's. With ``folder=None`` the journal is kept in memory, and `contents` returns
    it. When the disk refuses, nothing more is kept and ``trouble`` says why, in words for a person; no method raises for it. ``warning`` is what
    a person should know all the same, such as that others could write to the folder. ``upstream_id`` is the server's id of the last event.
    """

    #: Called when the disk refuses, with why.
    on_trouble: Callable[[str], None] | None = None

    def __init__(self, folder: str | None, *, sync: str = "interval") -> None:
        self.id = ulid.new()
        self.path: str | None = None
        self.trouble: str | None = None
        self.warning: str | None = None
        self._sync = sync
        self._fd = -1
        self._memory: list[bytes] | None = [] if folder is None else None
        self._next_id = 0
        self.upstream_id = ""
        self._size = 0
        self._dirty = False
        self._folder_dirty = False
        self._synced_at = time.monotonic()
        # Held while the descriptor is synced or closed: an event loop syncs in another thread than it appends in.
        self._descriptor_lock = allocate_lock()
        if folder is not None:
            try:
                self._create(folder)
            except OSError as error:
                self._give_up(error, folder)
        self._write(record.HEADER)

    @property
    def is_kept(self) -> bool:
        """Whether appended blocks are written to a file."""
        return self._fd >= 0

    @classmethod
    def create(cls, path: str, *, sync: str = "interval") -> Writer:
        """Begin a journal in a file of this name, which must not exist. Raises OSError."""
        writer = cls(None, sync=sync)
        fd = os.open(path, _FLAGS, 0o600)
        writer.id = os.path.basename(path).rpartition(".")[0]
        writer.path = path
        writer._fd, writer._memory = fd, None
        writer._folder_dirty = True
        writer._hold_lock()
        writer._write(record.HEADER)
        return writer

    @classmethod
    def reopen(cls, path: str, *, sync: str = "interval") -> Writer:
        """Continue a journal whose writer is gone, after cutting off the torn block that it may end with.

        The next block must be a `record.ATTEMPT`, or after an end a `record.TOOL`. Raises Busy while another process writes it, `unspool.journal.reader.Damage`
        when it holds what was never written, and OSError.
        """
        from unspool.journal.reader import Reader

        writer = cls(None, sync=sync)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        try:
            if fcntl is not None:
                _lock(fd)
            with Reader(path) as reader:
                for _ in reader.batches():
                    pass
                if reader.damage is not None:
                    raise reader.damage
                if reader.torn_at() is not None:
                    os.ftruncate(fd, reader.offset)
        except BlockingIOError as error:
            os.close(fd)
            raise Busy(f"{path} is still being written by another process") from error
        except BaseException:
            os.close(fd)
            raise
        writer.id = os.path.basename(path).partition(".")[0]
        writer.path = path
        writer._fd, writer._memory = fd, None
        writer._next_id, writer.upstream_id, writer._size = reader.next_id, reader.upstream_id, reader.offset
        if not writer._size:
            writer._write(record.HEADER)  # whoever made the file died before its first line was complete
        return writer

    def own(self, type: str, data: str) -> int:
        """Append a block of the journal's own: one of `unspool.journal.record`'s types and a line of JSON. Returns its id."""
        id = self._next_id
        self._write(record.encode_own(id, type, data))
        self._next_id = id + 1
        return id

    def put(self, block: Block) -> int:
        """Append a block of the journal's own. Returns its id."""
        return self.own(block.TYPE, block.encode())

    def events(self, events: Events, at: float) -> int:
        """Append events of the server, ``at`` seconds after its request was sent. On return they survive the process.

        Returns the id of the first.
        """
        id = self._next_id
        runs = events.runs
        if len(runs) == 1 and len(runs[0].utf8) == 1:
            # Hot where a server sends each token in a packet of its own.
            run = runs[0]
            if run.id == self.upstream_id:
                self._write(record.encode_event(id, at, run.type, run.utf8[0]))
                self._next_id = id + 1
                return id
        self._write(record.encode_events(id, at, events, self.upstream_id))
        self._next_id = id + len(events)
        self.upstream_id = runs[-1].id
        return id

    def sync_due(self) -> float | None:
        """Seconds until `sync` should be called, 0 when it should be now, None while there is nothing to sync."""
        if not self._dirty or self._fd < 0 or self._sync != "interval":
            return None
        return max(0.0, self._synced_at + SYNC_INTERVAL - time.monotonic())

    def sync(self) -> None:
        """Wait until all that was appended is on the disk, and the file's name in its folder. Does nothing with sync="never".

        May be called from another thread than the one that appends.
        """
        with self._descriptor_lock:
            self._sync_now()

    def close(self) -> None:
        """Sync, unlock and close the file. Nothing can be appended after this."""
        with self._descriptor_lock:
            self._sync_now()
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def forget(self) -> None:
        """Give up a copy that a fork has made: nothing is written and no lock is waited for, which a thread of the parent may hold."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _sync_now(self) -> None:
        if self._fd < 0 or self._sync == "never" or not self._dirty:
            return
        # Cleared first: blocks appended during the sync may not be on disk.
        self._dirty = False
        try:
            _sync_data(self._fd)
            if self._folder_dirty and self.path is not None:
                _sync_folder(os.path.dirname(self.path))
                self._folder_dirty = False
        except OSError as error:
            # Continue writing: the data is in the kernel all the same, and only a power cut could take it.
            self.trouble = f"the journal may not survive a power cut: {error.strerror} ({self.path})"
        self._synced_at = time.monotonic()

    def contents(self) -> bytes:
        """The bytes of a journal kept in memory, nothing for one in a file."""
        return b"".join(self._memory or ())

    def _create(self, folder: str) -> None:
        self.warning = _make_private(folder)
        while True:
            path = os.path.join(folder, f"{self.id}.sse")
            try:
                self._fd = os.open(path, _FLAGS, 0o600)
                break
            except FileExistsError:
                self.id = ulid.new()
        self.path = path
        self._folder_dirty = True
        self._hold_lock()

    def _hold_lock(self) -> None:
        if fcntl is not None:
            # Held until the descriptor is closed, by whatever end of the process: a journal without an end whose lock is
            # free was interrupted.
            # Not LOCK_NB: a reader asking whether we live may hold the lock for some microseconds.
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX)
            except OSError:
                pass  # a file system without locks (some network ones): readers then cannot tell a living writer

    def _write(self, block: bytes) -> None:
        if self._fd < 0:
            if self._memory is not None:
                self._memory.append(block)
            return
        size = len(block)
        try:
            written = os.write(self._fd, block)
            while written < size:
                written += os.write(self._fd, block[written:])
        except OSError as error:
            self._cut_torn_block()
            self._give_up(error, self.path or "")
            if not self._size and self.path is not None:
                os.unlink(self.path)  # nothing was asked yet, as far as it says
            return
        self._size += size
        self._dirty = True
        if self._sync == "always":
            self.sync()

    def _cut_torn_block(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # readers cut a torn block as well

    def _give_up(self, error: OSError, place: str) -> None:
        self.trouble = f"this answer is not being saved: {error.strerror or error} ({place})"
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self.on_trouble is not None:
            self.on_trouble(self.trouble)


def _lock(fd: int) -> None:
    """Lock a journal whose writer is gone. Raises BlockingIOError when another process writes it."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            # A reader that asks whether the writer lives shares the lock for some microseconds. A writer does not share it.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_UN)
        # By chance, for others may be doing the same.
        time.sleep(os.urandom(1)[0] / 100_000)


def _make_private(folder: str) -> str | None:
    """Make the folder and its parent, which is ours too, for the owner alone; those above as the system makes folders.

    Where others may write to the folder, they could replace journals: that is taken back, and said in the sentence that is returned.
    Raises OSError for a folder of another user that others may write to.
    """
    if not os.path.isdir(folder):
        parent = os.path.dirname(folder)
        os.makedirs(os.path.dirname(parent) or ".", exist_ok=True)
        for one in (parent, folder):
            try:
                os.mkdir(one, 0o700)
            except FileExistsError:
                pass
        return None
    mode = os.stat(folder).st_mode
    if not mode & 0o022 or os.name == "nt":
        return None
    try:
        os.chmod(folder, mode & 0o7700)
    except PermissionError as error:
        raise PermissionError(error.errno, "the folder belongs to another user, and others may write to it") from error
    return f"others could write to {folder} (mode {mode & 0o777:o}); it was changed so that only its owner can"


def _sync_data(fd: int) -> None:
    # fdatasync skips the file's times, which are not needed; macOS and Windows do not have it.
    getattr(os, "fdatasync", os.fsync)(fd)


def _sync_folder(folder: str) -> None:
    if os.name == "nt":
        return  # a folder cannot be opened there; NTFS journals names itself
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
