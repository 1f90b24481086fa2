"""HTTP answers as bytes, and the events of the three endpoints in them."""

from __future__ import annotations

import json
from typing import Any

APIS = ("responses", "chat", "completions")

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def head(status: int = 200, type: str = "text/event-stream", **headers: str) -> bytes:
    """The head of an answer that ends when the connection does. An empty ``type`` leaves the content type out."""
    lines = [f"HTTP/1.1 {status} Status", "Connection: close"]
    if type:
        lines.append(f"Content-Type: {type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def reply(status: int, body: bytes = b"", type: str = "application/json", **headers: str) -> bytes:
    """A complete HTTP answer."""
    return head(status, type, content_length=str(len(body)), **headers) + body


def error(
    status: int, message: str = "no", code: str | None = None, type: str | None = "error", **headers: str
) -> bytes:
    """A refused request, in OpenAI's words."""
    return reply(status, _json({"error": {"message": message, "type": type, "param": None, "code": code}}), **headers)


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(value: Any) -> bytes:
    """One event with a JSON object, named by its ``type`` as the Responses API does."""
    name = f"event: {value['type']}\n".encode() if isinstance(value, dict) and "type" in value else b""
    return name + b"data: " + _json(value) + b"\n\n"


def start(api: str, model: str = "m-1") -> bytes:
    """The first event of an answer."""
    if api == "responses":
        return event({"type": "response.created", "response": {"id": "r1", "model": model, "status": "in_progress"}})
    return event({"id": "r1", "model": model, "choices": []})


def piece(api: str, text: str, choice: int = 0) -> bytes:
    """An event that adds text."""
    if api == "responses":
        place = {"item_id": "i1", "output_index": 0, "content_index": 0}
        return event({"type": "response.output_text.delta", **place, "delta": text})
    added = {"delta": {"content": text}} if api == "chat" else {"text": text}
    return event({"id": "r1", "model": "m-1", "choices": [{"index": choice, **added, "finish_reason": None}]})


def refusal(api: str, text: str) -> bytes:
    """An event that adds to a refusal."""
    if api == "responses":
        place = {"item_id": "i1", "output_index": 0, "content_index": 0}
        return event({"type": "response.refusal.delta", **place, "delta": text})
    return event({"id": "r1", "choices": [{"index": 0, "delta": {"refusal": text}, "finish_reason": None}]})


def end(api: str, reason: str = "stop", choices: int = 1) -> bytes:
    """The last events: ``reason`` is ``stop``, ``length`` or ``content_filter``."""
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    if api == "responses":
        response = {"id": "r1", "model": "m-1", "output": [], "usage": usage, "status": "completed"}
        if reason == "stop":
            return event({"type": "response.completed", "response": response})
        why = "max_output_tokens" if reason == "length" else reason
        response.update(status="incomplete", incomplete_details={"reason": why})
        return event({"type": "response.incomplete", "response": response})
    empty: dict[str, Any] = {"delta": {}} if api == "chat" else {"text": ""}
    finished = [{"index": index, **empty, "finish_reason": reason} for index in range(choices)]
    last = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return (
        event({"id": "r1", "model": "m-1", "choices": finished})
        + event({"id": "r1", "model": "m-1", "choices": [], "usage": last})
        + DONE
    )


def stream(api: str, *texts: str, reason: str = "stop", model: str = "m-1") -> bytes:
    """A complete answer, with its head."""
    return head() + start(api, model) + b"".join(piece(api, text) for text in texts) + end(api, reason)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
