"""Which stream belongs to which line of a run: a file that is appended to before each request is sent.

A line of it is a key of `unspool.batch.lines`, a stream's id, the key of the line's text, and the CRC-32 of these. It says nothing of how a
stream ended, which its journal knows better: whatever is killed when, the two never disagree.
"""

from __future__ import annotations

import errno
import os
from zlib import crc32

from unspool.journal.ulid import is_ulid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.batch.lines import Line

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class Busy(Exception):
    """The same run is under way in another process."""


class Streams:
    """The ids of streams by the key of their line, and by the key of its text: for ``key`` the same request, for ``text_key`` any of this text.

    ``damaged`` is how many lines of ledgers are not what was written: what they recorded is not known, and would be asked again.
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._ids: dict[str, list[str]] = {}

    def of(self, key: str) -> list[str]:
        """The ids of the streams that were begun for a key, newest first."""
        return sorted(self._ids.get(key, ()), reverse=True)

    def read(self, content: bytes) -> None:
        """Add the lines of a ledger. One that is torn is passed over: it belongs to a request that was never sent."""
        for line in content.split(b"\n")[:-1]:
            entry, _, checksum = line.rpartition(b" ")
            key, _, rest = entry.decode("ascii", "replace").partition(" ")
            id, _, text_key = rest.partition(" ")
            if checksum != b"%08x" % crc32(entry) or not is_ulid(id):
                self.damaged += 1
                continue
            for one in (key, text_key):
                self._ids.setdefault(one, []).append(id)


class Ledger:
    """The ledger in one file, locked while it is open. ``streams`` are those that it had when it was opened.

    Raises Busy, and OSError where the file cannot be written: without a ledger nothing could continue where it stopped.
    """

    def __init__(self, path: str, *, fresh: bool = False) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        self.path = path
        self.streams = Streams()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise Busy from error
        if fresh:
            os.ftruncate(self._fd, 0)
        size = os.fstat(self._fd).st_size
        content = os.pread(self._fd, size, 0) if size else b""
        if content and not content.endswith(b"\n"):
            os.ftruncate(self._fd, content.rfind(b"\n") + 1)
        self.streams.read(content)

    def begin(self, line: Line, id: str) -> None:
        """Note that a stream is about to be asked for."""
        entry = f"{line.key} {id} {line.text_key}".encode()
        written = b"%b %08x\n" % (entry, crc32(entry))
        if os.write(self._fd, written) < len(written):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def close(self) -> None:
        """Close and unlock it."""
        os.close(self._fd)
