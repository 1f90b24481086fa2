"""The shapes in which a stream is sent to a viewer: upstream's own events, the shape of ``--json``, the AI SDK's UI messages.

A rendering turns entries of the log into bytes of an event stream, of which every event has an id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from unspool import api
from unspool.api.deltas import Delta, Finish, Reasoning, Refusal, Started, Text, ToolCall, ToolCallDelta
from unspool.jsontext import dumps, parse
from unspool.outcome import COMPLETE, FILTERED, LENGTH, Ending
from unspool.serve import cursor
from unspool.serve.store import End, StreamInfo
from unspool.shape import VERSION, describe, describe_ending
from unspool.sse import Events

#: A comment, without a blank line: openai's SDK for Python takes every blank line after an ``id:`` for an event, and fails on its data.
HEARTBEAT = b":\n"
#: What viewers of a stream are sent while its store is away.
AWAY = b": the gateway waits for its store\n"

#: The renderings by the names that ``?format=`` takes.
NAMES = ("upstream", "unspool", "ai-sdk")


class Rendering(ABC):
    """Turns what a log holds into what one viewer is sent. Fed every entry in order, from the log's beginning unless `is_stateless`."""

    #: Whether `events` depends on nothing that came before, so that viewers share its result and may begin anywhere.
    is_stateless = False
    headers: tuple[tuple[bytes, bytes], ...] = ()
    #: The last sequence number in the log, to be set before `end` where `needs_log_for` says so.
    last_sequence: int | None = None
    #: The first event that the client does not have: the position of its entry, and its place among the events that tell of that entry.
    sends_from: tuple[int, int] = (0, 0)

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.prefix = cursor.prefix(info.id, info.epoch)

    def begin(self) -> bytes:
        """What comes before everything else."""
        return b""

    def needs_log_for(self, end: End) -> bool:
        """Whether this end continues upstream's numbering."""
        return False

    @abstractmethod
    def events(self, position: int, events: Events, at: float) -> bytes:
        """Events of upstream's that arrived together; ``position`` is that of the first."""

    @abstractmethod
    def body(self, position: int, data: bytes, at: float) -> bytes:
        """An answer that came as one body."""

    @abstractmethod
    def end(self, position: int, end: End) -> bytes:
        """The end, which may need no bytes where upstream's own last event has been sent."""


class UpstreamRendering(Rendering):
    """Upstream's events with their data unchanged, and ids. An end that is not upstream's own is the endpoint's error event."""

    is_stateless = True

    def needs_log_for(self, end: End) -> bool:
        return not end.upstream and self.info.endpoint == "responses"

    def events(self, position: int, events: Events, at: float) -> bytes:
        prefix = self.prefix
        frames: list[bytes] = []
        for batch in events.runs:
            name = b"" if batch.type == "message" else b"event: %b\n" % batch.type.encode()
            for data in batch.utf8:
                if 0x0A in data:
                    data = data.replace(b"\n", b"\ndata: ")
                frames.append(b"id: %b%d\n%bdata: %b\n\n" % (prefix, position, name, data))
                position += 1
        return b"".join(frames)

    def chunk(self, position: int, events: Events) -> bytes:
        """What `events` returns, as an HTTP chunk."""
        runs = events.runs
        if len(runs) == 1 and len(runs[0].utf8) == 1:
            # Hot: see `unspool.journal.record.encode_event`.
            type, data = runs[0].type, runs[0].utf8[0]
            if 0x0A in data:
                data = data.replace(b"\n", b"\ndata: ")
            if type == "message":
                frame = b"id: %b%d\ndata: %b\n\n" % (self.prefix, position, data)
            else:
                frame = b"id: %b%d\nevent: %b\ndata: %b\n\n" % (self.prefix, position, type.encode(), data)
        else:
            frame = self.events(position, events, 0.0)
        return b"%x\r\n%b\r\n" % (len(frame), frame)

    def body(self, position: int, data: bytes, at: float) -> bytes:
        return b"id: %b%d\ndata: %b\n\n" % (self.prefix, position, data.replace(b"\n", b"\ndata: "))

    def end(self, position: int, end: End) -> bytes:
        if end.upstream:
            return b""
        message = _sentence(end)
        error: dict[str, object] = {"message": message, "type": "server_error", "param": None, "code": end.outcome}
        if end.successor:
            error["successor"] = end.successor
        if self.info.endpoint == "responses":
            number = 0 if self.last_sequence is None else self.last_sequence + 1
            event = {"type": "error", "sequence_number": number, "code": end.outcome, "message": message, "param": None}
            if end.successor:
                event["successor"] = end.successor
            return b"id: %b%d\nevent: error\ndata: %b\n\n" % (self.prefix, position, dumps(event).encode())
        return b"id: %b%d\ndata: %b\n\n" % (self.prefix, position, dumps({"error": error}).encode())


class _DecodedRendering(Rendering):
    """A rendering of deltas. It is fed one event at a time, so that its frames and their ids are the same however the events arrive."""

    def __init__(self, info: StreamInfo) -> None:
        super().__init__(info)
        self.decoder = api.endpoint(info.endpoint).decoder()

    def events(self, position: int, events: Events, at: float) -> bytes:
        found: list[bytes] = []
        for index, event in enumerate(events):
            found += self._numbered(position + index, self.frames(self.decoder.decode([event]), at))
        return b"".join(found)

    def body(self, position: int, data: bytes, at: float) -> bytes:
        value = parse(data)
        deltas = self.decoder.decode_body(value) if isinstance(value, dict | list) else []
        return b"".join(self._numbered(position, self.frames(deltas, at)))

    def end(self, position: int, end: End) -> bytes:
        frames = self.frames(self.decoder.close(), 0.0) + self.ending(end)
        return b"".join(self._numbered(position, frames))

    def _numbered(self, position: int, frames: list[bytes]) -> list[bytes]:
        """The frames of one entry that the client does not have, with ids."""
        last = len(frames) - 1
        found = []
        for index, frame in enumerate(frames):
            if (position, index) >= self.sends_from:
                id = cursor.entry_end(position) if index == last else cursor.entry_part(position, index + 1)
                found.append(b"id: %b%b\n%b" % (self.prefix, id, frame))
        return found

    @abstractmethod
    def frames(self, deltas: list[Delta], at: float) -> list[bytes]:
        """The events that tell of these deltas, without ids."""

    @abstractmethod
    def ending(self, end: End) -> list[bytes]:
        """The events that tell of the end, after all deltas."""


def _frame(value: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % dumps(value).encode()


class JSONRendering(_DecodedRendering):
    """A JSON object for each delta, in the shape of ``unspool --json``, and one for the end."""

    def frames(self, deltas: list[Delta], at: float) -> list[bytes]:
        return [_frame({**describe(delta), "at": round(at, 3)}) for delta in deltas]

    def ending(self, end: End) -> list[bytes]:
        ending = Ending(end.outcome, _sentence(end) if end.outcome != COMPLETE else "", end.finish_reason)
        return [_frame({"type": "end", "version": VERSION, "id": self.info.id, **describe_ending(ending)})]


class UIMessageRendering(_DecodedRendering):
    """The Vercel AI SDK's UI message stream (version 1), which ``useChat`` reads and resumes."""

    headers = ((b"x-vercel-ai-ui-message-stream", b"v1"),)

    def __init__(self, info: StreamInfo) -> None:
        super().__init__(info)
        self._open: str | None = None
        self._parts = 0
        self._tools: set[str] = set()
        self._reason = "other"

    def begin(self) -> bytes:
        return _frame({"type": "start", "messageId": f"msg_{self.info.id}"}) + _frame({"type": "start-step"})

    def frames(self, deltas: list[Delta], at: float) -> list[bytes]:
        chunks: list[bytes] = []
        for delta in deltas:
            match delta:
                case Text(text, 0) | Refusal(text, 0):
                    chunks += self._piece("text", text)
                case Reasoning(text, 0):
                    chunks += self._piece("reasoning", text)
                case ToolCallDelta(_, id, name, arguments, 0):
                    chunks += self._tool_piece(id, name, arguments)
                case ToolCall(_, id, name, arguments, 0):
                    chunks += self._tool(id, name, arguments)
                case Finish(reason, 0):
                    self._reason = _FINISH_REASONS.get(reason, "other")
                case Started():
                    pass
        return chunks

    def ending(self, end: End) -> list[bytes]:
        chunks = self._close()
        if end.outcome not in (COMPLETE, LENGTH, FILTERED):
            chunks.append(_frame({"type": "error", "errorText": _sentence(end)}))
        chunks.append(_frame({"type": "finish-step"}))
        chunks.append(_frame({"type": "finish", "finishReason": self._reason_of(end)}))
        chunks.append(b"data: [DONE]\n\n")
        return chunks

    def _reason_of(self, end: End) -> str:
        if end.outcome in (COMPLETE, LENGTH, FILTERED):
            return {LENGTH: "length", FILTERED: "content-filter"}.get(end.outcome, self._reason)
        return "error"

    def _piece(self, kind: str, text: str) -> list[bytes]:
        chunks: list[bytes] = []
        if self._open is None or not self._open.startswith(kind):
            chunks += self._close()
            self._open = f"{kind}-{self._parts}"
            self._parts += 1
            chunks.append(_frame({"type": f"{kind}-start", "id": self._open}))
        chunks.append(_frame({"type": f"{kind}-delta", "id": self._open, "delta": text}))
        return chunks

    def _tool_piece(self, id: str | None, name: str | None, arguments: str) -> list[bytes]:
        chunks = self._close()
        if id is not None:
            self._tool_id = id
            self._tools.add(id)
            chunks.append(_frame({"type": "tool-input-start", "toolCallId": id, "toolName": name or ""}))
        if arguments:
            chunks.append(
                _frame({"type": "tool-input-delta", "toolCallId": self._tool_id, "inputTextDelta": arguments})
            )
        return chunks

    def _tool(self, id: str, name: str, arguments: str) -> list[bytes]:
        chunks = self._close()
        if id not in self._tools:
            chunks.append(_frame({"type": "tool-input-start", "toolCallId": id, "toolName": name}))
        value = parse(arguments)
        if value is None:
            error = {"errorText": "the arguments are not JSON", "input": arguments}
            chunks.append(_frame({"type": "tool-input-error", "toolCallId": id, "toolName": name, **error}))
        else:
            chunks.append(_frame({"type": "tool-input-available", "toolCallId": id, "toolName": name, "input": value}))
        return chunks

    def _close(self) -> list[bytes]:
        if self._open is None:
            return []
        id, self._open = self._open, None
        return [_frame({"type": f"{id.partition('-')[0]}-end", "id": id})]


_FINISH_REASONS = {
    "stop": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}

_RENDERINGS: dict[str, type[Rendering]] = {
    "upstream": UpstreamRendering,
    "unspool": JSONRendering,
    "ai-sdk": UIMessageRendering,
}


def rendering(name: str, info: StreamInfo) -> Rendering:
    """A rendering by its name. Raises KeyError for an unknown one."""
    return _RENDERINGS[name](info)


def _sentence(end: End) -> str:
    sentence = end.message or f"the answer ended as {end.outcome}"
    return f"{sentence}; it was asked again as {end.successor}" if end.successor else sentence
