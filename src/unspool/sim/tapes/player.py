"""Sending recorded answers: the ASGI application around the simulator's own, which gets what no tape answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unspool import sse
from unspool.sim.clock import Clock
from unspool.sim.connection import CONNECTION, ClientConnection
from unspool.sim.errors import RequestError
from unspool.sim.faults.middleware import body_of, refusal_of, send_refusal
from unspool.sim.faults.stream_plan import FaultPlan
from unspool.sim.frames import Frame
from unspool.sim.proxy import Blocks
from unspool.sim.streaming import PLAN, RECEIVED, EventStream, cut, while_connected
from unspool.sim.tapes.matcher import TapeMatcher
from unspool.sim.tapes.tape import CLEAN, RESET, NoTape, Piece, RecordedResponse

# Where the simulator's API begins, as every tape's does at the base URL that it was recorded from.
_BASE = "/v1"


class Player:
    """RecordedResponses the requests that a tape matches, and passes the others on, or refuses them with 404.

    ``speed`` is how many times as fast as it came an answer is sent, by ``clock``; infinity is without waiting. ``on_miss`` is called with the reason when no tape answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        tapes: TapeMatcher,
        *,
        speed: float,
        only: bool,
        clock: Clock,
        on_miss: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._app = app
        self._tapes = tapes
        self._speed = speed
        self._only = only
        self._clock = clock
        self._on_miss = on_miss

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (self._only or len(self._tapes)):
            return await self._app(scope, receive, send)
        body = await body_of(receive)
        if body is None:
            return
        query = scope["query_string"].decode("latin-1")
        target = scope["path"].removeprefix(_BASE) + (f"?{query}" if query else "")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        tape = self._tapes.find(scope["method"], target, headers, body)
        if tape is not None:
            if (received := scope.get(RECEIVED)) is not None:
                received.answered_by = f"tape {tape.name}"
            try:
                answer = tape.answer()
            except (NoTape, OSError) as error:
                failed = RequestError(f"The tape cannot be played: {error}.", status=500, type="server_error")
                return await send_refusal(send, refusal_of(failed))
            return await self._play(answer, scope, receive, send)
        why = self._tapes.explain(scope["method"], target, headers, body)
        self._on_miss(why)
        if self._only:
            refused = RequestError(f"{why[:1].upper()}{why[1:]}.", status=404, code="no_tape")
            return await send_refusal(send, refusal_of(refused))
        unread = [body]

        async def replay() -> Message:
            return {"type": "http.request", "body": unread.pop(), "more_body": False} if unread else await receive()

        await self._app(scope, replay, send)

    async def _play(self, answer: RecordedResponse, scope: Scope, receive: Receive, send: Send) -> None:
        plan: FaultPlan | None = scope.get(PLAN)
        streams = sse.is_event_stream(answer.header("content-type")) and not answer.header("content-encoding")
        if plan is not None and plan.alters_stream and answer.status == 200 and streams:
            altered = EventStream(self._blocks(answer), event_ids=True)
            left_out = ("content-length", "transfer-encoding")
            altered.raw_headers = [
                (name.encode("latin-1"), value.encode("latin-1", "replace"))
                for name, value in answer.head
                if name.lower() not in left_out
            ]
            return await altered(scope, receive, send)
        await while_connected(receive, self._send(answer, scope, send))

    async def _send(self, answer: RecordedResponse, scope: Scope, send: Send) -> None:
        connection: ClientConnection | None = scope.get(CONNECTION)
        if connection is None or scope.get("method") == "HEAD":
            return await self._send_framed(answer, scope, send)
        wait = self._waiting()
        await wait(answer.answered_at)
        chunked = bool(answer.header("transfer-encoding"))
        if answer.status:
            connection.write(_head(answer))
            begins = True
            for number, piece in enumerate(answer.pieces):
                await wait(piece.at)
                size = _size(answer.pieces[number:]) if chunked and begins else 0
                begins = not piece.more
                start = b"%x\r\n" % size if size else b""
                end = b"\r\n" if chunked and begins else b""
                connection.write(start + piece.data + end)
                await connection.drained()
        await wait(answer.ended_at)
        if answer.status and answer.end == CLEAN and chunked:
            connection.write(b"0\r\n\r\n")
        await cut(scope, reset=answer.end == RESET)

    async def _send_framed(self, answer: RecordedResponse, scope: Scope, send: Send) -> None:
        """Leave the framing to a server that does not let its connections be written to."""
        wait = self._waiting()
        await wait(answer.answered_at)
        if answer.status:
            kept = [(name, value) for name, value in answer.head if name.lower() != "transfer-encoding"]
            raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in kept]
            await send({"type": "http.response.start", "status": answer.status, "headers": raw})
            for piece in answer.pieces:
                await wait(piece.at)
                await send({"type": "http.response.body", "body": piece.data, "more_body": True})
        await wait(answer.ended_at)
        if answer.status and answer.end == CLEAN:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await cut(scope, reset=answer.end == RESET)

    async def _blocks(self, answer: RecordedResponse) -> AsyncGenerator[Frame]:
        """The answer's events, for the faults that are to alter them."""
        wait = self._waiting()
        blocks = Blocks()
        for piece in answer.pieces:
            await wait(piece.at)
            for block in blocks.feed(piece.data):
                yield block  # type: ignore[misc]  # a course takes bytes too, such as comments
        if rest := blocks.close():
            yield rest  # type: ignore[misc]

    def _waiting(self) -> Callable[[float], Awaitable[None]]:
        """What waits until a time on the tape has come."""
        clock = self._clock
        begun = clock.now()

        async def wait(at: float) -> None:
            # Sleeps even when nothing is left to wait for: other clients, and the news that this one hung up, get their turn.
            await clock.sleep(max(0.0, begun + at / self._speed - clock.now()))

        return wait


def _head(answer: RecordedResponse) -> bytes:
    """The first bytes of an answer. Each has a connection of its own, whose end is a part of it."""
    lines = [f"HTTP/{answer.http} {answer.status} {answer.reason}"]
    lines += [f"{name}: {value}" for name, value in answer.head]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace")


def _size(pieces: list[Piece]) -> int:
    """The length of the chunk that these pieces begin with. One that was cut had more than has come."""
    size = 0
    for piece in pieces:
        size += len(piece.data)
        if not piece.more:
            return size
    return size + 1
