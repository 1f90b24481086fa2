"""The journal's format: what one block of the file says.

A journal is itself an event stream, and these are its blocks::

    : unspool journal 1

    id: 0
    event: unspool.request
    data: {"api":"chat","model":"…","body":{…},"time":"…"}
    crc: 5f0c1a9e

    id: 1
    at: 0.412
    data: {"id":"chatcmpl-…","choices":[{"delta":{"content":"Py"}}]}
    crc: 90e2b13d

- ``id`` counts the blocks from 0, without a hole.
- ``at`` marks an event of the server: the seconds since its request was sent. A block without ``at`` is the journal's own; its
  type is one of this module's. A server that names an event ``unspool.end`` therefore ends nothing.
- ``upstream-id`` is the server's own ``id:``, where it has one; ``event`` and ``data`` are its own to the letter.
- ``crc`` is the CRC-32 of the bytes of the block before that line, in eight hexadecimal digits. A flipped bit would otherwise
  read as a different answer.

Event stream parsers ignore ``at``, ``upstream-id`` and ``crc``, as they ignore every field they do not know.
"""

from __future__ import annotations

from zlib import crc32

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.sse import Event

HEADER = b": unspool journal 1\n\n"

#: What was asked: the first block.
REQUEST = "unspool.request"
#: Another request is sent: a retry, a redirect, or a resume, which may also follow an end and take the stream up again.
ATTEMPT = "unspool.attempt"
#: The head of the server's answer: status and the headers worth keeping.
RESPONSE = "unspool.response"
#: An answer that came as one body instead of a stream.
BODY = "unspool.body"
#: A piece of the answer's bytes as it came over the wire, in a tape that was recorded: ``text``, or ``base64`` where it is no UTF-8,
#: ``at`` in seconds, and ``more`` where the HTTP chunk goes on in the next piece. The last one has ``end`` instead: how the connection ended.
WIRE = "unspool.wire"
#: How it ended. A journal that does not end with one was interrupted, or is still being written.
END = "unspool.end"


class Record(Value):
    """One block of a journal. ``offset`` is its first byte in the file, ``at`` None for the journal's own blocks.

    ``upstream_id`` is the server's id where this block changes it, which may be to "", None where it does not.
    """

    __slots__ = ("id", "at", "type", "data", "upstream_id", "offset")

    def __init__(
        self, id: int, type: str, data: str, at: float | None = None, upstream_id: str | None = None, offset: int = 0
    ) -> None:
        self.id = id
        self.at = at
        self.type = type
        self.data = data
        self.upstream_id = upstream_id
        self.offset = offset

    def is_own(self, type: str) -> bool:
        """Whether this is the journal's own block of that type."""
        return self.at is None and self.type == type


class Damaged(ValueError):
    """A block is not what the writer wrote. The message says why."""


def encode_own(id: int, type: str, data: str) -> bytes:
    """Encode a block of the journal's own. ``data`` is one line of JSON."""
    block = f"id: {id}\nevent: {type}\ndata: {_lines(data)}\n".encode("utf-8", "replace")
    return b"%bcrc: %08x\n\n" % (block, crc32(block))


def encode_events(first_id: int, at: float, events: Sequence[Event], last_upstream_id: str) -> bytes:
    """Encode the events of one network read, all of which arrived at the same time.

    ``last_upstream_id`` is the server's id in force before them: an id is written where it changes.
    """
    # Hot: once for each token. The common event, of the type of the one before, with data of one line and no new id, takes the
    # first branch.
    blocks = []
    id = first_id
    stamp = b"\nat: %.3f\n" % at
    type, fields = "message", stamp + b"data: "
    for event in events:
        data = event.utf8
        if event.type != type:
            type = event.type
            fields = stamp + (b"data: " if type == "message" else f"event: {type}\ndata: ".encode())
        if event.id == last_upstream_id and 0x0A not in data:
            block = b"id: %d%b%b\n" % (id, fields, data)
        else:
            upstream = b"" if event.id == last_upstream_id else f"\nupstream-id: {event.id}".encode()
            last_upstream_id = event.id
            # Where an id changes it stands between the time and the type.
            named = fields.replace(stamp, stamp[:-1] + upstream + b"\n", 1)
            block = b"id: %d%b%b\n" % (id, named, data.replace(b"\n", b"\ndata: "))
        blocks.append(b"%bcrc: %08x\n\n" % (block, crc32(block)))
        id += 1
    return b"".join(blocks)


def decode(block: bytes, offset: int) -> Record:
    """Decode one block, given without its final blank line. Raises Damaged."""
    body, mark, checksum = block.rpartition(b"\ncrc: ")
    if not mark:
        raise Damaged("a block without a checksum")
    body += b"\n"
    if b"%08x" % crc32(body) != checksum:
        raise Damaged("a block whose checksum does not match")
    id = -1
    at: float | None = None
    type = "message"
    upstream_id: str | None = None
    data: list[bytes] = []
    for line in body[:-1].split(b"\n"):
        name, colon, value = line.partition(b": ")
        if not colon:
            raise Damaged(f"a line that is no field: {line[:40]!r}")
        if name == b"data":
            data.append(value)
        elif name == b"id":
            id = int(value)
        elif name == b"at":
            at = float(value)
        elif name == b"event":
            type = value.decode()
        elif name == b"upstream-id":
            upstream_id = value.decode()
        # Other fields may come with later versions of the format; the checksum vouches for them.
    return Record(id, type, b"\n".join(data).decode(), at, upstream_id, offset)


def _lines(data: str) -> str:
    return data.replace("\n", "\ndata: ") if "\n" in data else data
