"""Reads a journal: complete blocks, in order, up to the first damaged one."""

from __future__ import annotations

import os
from zlib import crc32

from unspool.journal import record
from unspool.journal.record import Record

try:
    import fcntl

    _LOCKS = True
except ImportError:  # Windows
    _LOCKS = False

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

# Bytes of one read. Most journals are a few kilobytes, and memory of the larger size is asked of the system and given back each time,
# which costs more than all else for them; a long one is soon read in large steps.
_FIRST_CHUNK = 1 << 14
_LARGEST_CHUNK = 1 << 18
_NO_JOURNAL = "this is not a journal, or its version is not supported"


class Damage(ValueError):
    """Something in a journal is not what its writer wrote. ``offset`` is the first byte of the block concerned."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}: {reason}")
        self.path = path
        self.offset = offset
        self.reason = reason


class Reader:
    """Reads a journal, also one that is still being written.

    `read` returns the records that are complete by now and can be called again for those that follow. What was written at once and
    is torn is not returned: it is either still being written, or was never delivered to anybody. ``damage`` is set when a block is
    not what was written; reading ends there, and all that came before is good. ``ended`` says that the answer's end has been read: the last block but for runs of its tools.

    ``offset`` is where what follows begins, ``next_id`` its id, ``upstream_id`` the server's id in force before it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.damage: Damage | None = None
        self.ended = False
        self.offset = 0
        self.next_id = 0
        self.upstream_id = ""
        self._file = open(path, "rb", buffering=0)
        self._rest: list[bytes] = []
        self._tail = b""
        self._chunk = _FIRST_CHUNK
        # The blocks of which the checksum is still to come, their size and their checksum so far.
        self._group: list[Record] = []
        self._group_size = 0
        self._checksum = 0
        # What ``ended`` will be when they count.
        self._group_ended = False

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> list[Record]:
        """Return the complete records that follow those already returned."""
        return [one for batch in self.batches() for one in batch]

    def batches(self) -> Iterator[list[Record]]:
        """Like `read`, in batches of bounded size, for journals larger than memory."""
        while self.damage is None:
            chunk = self._file.read(self._chunk)
            if not chunk:
                return
            self._chunk = min(2 * self._chunk, _LARGEST_CHUNK)
            yield self._feed(chunk)

    @property
    def position(self) -> int:
        """How many bytes of the file have been read."""
        return self._file.tell()

    def torn_at(self) -> int | None:
        """The offset of what is torn at the end of the file, None when the file ends with a complete block and its checksum."""
        return self.offset if self._rest or self._tail or self._group else None

    def _feed(self, chunk: bytes) -> list[Record]:
        # Blocks end at a blank line, and no block has one inside. A block of many megabytes is collected in a list: only the
        # last byte is looked at again, since the blank line may be cut between two chunks.
        searched = self._tail + chunk
        if self.offset == 0 and not self._rest and not record.HEADER.startswith(searched[: len(record.HEADER)]):
            # Checked before looking for a blank line: another file may have none, and be of any size.
            self.damage = Damage(self.path, 0, _NO_JOURNAL)
            return []
        blocks = searched.split(b"\n\n")
        last = blocks.pop()
        if not blocks:
            self._hold(searched)
            return []
        blocks[0] = b"".join([*self._rest, blocks[0]])
        self._rest.clear()
        self._tail = b""
        records: list[Record] = []
        for block in blocks:
            try:
                is_last = self._block(block)
            except (record.Damaged, ValueError) as error:
                self.damage = Damage(self.path, self.offset, str(error))
                return records
            if is_last:
                records += self._group
                self._release()
        self._hold(last)
        return records

    def _hold(self, rest: bytes) -> None:
        if rest[:-1]:
            self._rest.append(rest[:-1])
        self._tail = rest[-1:]

    def _block(self, block: bytes) -> bool:
        """Take one block; return whether it is the last of those that were written at once. Raises Damaged and ValueError."""
        at = self.offset + self._group_size
        self._group_size += len(block) + 2
        if at == 0:
            if block + b"\n\n" != record.HEADER:
                raise record.Damaged(_NO_JOURNAL)
            return True
        checksum = record.checksum_in(block)
        if checksum is None:
            self._checksum = crc32(b"\n\n", crc32(block, self._checksum))
        elif b"%08x" % crc32(block[:-13], self._checksum) != checksum:
            raise record.Damaged("a checksum that does not match")
        one = record.decode(block, at)
        if self._group_ended:
            if not (one.is_own(record.ATTEMPT) or one.is_own(record.TOOL)):
                raise record.Damaged("a block after the end")
            self._group_ended = one.type == record.TOOL
        else:
            self._group_ended = one.is_own(record.END)
        if one.id != self.next_id + len(self._group):
            raise record.Damaged(f"block {one.id} where block {self.next_id + len(self._group)} should be")
        self._group.append(one)
        return checksum is not None

    def _release(self) -> None:
        """Count the blocks written at once as read."""
        group, self._group = self._group, []
        self.offset += self._group_size
        self.next_id += len(group)
        self._group_size = self._checksum = 0
        self.ended = self._group_ended
        for one in group:
            if one.upstream_id is not None:
                self.upstream_id = one.upstream_id


def is_alive(path: str) -> bool:
    """Whether the journal's writer still lives: it holds the lock. False where locks do not exist."""
    if not _LOCKS:
        return False
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
