"""Answers on their way to the client: at a model's pace, and no further once the client has hung up, or has been cut off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from unspool import sse
from unspool.value import Value

# OpenAI's streams are compact and carry text as UTF-8. One encoder, for making it takes as long as an event's encoding.
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


# Where the server that runs the application leaves a function that closes the connection: in the ``state`` of the request's scope.
HANG_UP = "unspool.hang_up"


class Frame(Value):
    """One event of a stream. ``tokens`` is how many tokens the model computes before it can send this event."""

    __slots__ = ("data", "type", "tokens", "id")

    def __init__(self, data: str, *, type: str | None = None, tokens: int = 0, id: str | None = None) -> None:
        self.data = data
        self.type = type
        self.tokens = tokens
        self.id = id

    @classmethod
    def of(cls, body: dict[str, Any], *, type: str | None = None, tokens: int = 0, id: str | None = None) -> Frame:
        """The event that carries ``body`` as JSON."""
        return cls(_COMPACT.encode(body), type=type, tokens=tokens, id=id)

    def encode(self, *, with_id: bool = False) -> bytes:
        return sse.encode(self.data, type=self.type, id=self.id if with_id else None)


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


class Wire(Value):
    """What becomes of streams on their way: ``event_ids`` sends each event's id, ``drop_after`` cuts the connection after so many."""

    __slots__ = ("event_ids", "drop_after")

    def __init__(self, *, event_ids: bool = False, drop_after: int | None = None) -> None:
        self.event_ids = event_ids
        self.drop_after = drop_after


async def paced(frames: Iterable[Frame], pace: Pace) -> AsyncGenerator[Frame]:
    """The frames, each when the pace says that it is due. The time runs from the first one asked for.

    Whoever takes them slowly does not slow the model: what was due meanwhile comes in one go.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    tokens = 0
    for frame in frames:
        tokens += frame.tokens
        # Sleeps even when nothing is left to wait for: other clients, and the news that this one hung up, get their turn.
        await asyncio.sleep(max(begun + pace.due(tokens) - loop.time(), 0))
        yield frame


class EventStream(Response):
    """Sends frames as they come, each in an HTTP chunk of its own as OpenAI does.

    ``on_end`` is called when the stream is over, whether it was sent to its end or the client hung up.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[Frame], wire: Wire, *, on_end: Callable[[], None] | None = None) -> None:
        self.status_code = 200
        self.background = None
        self.frames = frames
        self.wire = wire
        self.on_end = on_end
        self.init_headers({"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._write(scope, send))
        finally:
            if self.on_end is not None:
                self.on_end()

    async def _write(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        sent = 0
        async with aclosing(self.frames) as frames:
            async for frame in frames:
                body = frame.encode(with_id=self.wire.event_ids)
                await send({"type": "http.response.body", "body": body, "more_body": True})
                sent += 1
                if sent == self.wire.drop_after:
                    return await _cut(scope)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class JSONAnswer(JSONResponse):
    """Sends one JSON object at once, indented as OpenAI does."""

    def render(self, content: Any) -> bytes:
        # "replace", because a prompt may hold half a surrogate pair, which UTF-8 cannot carry.
        return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "replace")


class WholeAnswer(JSONAnswer):
    """Sends one JSON object when the model has computed all ``tokens`` of it; only then is ``answer`` called for it.

    ``on_end`` is called when it has been sent, or the client has hung up.
    """

    def __init__(
        self,
        answer: Callable[[], dict[str, Any]],
        pace: Pace,
        tokens: int,
        *,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(None)
        self.answer = answer
        self.delay = pace.due(max(tokens, 1))
        self.on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._write(scope, receive, send))
        finally:
            if self.on_end is not None:
                self.on_end()

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(self.delay)
        self.body = self.render(self.answer())
        self.headers["content-length"] = str(len(self.body))
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


async def _cut(scope: Scope) -> None:
    """Close the connection where it is, so that the client gets no last chunk. What has been sent still arrives.

    A server that has not left a way to do so notices itself that the application has returned too early, and closes.
    """
    hang_up: Callable[[], None] | None = scope.get("state", {}).get(HANG_UP)
    if hang_up is not None:
        hang_up()
        # To return now would be logged as the application's fault. ``while_connected`` ends this once the connection is gone.
        await asyncio.get_running_loop().create_future()
