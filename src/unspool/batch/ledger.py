"""Which stream belongs to which line of a run: a file that is appended to before each request is sent.

A line of it is a key of `unspool.batch.lines`, a stream's id, and the CRC-32 of these. It says nothing of how a stream ended, which its journal
knows better: whatever is killed when, the two never disagree.
"""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from zlib import crc32

from unspool.batch.lines import KEY_LENGTH
from unspool.journal.ulid import is_ulid

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Busy(Exception):
    """The same run is under way in another process."""


class Ledger:
    """The ledger of one run, locked while it is open. ``name`` is what the run is of, such as the path of its file.

    ``damaged`` is how many of its lines are not what was written: what they recorded is not known, and would be asked again.
    Raises Busy, and OSError where the folder cannot be written: without a ledger nothing could continue where it stopped.
    """

    def __init__(self, folder: str, name: str, *, anew: bool = False) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.path = os.path.join(folder, sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16] + ".run")
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise Busy from error
        if anew:
            os.ftruncate(self._fd, 0)
        self._streams = self._read()

    def streams(self, key: str) -> list[str]:
        """The ids of the streams that were begun for a line, newest first."""
        return self._streams.get(key, [])[::-1]

    def begin(self, key: str, id: str) -> None:
        """Note that a stream is about to be asked for."""
        entry = f"{key} {id}".encode()
        line = b"%b %08x\n" % (entry, crc32(entry))
        if os.write(self._fd, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def close(self) -> None:
        """Close and unlock it."""
        os.close(self._fd)

    def _read(self) -> dict[str, list[str]]:
        size = os.fstat(self._fd).st_size
        content = os.pread(self._fd, size, 0) if size else b""
        if content and not content.endswith(b"\n"):
            # A line that was torn belongs to a request that was never sent.
            content = content[: content.rfind(b"\n") + 1]
            os.ftruncate(self._fd, len(content))
        streams: dict[str, list[str]] = {}
        self.damaged = 0
        for line in content.split(b"\n")[:-1]:
            entry, _, checksum = line.rpartition(b" ")
            if checksum != b"%08x" % crc32(entry):
                entry = line  # of a version without checksums
            key, _, id = entry.decode("ascii", "replace").partition(" ")
            if len(key) == KEY_LENGTH and not key.strip("0123456789abcdef") and is_ulid(id):
                streams.setdefault(key, []).append(id)
            else:
                self.damaged += 1
        return streams
