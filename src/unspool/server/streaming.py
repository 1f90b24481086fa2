"""Answers on their way to the client: at a model's pace, and no further once the client has hung up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from unspool import sse
from unspool.value import Value

# OpenAI's streams are compact and carry text as UTF-8. One encoder, for making it takes as long as an event's encoding.
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Frame(Value):
    """One event of a stream. ``tokens`` is how many tokens the model computes before it can send this event."""

    __slots__ = ("data", "type", "tokens")

    def __init__(self, data: str, *, type: str | None = None, tokens: int = 0) -> None:
        self.data = data
        self.type = type
        self.tokens = tokens

    @classmethod
    def of(cls, body: dict[str, Any], *, type: str | None = None, tokens: int = 0) -> Frame:
        """The event that carries ``body`` as JSON."""
        return cls(_COMPACT.encode(body), type=type, tokens=tokens)

    def encode(self) -> bytes:
        return sse.encode(self.data, type=self.type)


DONE = Frame("[DONE]")
"""The end mark of the completions and chat endpoints. The responses endpoint has none."""


class Pace(Value):
    """How fast the model computes: ``ttft`` seconds until the first token, ``itl`` seconds between two."""

    __slots__ = ("ttft", "itl")

    def __init__(self, ttft: float = 0.0, itl: float = 0.0) -> None:
        self.ttft = ttft
        self.itl = itl

    def due(self, tokens: int) -> float:
        """Seconds after the request at which this many tokens have been computed."""
        return self.ttft + self.itl * (tokens - 1) if tokens > 0 else 0.0


class EventStream(Response):
    """Sends frames, each in an HTTP chunk of its own as OpenAI does, when the pace says that they are due.

    A client that reads slowly does not slow the model: it gets what was due meanwhile in one go.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: Iterable[Frame], pace: Pace) -> None:
        self.status_code = 200
        self.background = None
        self.frames = frames
        self.pace = pace
        self.init_headers({"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._write(send))

    async def _write(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        loop = asyncio.get_running_loop()
        begun = loop.time()
        tokens = 0
        for frame in self.frames:
            tokens += frame.tokens
            # Sleeps even when nothing is left to wait for: other clients, and the news that this one hung up, get their turn.
            await asyncio.sleep(max(begun + self.pace.due(tokens) - loop.time(), 0))
            await send({"type": "http.response.body", "body": frame.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class WholeAnswer(Response):
    """Sends one JSON object when the model has computed all ``tokens`` of it."""

    media_type = "application/json"

    def __init__(self, body: dict[str, Any], pace: Pace, tokens: int) -> None:
        # Indented as OpenAI does. "replace", because a prompt may hold half a surrogate pair, which UTF-8 cannot carry.
        super().__init__(json.dumps(body, indent=2, ensure_ascii=False).encode("utf-8", "replace"))
        self.delay = pace.due(max(tokens, 1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._write(scope, receive, send))

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(self.delay)
        await super().__call__(scope, receive, send)


async def while_connected(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done or the client hangs up. The request's body must have been read."""
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(_hung_up(receive))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        hanging_up.cancel()
        await asyncio.wait({working, hanging_up})
    if not working.cancelled():
        working.result()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
