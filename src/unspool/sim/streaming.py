"""Answers on their way to the client: at a model's pace, and no further once the client has hung up, or has been cut off."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from typing import Any
from weakref import WeakKeyDictionary

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from unspool.sim.clock import Clock
from unspool.sim.connection import CONNECTION, ClientConnection
from unspool.sim.faults.stream_plan import CLEAN, Close, FaultPlan, FaultyStream, Pause, Step
from unspool.sim.frames import Frame, JSONObject
from unspool.sim.pace import Timing

#: Where the `FaultPlan` for the answer to a request stands in its scope.
PLAN = "unspool.plan"
#: The `ReceivedRequest`.
RECEIVED = "unspool.received"
#: What the pauses of a plan run by, where it is not the machine's clock.
CLOCK = "unspool.clock"


# How many frames that are due already come in one go, before other clients, and the news that this one hung up, get their turn.
_AT_ONCE = 16


class PacedFrames(AsyncGenerator[Frame]):
    """Frames, each given out when it is due. The time runs from the first one asked for.

    A slow reader does not slow the model: what became due in the meantime comes at once. Iterate over them, or `pump` them.
    """

    def __init__(self, frames: Iterable[Frame], timing: Timing) -> None:
        self._frames = frames
        self._timing = timing
        self._given = self._give()

    async def _give(self) -> AsyncGenerator[Frame]:
        timing = self._timing
        now = timing.clock.now
        begun = now()
        tokens = overdue = 0
        for frame in self._frames:
            tokens += frame.tokens
            left = begun + timing.due(tokens) - now()
            overdue = overdue + 1 if left <= 0 and not timing.is_shared else 0
            if overdue % _AT_ONCE == 0:
                await timing.wait(left, frame.tokens)
            yield frame

    async def asend(self, value: None) -> Frame:
        return await self._given.asend(value)

    async def athrow(self, type: Any, value: Any = None, traceback: Any = None) -> Frame:
        return await self._given.athrow(type, value, traceback)

    async def aclose(self) -> None:
        await self._given.aclose()

    @property
    def can_be_pumped(self) -> bool:
        """Whether only the machine's clock decides when a frame is due."""
        return type(self._timing.clock) is Clock and not self._timing.is_shared

    async def pump(self, connection: ClientConnection, *, with_ids: bool) -> None:
        """Send them as HTTP chunks, from timers of the event loop: no task is woken for a frame, which halves what one costs."""
        loop = asyncio.get_running_loop()
        frames = iter(self._frames)
        due, begun = self._timing.due, loop.time()
        tokens = 0
        frame = next(frames, None)

        def turn() -> None:
            """Send the frames that are due, and schedule the next call; sets ``stopped`` if there are none or the client reads too slowly."""
            nonlocal frame, tokens
            if stopped.done():
                return  # the client has gone
            data: list[bytes] = []
            moment = loop.time()
            try:
                while frame is not None and len(data) < _AT_ONCE and begun + due(tokens + frame.tokens) <= moment:
                    tokens += frame.tokens
                    data.append(chunk(frame.encode(with_id=with_ids)))
                    frame = next(frames, None)
            except Exception as error:
                stopped.set_exception(error)
                return
            goes_on = connection.write(b"".join(data)) if data else True
            if frame is None or not goes_on:
                stopped.set_result(None)
            elif len(data) == _AT_ONCE:
                loop.call_soon(turn)
            else:
                call_at_tick(begun + due(tokens + frame.tokens), turn)

        while frame is not None:
            stopped: asyncio.Future[None] = loop.create_future()
            turn()
            await stopped
            await connection.drained()


# A server of hundreds of streams wakes once for all that are due in the same two milliseconds: each wake of the server, and of its
# client, costs as much as sending an event.
_TICK = 0.002
_ticks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, list[Callable[[], None]]]] = WeakKeyDictionary()


def call_at_tick(when: float, call: Callable[[], None]) -> None:
    """Call this at the first tick of the event loop that is not before ``when``, a time of the loop's."""
    loop = asyncio.get_running_loop()
    ticks = _ticks.setdefault(loop, {})
    tick = math.ceil(when / _TICK)
    if tick in ticks:
        ticks[tick].append(call)
        return
    ticks[tick] = [call]

    def ring() -> None:
        for each in ticks.pop(tick):
            each()

    loop.call_at(tick * _TICK, ring)


def chunk(body: bytes) -> bytes:
    """Bytes as a chunk of HTTP/1.1 (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(body), body)


class EventStream(Response):
    """Sends frames as they come, each in an HTTP chunk of its own as OpenAI does.

    ``on_end`` is called when the stream is over, whether it was sent to its end, cut, or the client hung up; maybe more than once.
    """

    media_type = "text/event-stream"

    def __init__(
        self, frames: AsyncGenerator[Frame], *, event_ids: bool = False, on_end: Callable[[], None] | None = None
    ) -> None:
        self.status_code = 200
        self.background = None
        self.frames = frames
        self.event_ids = event_ids
        self.on_end = on_end
        self.init_headers({"cache-control": "no-cache"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._write(scope, send))
        finally:
            if self.on_end is not None:
                self.on_end()

    async def _write(self, scope: Scope, send: Send) -> None:
        plan: FaultPlan | None = scope.get(PLAN)
        if plan is not None and plan.alters_stream:
            return await self._write_faulty(scope, send, plan)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        connection: ClientConnection | None = scope.get(CONNECTION)
        if scope["http_version"] != "1.1" or scope["method"] == "HEAD":
            connection = None  # such an answer is not in chunks
        if connection is not None and isinstance(self.frames, PacedFrames) and self.frames.can_be_pumped:
            await self.frames.pump(connection, with_ids=self.event_ids)
        else:
            async with aclosing(self.frames) as frames:
                async for frame in frames:
                    body = frame.encode(with_id=self.event_ids)
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _write_faulty(self, scope: Scope, send: Send, plan: FaultPlan) -> None:
        self.headers.update(plan.headers)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        course = FaultyStream(plan, event_ids=self.event_ids)
        async with aclosing(self.frames) as frames:
            async for frame in frames:
                await self._do(course.take(frame), scope, send)
                if course.closed:
                    return
        await self._do(course.end(), scope, send)

    async def _do(self, steps: Iterable[Step], scope: Scope, send: Send) -> None:
        for step in steps:
            if isinstance(step, Close) and self.on_end is not None:
                # Before the client can know: what it asks next must find this one ended.
                self.on_end()
            await _do(step, scope, send)


async def _do(step: Step, scope: Scope, send: Send) -> None:
    """Carry out one step of a stream's course."""
    if isinstance(step, bytes):
        await send({"type": "http.response.body", "body": step, "more_body": True})
        # Send each of many small pieces separately, and let the task that notices a hang-up run.
        await asyncio.sleep(0)
    elif isinstance(step, Pause):
        clock: Clock = scope.get(CLOCK) or Clock()
        for seconds, beat in step.parts():
            await (asyncio.get_running_loop().create_future() if seconds is None else clock.sleep(seconds))
            if beat:
                await send({"type": "http.response.body", "body": beat, "more_body": True})
    elif isinstance(step, Close) and step.how == CLEAN:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    else:
        await cut(scope, reset=step.how == "reset")


class JSONAnswer(JSONResponse):
    """Sends one JSON object at once, indented as OpenAI does."""

    def render(self, content: object) -> bytes:
        # "replace", because a prompt may hold half a surrogate pair, which UTF-8 cannot carry.
        return json.dumps(content, indent=2, ensure_ascii=False).encode("utf-8", "replace")


class WholeAnswer(JSONAnswer):
    """Sends one JSON object when the model has computed all ``tokens`` of it; only then is ``answer`` called for it.

    ``on_end`` is called when it has been sent, or the client has hung up.
    """

    def __init__(
        self,
        answer: Callable[[], JSONObject],
        timing: Timing,
        tokens: int,
        *,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(None)
        self.answer = answer
        self.timing = timing
        self.tokens = max(tokens, 1)
        self.on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await while_connected(receive, self._write(scope, receive, send))
        finally:
            if self.on_end is not None:
                self.on_end()

    async def _write(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.timing.wait(self.timing.due(self.tokens), self.tokens)
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


async def cut(scope: Scope, *, reset: bool = False) -> None:
    """Close the connection where it is, so that the client gets no last chunk. What has been sent still arrives.

    With ``reset`` it gets a RST. A server that offers no way to close notices that the application has
    returned too early, and closes.
    """
    connection: ClientConnection | None = scope.get(CONNECTION)
    if connection is not None:
        if reset:
            await connection.reset()
        else:
            connection.close()
        # To return now would be logged as the application's fault. ``while_connected`` ends this once the connection is gone.
        await asyncio.get_running_loop().create_future()
