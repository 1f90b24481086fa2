"""Server-Sent Events: bytes to events and back, exactly as the WHATWG HTML standard says, with no I/O.

    decoder = Decoder()
    for event in decoder.feed(chunk):
        print(event.type, event.data)

Paragraphs cited are those of the HTML standard, section 9.2 "Server-sent events": 9.2.5 for the grammar ("Parsing an event
stream") and 9.2.6 for what the fields do ("Interpreting an event stream").
"""

from __future__ import annotations

from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A reconnection time beyond this many milliseconds (31,000 years) is kept as this many: int() refuses to read numbers of over
# 4,300 digits, and a server must not be able to make the decoder raise.
_LONGEST_RETRY = 10**15
# Bytes of a begun line above which it is not worth copying it to the rest of its block.
_LONG = 1 << 16


class Event(Value):
    """One dispatched event.

    ``type`` is ``"message"`` when the stream gave none. ``data`` is the data lines joined by ``\\n``. ``id`` is the last event
    ID in force when the event was dispatched, whichever block set it. ``retry`` is the reconnection time in milliseconds that
    this event's own block set, or None. ``utf8`` is the data as UTF-8, which is what it is cheapest to read.
    """

    __match_args__ = ("type", "data", "id", "retry")
    # The data is kept as it came: what is written to a journal or read by a JSON parser is bytes, and most events are never
    # looked at as text.
    __slots__ = ("type", "utf8", "id", "retry")

    def __init__(self, type: str, data: str, id: str = "", retry: int | None = None) -> None:
        self.type = type
        self.utf8 = data.encode("utf-8", "replace")
        self.id = id
        self.retry = retry

    @property
    def data(self) -> str:
        """The data lines joined by ``\\n``."""
        return self.utf8.decode()


class EventBatch:
    """Consecutive events that differ only in their data, as nearly all events of a stream do.

    ``utf8`` is the data of each, as UTF-8. Work that is cheap for a batch need not be done for each event.
    """

    __slots__ = ("type", "utf8", "id", "retry", "_together")

    def __init__(
        self, type: str, utf8: list[bytes], id: str = "", retry: int | None = None, *, together: bytes | None = None
    ) -> None:
        self.type = type
        self.utf8 = utf8
        self.id = id
        self.retry = retry
        self._together = together

    @property
    def together(self) -> bytes:
        """The data of all, joined."""
        if self._together is None:
            self._together = b"".join(self.utf8)
        return self._together

    def events(self, out: list[Event]) -> None:
        """Append the batch's events to a list."""
        # Not Event(…), whose __init__ costs as much as finding the event.
        new = object.__new__
        type, id, retry = self.type, self.id, self.retry
        for data in self.utf8:
            event = new(Event)
            event.type = type
            event.utf8 = data
            event.id = id
            event.retry = retry
            out.append(event)


class Events:
    """Events that arrived together, in order, in batches: iterating creates each `Event` when needed."""

    __slots__ = ("runs",)

    def __init__(self, runs: Iterable[EventBatch] = ()) -> None:
        self.runs = list(runs)

    @classmethod
    def of(cls, events: Iterable[Event]) -> Events:
        """The same events in batches."""
        alike: list[tuple[Event, list[bytes]]] = []
        for event in events:
            first = alike[-1][0] if alike else None
            if first and (event.type, event.id, event.retry) == (first.type, first.id, first.retry):
                alike[-1][1].append(event.utf8)
            else:
                alike.append((event, [event.utf8]))
        return cls(EventBatch(first.type, utf8, first.id, first.retry) for first, utf8 in alike)

    def append(self, event: Event) -> None:
        """Add one event."""
        self.runs.append(EventBatch(event.type, [event.utf8], event.id, event.retry))

    def clear(self) -> None:
        """Drop them all."""
        self.runs.clear()

    def __len__(self) -> int:
        runs = self.runs
        return len(runs[0].utf8) if len(runs) == 1 else sum(len(run.utf8) for run in runs)

    def __bool__(self) -> bool:
        return bool(self.runs)

    def __iter__(self) -> Iterator[Event]:
        events: list[Event] = []
        for run in self.runs:
            run.events(events)
        return iter(events)


class EventTooLarge(ValueError):
    """An event grew past the decoder's ``max_event_size``."""


# Lines with unknown fields that are held, and bytes of each: a server that talks nonsense must not cost memory.
_MOST_IGNORED = 100
_LONGEST_IGNORED = 4096


class Decoder:
    """Decodes an event stream that arrives in pieces of any size.

    How the bytes are cut into pieces never changes the events. No byte sequence raises: what is not UTF-8 becomes U+FFFD.
    Time and memory are linear in the bytes fed, also for one event of many megabytes.

    ``last_event_id`` is the ID to send as ``Last-Event-ID`` when reconnecting; ``retry`` the reconnection time in
    milliseconds, None until the stream sets one. ``comments`` counts the comment lines seen, which servers send as signs of
    life. ``ignored`` holds the first lines with fields that the format does not have, which it ignores, for whoever wants to know.

    ``max_event_size`` (bytes; None for no limit, the default, since base64 images come as one event of megabytes) bounds what
    is buffered for one event; past it ``feed`` raises EventTooLarge, and the decoder is of no more use.
    """

    __slots__ = (
        "last_event_id",
        "retry",
        "comments",
        "ignored",
        "_max",
        "_bom",
        "_skip_lf",
        "_in_block",
        "_is_clear",
        "_partial",
        "_data",
        "_type",
        "_id",
        "_event_retry",
    )

    def __init__(self, *, max_event_size: int | None = None) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self.comments = 0
        self.ignored: list[bytes] = []
        self._max = max_event_size
        # The first bytes while they may still turn out to be (part of) a byte order mark; None once that is decided.
        self._bom: bytes | None = b""
        # Set by a chunk that ended in CR: an LF at the head of the next one belongs to that same line end (9.2.5, end-of-line).
        self._skip_lf = False
        # Whether the bytes so far end within a block, whose rest is then taken line by line.
        self._in_block = False
        # Whether the next byte begins a block, and nothing of what came before it matters.
        self._is_clear = False
        # The line being received. A list joined once, because bytes += bytes over a line of n chunks copies O(n²).
        self._partial: list[bytes] = []
        self._data: list[bytes] = []
        self._type = b""
        # The ID buffer: becomes last_event_id at the next blank line, so that an unfinished block leaves no trace (9.2.6).
        self._id: str | None = None
        self._event_retry: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream and return the events they complete, in order.

        Raises EventTooLarge if ``max_event_size`` is set and passed, and nothing else.
        """
        # Hot where a network read brings one event, and that is all there is to most of them.
        if self._is_clear and chunk[:6] == b"data: ":
            data = chunk[6:-2]
            if 0x0A not in data and 0x0D not in data and chunk[-2:] == b"\n\n":
                event = object.__new__(Event)
                event.type = "message"
                event.utf8 = data if data.isascii() else data.decode("utf-8", "replace").encode()
                event.id = self.last_event_id
                event.retry = None
                return [event]
        events: list[Event] = []
        for run in self._runs(chunk):
            run.events(events)
        return events

    def take(self, chunk: bytes) -> Events:
        """Like `feed`, for those who handle many events at once: nothing is made for each of them before it is looked at."""
        events = object.__new__(Events)
        if self._is_clear and chunk[:6] == b"data: ":
            data = chunk[6:-2]
            if 0x0A not in data and 0x0D not in data and chunk[-2:] == b"\n\n" and data.isascii():
                events.runs = [EventBatch("message", [data], self.last_event_id)]
                return events
        events.runs = self._runs(chunk)
        return events

    def _runs(self, chunk: bytes) -> list[EventBatch]:
        if self._bom is not None:
            chunk = self._strip_bom(chunk)
        if self._skip_lf and chunk:
            self._skip_lf = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        # The number and not b"\r", for which `in` first makes and drops a TypeError: a sixth of the cost of a chunk of one event.
        if 0x0D in chunk:
            # A CR that ends the chunk is acted on at once, not held until the next chunk shows whether an LF follows: a stream
            # framed by bare CRs would otherwise run one event late.
            self._skip_lf = chunk[-1] == 0x0D
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

        runs: list[EventBatch] = []
        # A blank line leaves nothing pending: the blocks between the first one here and the last stand for themselves.
        end = chunk.rfind(b"\n\n") + 2
        if end > 1:
            start = 0
            begun = b""
            if self._in_block:
                begun = self._begun_line()
                if not begun:
                    start = chunk.find(b"\n\n") + 2
                    self._lines(chunk[:start], runs)
                elif len(begun) < 6:
                    chunk, end, begun = begun + chunk, end + len(begun), b""
            # Each copy of a chunk costs as much as splitting a tenth of it.
            if start < end:
                if (begun[:6] or chunk[start : start + 6]) != b"data: ":
                    self._typed_blocks(begun + chunk[start : end - 2], runs)
                elif begun:
                    self._plain_blocks(begun[6:] + chunk[: end - 2], runs)
                else:
                    self._plain_blocks(chunk[start + 6 : end - 2], runs)
            chunk = chunk[end:]
            self._in_block = False
        if chunk:
            self._in_block = True
            self._lines(chunk, runs)
        self._is_clear = self._bom is None and not self._skip_lf and not self._in_block
        if self._max is not None:
            self._check_size(self._max)
        return runs

    def _plain_blocks(self, blocks: bytes, runs: list[EventBatch]) -> None:
        """Take complete blocks, given without the first ``data: `` and the last blank line.

        Hot: those that are one ``data: …`` line are found all at once, and the others by `_typed_blocks`.
        """
        utf8 = blocks.split(b"\n\ndata: ")
        together = b"".join(utf8)
        if 0x0A not in together:
            self._add(runs, "message", utf8, together, together)
            return
        first = 0
        for at, data in enumerate(utf8):
            if 0x0A in data:
                if first < at:
                    self._add(runs, "message", utf8[first:at], blocks)
                self._typed_blocks(b"data: " + data, runs)
                first = at + 1
        if first < len(utf8):
            self._add(runs, "message", utf8[first:], blocks)

    def _typed_blocks(self, blocks: bytes, runs: list[EventBatch]) -> None:
        """Take complete blocks, of which the common one is an ``event: …`` line and then a ``data: …`` line."""
        lines = blocks.split(b"\n")
        name = lines[0]
        if name[:7] == b"event: " and len(name) > 7:
            # Cut out on trust, and then shown to be all that there is between lines of that name.
            utf8 = [line[6:] for line in lines[1::3]]
            head = name + b"\ndata: "
            if head + (b"\n\n" + head).join(utf8) == blocks:
                self._add(runs, name[7:].decode("utf-8", "replace"), utf8, blocks)
                return
        last, type = b"", ""
        utf8 = []
        for block in blocks.split(b"\n\n"):
            line, _, data = block.partition(b"\ndata: ")
            if line != last:
                if utf8:
                    self._add(runs, type, utf8, blocks)
                    utf8 = []
                last, type = line, ""
                if line[:7] == b"event: " and 0x0A not in line:
                    type = line[7:].decode("utf-8", "replace")
            if type and data and 0x0A not in data:
                utf8.append(data)
            else:
                if utf8:
                    self._add(runs, type, utf8, blocks)
                    utf8 = []
                self._lines(block + b"\n\n", runs)
        if utf8:
            self._add(runs, type, utf8, blocks)

    def _add(
        self, runs: list[EventBatch], type: str, utf8: list[bytes], blocks: bytes, together: bytes | None = None
    ) -> None:
        """Add a run of events, whose data is some of what is in these blocks, and may not be UTF-8 yet."""
        if not blocks.isascii():
            utf8, together = [one.decode("utf-8", "replace").encode() for one in utf8], None
        runs.append(EventBatch(type, utf8, self.last_event_id, together=together))

    def _lines(self, chunk: bytes, runs: list[EventBatch]) -> None:
        """Take bytes that begin and end anywhere, line by line: all that the format can say."""
        lines = chunk.split(b"\n")
        partial = self._partial
        tail = lines.pop()
        if lines and partial:
            partial.append(lines[0])
            lines[0] = b"".join(partial)
            partial.clear()
        if tail:
            partial.append(tail)

        data = self._data
        for line in lines:
            if line:
                if line[:6] == b"data: ":
                    data.append(line[6:])
                else:
                    self._field(line)
            else:
                if self._id is not None:
                    self.last_event_id = self._id
                    self._id = None
                if data:
                    runs.append(self._run())
                    data.clear()
                self._type = b""
                self._event_retry = None

    def _begun_line(self) -> bytes:
        """Take back the line that has been begun, where it is all there is of its block and no long one; else nothing."""
        partial = self._partial
        if len(partial) != 1 or len(partial[0]) > _LONG or self._data or self._type or self._id is not None:
            return b""
        return partial.pop() if self._event_retry is None else b""

    def _run(self) -> EventBatch:
        """The event that the fields so far make."""
        type = self._type.decode("utf-8", "replace") or "message"
        utf8 = b"\n".join(self._data).decode("utf-8", "replace").encode()
        return EventBatch(type, [utf8], self.last_event_id, self._event_retry)

    def close(self, *, dispatch_incomplete: bool = False) -> list[Event]:
        """Say that the stream has ended, and drop the block that no blank line ended, as 9.2.6 demands.

        With ``dispatch_incomplete`` that block is returned as an event instead, if it has data: some servers close without
        the last blank line. Its data may be cut anywhere. The ``last_event_id`` is left as the last blank line left it.
        """
        events: list[Event] = []
        if dispatch_incomplete:
            if self._partial:
                line = b"".join(self._partial)
                if line[:6] == b"data: ":
                    self._data.append(line[6:])
                else:
                    self._field(line)
            if self._data:
                self._run().events(events)
        self._partial.clear()
        self._data.clear()
        self._type = b""
        self._id = None
        self._event_retry = None
        self._in_block = False
        self._is_clear = False
        return events

    def _strip_bom(self, chunk: bytes) -> bytes:
        """Take one leading U+FEFF off the stream (9.2.5: "one leading U+FEFF BOM character must be ignored")."""
        head = (self._bom or b"") + chunk
        if len(head) < 3 and b"\xef\xbb\xbf".startswith(head):
            self._bom = head
            return b""
        self._bom = None
        return head[3:] if head.startswith(b"\xef\xbb\xbf") else head

    def _field(self, line: bytes) -> None:
        """Process a line that is neither blank nor the common ``data: …`` (9.2.6, "process the field")."""
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry":
            # bytes.isdigit is ASCII only; int() alone would take "+5", "1_000" and " 10 " too.
            if value.isdigit():
                digits = value.lstrip(b"0")
                self.retry = _LONGEST_RETRY if len(digits) > 15 else int(digits or b"0")
                self._event_retry = self.retry
        elif not name:
            self.comments += 1
        elif len(self.ignored) < _MOST_IGNORED:
            self.ignored.append(line[:_LONGEST_IGNORED])

    def _check_size(self, limit: int) -> None:
        size = sum(map(len, self._partial)) + sum(map(len, self._data))
        if size > limit:
            raise EventTooLarge(f"an event of over {limit} bytes ({size} so far); raise max_event_size to accept it")


def encode(data: str, *, type: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:
    """Encode one event, ending in its blank line.

    Line ends in ``data`` may be CR, LF or CRLF; a decoder gives them back as LF, for the format has no other way to carry
    them. ``type`` None or ``"message"`` writes no event line. Raises ValueError for a ``type`` or ``id`` with a line end in
    it, or an ``id`` with U+0000, which decoders ignore.
    """
    lines = []
    if id is not None:
        if "\0" in id:
            raise ValueError("an event ID cannot contain U+0000")
        lines.append(f"id: {_one_line(id)}\n")
    if retry is not None:
        lines.append(f"retry: {retry:d}\n")
    if type is not None and type != "message":
        lines.append(f"event: {_one_line(type)}\n")
    if "\r" in data:
        data = data.replace("\r\n", "\n").replace("\r", "\n")
    lines.append("data: " + (data.replace("\n", "\ndata: ") if "\n" in data else data) + "\n\n")
    return "".join(lines).encode("utf-8", "replace")


def encode_comment(text: str = "") -> bytes:
    """Encode a comment block, the format's keep-alive. Each line of ``text`` becomes a comment line."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ("".join(f": {line}\n" if line else ":\n" for line in lines) + "\n").encode("utf-8", "replace")


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError(f"an event type or ID cannot contain a line end: {value!r}")
    return value


#: What an HTTP answer turns out to be: `STREAM`, or one `BODY` of another kind.
STREAM, BODY = "stream", "body"
_FIELD_NAMES = (b"data", b"event", b"id", b"retry")


def kind(head: bytes, content_type: str) -> str | None:
    """Say whether an answer that begins with these bytes is an event stream or one body; None while it cannot be told.

    Servers send event streams labelled as JSON, and web pages labelled as event streams. So the bytes decide, and the label only where
    they leave it open. No event stream begins with a brace, a bracket or an angle bracket: there would have to be a field of such a name.
    """
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not head:
        return None
    if head[:1] in (b"{", b"[", b"<"):
        return BODY
    if is_event_stream(content_type) or head[:1] == b":":
        return STREAM
    name = head[:6].partition(b":")[0].rstrip(b"\r\n")
    if name in _FIELD_NAMES and len(head) > len(name):
        return STREAM
    if any(field.startswith(head) for field in _FIELD_NAMES):
        return None
    return BODY


def is_event_stream(content_type: str) -> bool:
    """Whether a Content-Type's essence is ``text/event-stream``, in any case and with any parameters."""
    return content_type.partition(";")[0].strip().lower() == "text/event-stream"
