"""The load: a server that streams prepared answers on the three endpoints, one event in each HTTP chunk.

The model's name says what is wanted, so that every client can ask for it in its own way:

- ``n=1000``: that many events with text
- ``n=1000,unlike``: the same (Chat Completions), each with an id of its own, so that the events have nothing in common
- ``n=1000,rate=10``: the first again, that many a second; without a rate, as fast as the client reads
- ``stamp``: one event whose text is ``@T@``, T being the time of its writing in nanoseconds of the monotonic clock. It is
  written a moment after the head, when every client has had the time to be waiting for it

``python -m bench.server`` prints its port, and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import sys
import time
from functools import cache
from typing import Any

ENDPOINTS = ("chat", "completions", "responses")

_SENTENCE = "Python is a **high-level**, general-purpose language whose design stresses `readability` and calm."
_WORDS = _SENTENCE.split()
# Events written at once when there is no pace to keep. Each still has an HTTP chunk of its own.
_BATCH = 64
# Seconds between the head and the stamped event, in which every client begins to wait.
_PAUSE = 0.15

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


def text(n: int) -> str:
    """The text of an answer of ``n`` events."""
    return "".join(_word(i) for i in range(n))


def events(target: str, n: int) -> list[bytes]:
    """The bytes of each event of an answer whose text comes in ``n`` of them."""
    return [*_before(target), *(_piece(target, i, _word(i)) for i in range(n)), *_after(target, n)]


def _word(i: int) -> str:
    return _WORDS[i % len(_WORDS)] + " "


def _before(target: str) -> list[bytes]:
    if target == "chat":
        return [_chat({"role": "assistant", "content": ""})]
    if target == "completions":
        return []
    answer = _response("in_progress")
    item = {"id": _AT["item_id"], "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    return [
        _typed("response.created", 0, response=answer),
        _typed("response.in_progress", 1, response=answer),
        _typed("response.output_item.added", 2, output_index=0, item=item),
        _typed("response.content_part.added", 3, **_AT, part={"type": "output_text", "text": "", "annotations": []}),
    ]


def _piece(target: str, i: int, word: str) -> bytes:
    if target == "chat":
        return _chat({"content": word}, padding=_padding(i))
    if target == "completions":
        return _completion(word)
    return _typed("response.output_text.delta", i + 4, **_AT, delta=word, logprobs=[], obfuscation=_padding(i))


def _after(target: str, n: int) -> list[bytes]:
    usage = {"prompt_tokens": 3, "completion_tokens": n, "total_tokens": n + 3}
    done = b"data: [DONE]\n\n"
    if target == "chat":
        return [_chat({}, "stop"), _frame({**_CHAT, "choices": [], "usage": usage}), done]
    if target == "completions":
        return [_completion("", "stop"), done]
    answer = _response("completed", text(n))
    [item] = answer["output"]
    [part] = item["content"]
    return [
        _typed("response.output_text.done", n + 4, **_AT, text=part["text"], logprobs=[]),
        _typed("response.content_part.done", n + 5, **_AT, part=part),
        _typed("response.output_item.done", n + 6, output_index=0, item=item),
        _typed("response.completed", n + 7, response=answer),
    ]


# As long as OpenAI's own.
_CHAT = {
    "id": "chatcmpl-D1nNnNnNnNnNnNnNnNnNnNnNnNnNn",
    "object": "chat.completion.chunk",
    "created": 1790000000,
    "model": "load-2026-11-22",
    "service_tier": "default",
    "system_fingerprint": "fp_0123456789",
}
_AT = {"item_id": "msg_0123456789abcdef0123456789abcdef0123456789abcdef01", "output_index": 0, "content_index": 0}


def _chat(delta: dict[str, str], finish: str | None = None, padding: str = "") -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _frame({**_CHAT, "choices": [choice], "usage": None, "obfuscation": padding})


def _padding(i: int) -> str:
    """Letters and digits that differ in number and kind from event to event, as OpenAI adds them on these two endpoints."""
    return hashlib.sha256(b"%d" % i).hexdigest()[: 3 + i % 13]


def _completion(word: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "text": word, "logprobs": None, "finish_reason": finish}
    return _frame({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "load", "choices": [choice]})


def _response(status: str, answer: str = "") -> dict[str, Any]:
    part = {"type": "output_text", "text": answer, "annotations": [], "logprobs": []}
    item = {"id": _AT["item_id"], "type": "message", "status": status, "role": "assistant", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "load",
        "output": [item] if answer else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 6,
        },
    }


def _typed(type: str, number: int, **fields: Any) -> bytes:
    return f"event: {type}\n".encode() + _frame({"type": type, "sequence_number": number, **fields})


def _frame(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


@cache
def _batches(target: str, n: int, unlike: bool) -> list[bytes]:
    """The whole answer in HTTP chunks, some of them at a time, made before the first byte of it is sent."""
    if unlike or target == "responses":  # whose events are numbered, so no two are alike
        made = enumerate(events(target, n))
        id = _CHAT["id"].encode()
        chunks = [_chunk(event.replace(id, b"chatcmpl-%020d" % i) if unlike else event) for i, event in made]
        return [b"".join(chunks[i : i + _BATCH]) for i in range(0, len(chunks), _BATCH)]
    # A million events of a few words: the same bytes again and again.
    size = len(_WORDS) * (_BATCH // len(_WORDS))
    pieces = [_chunk(_piece(target, i, _word(i))) for i in range(size)]
    before = b"".join(map(_chunk, _before(target)))
    after = b"".join(map(_chunk, _after(target, n)))
    return [before, *[b"".join(pieces)] * (n // size), b"".join(pieces[: n % size]) + after]


async def _flow(writer: asyncio.StreamWriter, target: str, n: int, unlike: bool) -> None:
    for batch in _batches(target, n, unlike):
        writer.write(batch)
        await writer.drain()


async def _pace(writer: asyncio.StreamWriter, target: str, n: int, rate: float) -> None:
    clock = asyncio.get_running_loop().time
    due = clock()
    for event in _prepared(target, n):
        writer.write(event)
        await writer.drain()
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - clock()))


@cache
def _prepared(target: str, n: int) -> list[bytes]:
    return [_chunk(event) for event in events(target, n)]


async def _stamp(writer: asyncio.StreamWriter, target: str) -> None:
    before, place = b"".join(map(_chunk, _before(target))), b"T" * 20
    event = _chunk(_piece(target, 0, f"@{place.decode()}@"))
    writer.write(before)
    await asyncio.sleep(_PAUSE)
    writer.write(event.replace(place, b"%020d" % time.monotonic_ns()))
    writer.write(b"".join(map(_chunk, _after(target, 1))))


def _wishes(model: str) -> dict[str, str]:
    return dict(wish.partition("=")[::2] for wish in model.split(","))


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(_length(head))
            path = head.split(b" ", 2)[1].decode().partition("?")[0]
            target = path.rpartition("/v1/")[2].removeprefix("chat/completions") or "chat"
            wishes = _wishes(json.loads(body or b"{}").get("model", ""))
            if target not in ENDPOINTS:
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                continue
            writer.write(_HEAD)
            n = int(wishes.get("n", "1"))
            if "stamp" in wishes:
                await _stamp(writer, target)
            elif "rate" in wishes:
                await _pace(writer, target, n, float(wishes["rate"]))
            else:
                await _flow(writer, target, n, "unlike" in wishes)
            writer.write(_END)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has gone
    finally:
        writer.close()


async def _main() -> None:
    # A thousand clients connect in one moment: let them queue.
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        # Whoever is still being streamed to has gone as well.
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(_main())
