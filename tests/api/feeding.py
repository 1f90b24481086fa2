"""Captures to bytes, bytes through the event decoder to deltas."""

from __future__ import annotations

import json
from typing import Any

from unspool import sse
from unspool.api import decoder, deltas, endpoint

DONE = b"data: [DONE]\n\n"


class Decoded:
    """What came out of a stream that was decoded to its end."""

    def __init__(self, api: str, stream: bytes, *, choices: int = 1, size: int = 0) -> None:
        self.decoder: decoder.Decoder = endpoint(api).decoder(choices)
        self.deltas: list[deltas.Delta] = []
        events = sse.Decoder()
        for start in range(0, len(stream), size or len(stream) or 1):
            fed = events.take(stream[start : start + (size or len(stream))])
            self.deltas += deltas.apart(self.decoder.decode(fed))
        self.deltas += self.decoder.close()

    def of(self, kind: type) -> list[Any]:
        return [delta for delta in self.deltas if type(delta) is kind]

    def text(self, choice: int = 0) -> str:
        return "".join(delta.text for delta in self.of(deltas.Text) if delta.choice == choice)

    def reasoning(self, choice: int = 0) -> str:
        return "".join(delta.text for delta in self.of(deltas.Reasoning) if delta.choice == choice)

    def refusal(self) -> str:
        return "".join(delta.text for delta in self.of(deltas.Refusal))

    @property
    def message(self) -> str:
        assert self.decoder.failure is not None
        return self.decoder.failure.message


def data(*values: Any) -> bytes:
    """Frame values as Chat Completions and Completions do: data lines only. A str is taken as it is."""
    return b"".join(
        b"data: " + (value if isinstance(value, str) else json.dumps(value)).encode() + b"\n\n" for value in values
    )


def typed(*values: dict[str, Any]) -> bytes:
    """Frame values as Responses does: each event named after its type, and numbered."""
    return b"".join(
        f"event: {value['type']}\n".encode() + data(value | {"sequence_number": number})
        for number, value in enumerate(values)
    )


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a chat chunk with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-B1",
        "object": "chat.completion.chunk",
        "created": 1731456250,
        "model": "gpt-4o-2024-08-06",
        "system_fingerprint": "fp_b86ebc5bbb",
        "choices": [choice],
        **more,
    }


def legacy(text: str | None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Return a chunk of the legacy endpoint with one choice."""
    return {
        "id": "cmpl-C7",
        "object": "text_completion",
        "created": 1690759702,
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"text": text, "index": index, "logprobs": None, "finish_reason": finish}],
        **more,
    }


def fragment(
    index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = ""
) -> dict[str, Any]:
    """Return a chat delta with one fragment of a tool call."""
    function = {"arguments": arguments} | ({"name": name} if name else {})
    call = {"type": "function", "function": function} | ({"id": id} if id else {})
    return {"tool_calls": [call | ({} if index is None else {"index": index})]}


def response(status: str = "in_progress", **more: Any) -> dict[str, Any]:
    """Return a snapshot of a Responses response."""
    return {"id": "resp_1", "object": "response", "model": "gpt-5-2025-08-07", "status": status, "output": [], **more}


def created() -> dict[str, Any]:
    return {"type": "response.created", "response": response()}


def piece(text: Any, kind: str = "output_text", **more: Any) -> dict[str, Any]:
    """Return a Responses event with a piece of text."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return {"type": f"response.{kind}.delta", **place, "delta": text, **more}


def whole(text: Any, kind: str = "output_text", field: str = "text", **more: Any) -> dict[str, Any]:
    """Return the Responses event that repeats a whole part."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return {"type": f"response.{kind}.done", **place, field: text, **more}


def message(*texts: str) -> dict[str, Any]:
    """Return a message item of a Responses output."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": parts}


def ended(status: str = "completed", **more: Any) -> dict[str, Any]:
    """Return a terminal Responses event."""
    return {"type": f"response.{status}", "response": response(status, **more)}
