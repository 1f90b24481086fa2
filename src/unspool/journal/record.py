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
- ``crc`` is the CRC-32 of all bytes since the last such line's block, in eight hexadecimal digits. A flipped bit would otherwise
  read as a different answer. What was written at once, such as the events of one network read, has one such line, in its last
  block; without it, none of these blocks counts.

Event stream parsers ignore ``at``, ``upstream-id`` and ``crc``, as they ignore every field they do not know.
"""

from __future__ import annotations

from zlib import crc32

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.sse import Events

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
#: ``at`` in seconds, and ``more`` where the HTTP chunk continues in the next piece. The last one has ``end`` instead: how the connection ended.
WIRE = "unspool.wire"
#: Bytes of an event stream that became no event: lines the format does not know, and an event that was cut.
IGNORED = "unspool.ignored"
#: A tool call of the answer is about to be run, or has been: these blocks follow the end.
TOOL = "unspool.tool"
#: How it ended. A journal that does not end with one was interrupted, or is still being written.
END = "unspool.end"

#: Seconds that a replay leaves of the time in which a stream was being taken up again, which may have been a night.
RECONNECTING = 1.0


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


def encode_event(id: int, at: float, type: str, utf8: bytes) -> bytes:
    """Encode one event of the server, where its id has not changed. What `encode_events` makes of it, for less."""
    if 0x0A in utf8:
        utf8 = utf8.replace(b"\n", b"\ndata: ")
    if type == "message":
        block = b"id: %d\nat: %.3f\ndata: %b\n" % (id, at, utf8)
    else:
        block = b"id: %d\nat: %.3f\nevent: %b\ndata: %b\n" % (id, at, type.encode(), utf8)
    return b"%bcrc: %08x\n\n" % (block, crc32(block))


def encode_events(first_id: int, at: float, events: Events, last_upstream_id: str) -> bytes:
    """Encode the events of one network read, all of which arrived at the same time.

    ``last_upstream_id`` is the server's id in force before them: an id is written where it changes.
    """
    stamp = b"\nat: %.3f\n" % at
    groups: list[bytes] = []
    for run in events.runs:
        fields = b"" if run.type == "message" else f"event: {run.type}\n".encode()
        upstream = b""
        if run.id != last_upstream_id:
            last_upstream_id = run.id
            upstream = f"upstream-id: {run.id}\n".encode()
        utf8 = run.utf8
        if 0x0A in run.together:
            utf8 = [data.replace(b"\n", b"\ndata: ") for data in utf8]
        if len(utf8) == 1:
            groups.append(b"id: %d%b%b%bdata: %b\n" % (first_id, stamp, upstream, fields, utf8[0]))
            first_id += 1
            continue
        # Hot: once for each token, so all of a run is written in one go.
        blocks = ((b"id: %d" + stamp + fields.replace(b"%", b"%%") + b"data: %b\n\n") * len(utf8))[:-1]
        said: list[object] = [None] * (2 * len(utf8))
        said[::2] = range(first_id, first_id + len(utf8))
        said[1::2] = utf8
        group = blocks % tuple(said)
        groups.append(group.replace(stamp, stamp + upstream, 1) if upstream else group)
        first_id += len(utf8)
    # All but the last blank line, which the checksum's own line comes before.
    group = b"\n".join(groups)
    return b"%bcrc: %08x\n\n" % (group, crc32(group))


def checksum_in(block: bytes) -> bytes | None:
    """The checksum in a block, given without its final blank line, that is the last of those written at once; None in others."""
    return block[-8:] if block[-14:-8] == b"\ncrc: " else None


def decode(block: bytes, offset: int) -> Record:
    """Decode one block, given without its final blank line. Raises Damaged, but does not compare checksums."""
    id = -1
    at: float | None = None
    type = "message"
    upstream_id: str | None = None
    data: list[bytes] = []
    for line in block.split(b"\n"):
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
