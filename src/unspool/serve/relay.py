"""Answers served on, to browsers and anybody who reads Server-Sent Events: any number of viewers, each of whom may come back.

    relay = unspool.Relay()

    async def ask(request):                                  # POST: begins an answer
        return JSONResponse({"id": relay.start(client.stream(await request.json()))})

    async def watch(request):                                # GET: what an EventSource reads
        return await relay.response(request.path_params["id"], request.headers.get("last-event-id"))

A viewer reads the answer's journal, and the ids of its events are those of the journal's blocks. So an ``EventSource`` whose connection
breaks goes on where it was, by itself, and a page that is loaded anew has the whole answer again; also when the answer was begun by
another process, or this one has been started anew since. No framework is imported.
"""

from __future__ import annotations

import asyncio
import contextlib

from unspool.api.deltas import Reasoning, Refusal, Text
from unspool.client.errors import StreamError
from unspool.client.library.following import Naps
from unspool.client.loop import running_loop
from unspool.config.paths import streams_dir
from unspool.journal import folder, reader, ulid
from unspool.journal.replay import Replay
from unspool.jsontext import dumps
from unspool.outcome import DAMAGED, Ending
from unspool.shape import VERSION, describe, describe_ending
from unspool.sse import encode, encode_comment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.aio import AsyncAnswer

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# Proxies close what is silent for 30 to 60 seconds; the HTML standard (9.2.7) advises a comment every 15.
HEARTBEAT = 15.0
# Seconds that an EventSource waits before it connects again; the browsers' own are 3 and 5.
RETRY = 1.0
HEADERS = {
    "content-type": "text/event-stream",
    # no-transform: a proxy that compresses keeps back what it has not filled a block with.
    "cache-control": "no-cache, no-transform",
    # nginx then passes on what comes as it comes.
    "x-accel-buffering": "no",
}


class Relay:
    """Reads answers to their end and serves them from their journals.

    ``heartbeat`` is the silence, in seconds, after which a comment is sent, and ``retry`` what a browser is told to wait before it connects
    again. A viewer's going away means nothing to the answer, unless ``abandon_after`` says after how many seconds without any viewer
    it is cancelled: enough of them for a page to be loaded anew.
    """

    def __init__(
        self, *, heartbeat: float = HEARTBEAT, retry: float = RETRY, abandon_after: float | None = None
    ) -> None:
        self.heartbeat = heartbeat
        self.retry = retry
        self.abandon_after = abandon_after
        self._running: dict[str, _Running] = {}

    def start(self, answer: AsyncAnswer[Any]) -> str:
        """Read an answer to its end, in a task of the running event loop, and return its id. ValueError for one without a journal."""
        journal = answer.exchange.journal
        if journal is None or journal.path is None:
            raise ValueError("only an answer that is kept in a journal can be served on: leave journal=True")
        running = self._running[journal.id] = _Running(answer)
        running.task = running_loop().create_task(self._read(running, journal.id))
        self._leave(running)
        return journal.id

    async def response(self, id: str, last_event_id: str | None = None) -> EventStream:
        """The response that is the answer of this whole id, from its beginning, or from what follows the event of that id.

        It is 404 for an answer that is not kept here, and 204 where nothing follows, upon which an ``EventSource`` stops. Who may
        see an answer is for the caller to say: an id has 80 bits of chance, and whoever has it has the answer.
        """
        # Not any piece of an id: a stranger could try them all.
        path = folder.path_of(streams_dir(), id) if ulid.is_ulid(id) else ""
        try:
            journal = reader.Reader(path)
        except OSError:
            return EventStream(404, {"content-type": "text/plain"}, _said(b"no such stream\n"))
        frames = self._frames(journal, id, _Cursor(last_event_id or ""))
        # As far as can be said without waiting: what is there to be sent, nothing yet, or nothing ever.
        try:
            first = await anext(frames)
        except StopAsyncIteration:
            return EventStream(204, {}, _said())
        return EventStream(200, dict(HEADERS), _body(first, frames))

    async def aclose(self) -> None:
        """Cancel the answers that are still being read, and wait for their journals to be closed."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, running: _Running, id: str) -> None:
        try:
            async with running.answer as answer:
                with contextlib.suppress(StreamError):  # the journal tells of it
                    while await answer._turn() is not None:
                        running.tell()
        finally:
            running.stop_waiting()
            running.tell()
            del self._running[id]

    def _leave(self, running: _Running) -> None:
        """Begin to wait for a viewer, where there is none."""
        if self.abandon_after is not None and not running.viewers:
            running.stop_waiting()
            running.timer = asyncio.get_running_loop().call_later(
                self.abandon_after, running.answer.cancel, "nobody reads it any more"
            )

    async def _frames(self, journal: reader.Reader, id: str, cursor: _Cursor) -> AsyncGenerator[bytes | None]:
        """Yield what is to be sent, and None where there is nothing yet."""
        running = self._running.get(id)
        if running is not None:
            running.viewers += 1
            running.stop_waiting()
        try:
            async for frame in self._follow(journal, id, cursor):
                yield frame
        finally:
            journal.close()
            if running is not None:
                running.viewers -= 1
                if id in self._running:
                    self._leave(running)

    async def _follow(self, journal: reader.Reader, id: str, cursor: _Cursor) -> AsyncGenerator[bytes | None]:
        loop = asyncio.get_running_loop()
        replay = Replay(journal, cursor.block)
        naps = Naps()
        silent_since = loop.time()
        head = b"retry: %d\n\n" % (self.retry * 1000)
        while True:
            running = self._running.get(id)
            news = running.news if running is not None else None
            # Asked before the file is read: who is dead now has written all that it ever will.
            alive = reader.is_alive(journal.path)
            for records in _slices(replay.blocks()):
                end = journal.next_id - 1 if journal.ended else None
                frames = _events(cursor.rest(records, end), replay.at)
                if frames:
                    naps.moved()
                    silent_since = loop.time()
                    yield head + frames
                    head = b""
                # A long journal is read in one go: others get their turn between its pieces.
                await asyncio.sleep(0)
            if journal.damage is not None or journal.ended or not alive:
                break
            if head:
                yield None
            if loop.time() - silent_since >= self.heartbeat:
                silent_since = loop.time()
                yield head + encode_comment()
                head = b""
            await _nap(naps.next(), news)
        last_id = journal.next_id - 1
        if journal.ended and last_id < cursor.block:
            return
        ending = replay.ending if journal.damage is None else Ending(DAMAGED, "what is kept of it is damaged")
        said = dumps({"type": "end", "version": VERSION, "id": id, **describe_ending(ending)})
        yield head + encode(said, id=str(last_id) if journal.ended else None)


class EventStream:
    """A response: an ASGI application that sends it, and for frameworks that want it otherwise its ``status``, ``headers`` and ``body``.

    starlette takes it as what an endpoint returns. FastAPI: ``StreamingResponse(one.body, one.status, one.headers)``; Django:
    ``StreamingHttpResponse(one.body, status=one.status, headers=one.headers)``.
    """

    def __init__(self, status: int, headers: dict[str, str], body: AsyncGenerator[bytes]) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, until it ends or its reader goes away."""
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.wait({sending, leaving})
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Send) -> None:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        async with contextlib.aclosing(self.body) as body:
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            async for piece in body:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Running:
    """An answer that is being read: who waits for its news, and how many look at it."""

    def __init__(self, answer: AsyncAnswer[Any]) -> None:
        self.answer = answer
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.viewers = 0
        self.news = asyncio.Event()

    def tell(self) -> None:
        """Wake all who wait for news."""
        news, self.news = self.news, asyncio.Event()
        news.set()

    def stop_waiting(self) -> None:
        """Wait no more for a viewer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class _Cursor:
    """Where a viewer was. ``12`` is all of block 12, ``12.0`` of what it holds the first alone; anything else is nothing at all."""

    def __init__(self, last_event_id: str) -> None:
        block, dot, part = last_event_id.partition(".")
        if len(last_event_id) > 20 or not _is_number(block) or (dot and not _is_number(part)):
            block, dot = "", ""
        self._seen = int(part) + 1 if dot else 0
        self.block = 0 if not block else int(block) if dot else int(block) + 1

    def rest(self, blocks: Iterable[tuple[int, list[Delta]]], end: int | None) -> list[tuple[str, Delta]]:
        """Return what the blocks hold beyond the cursor, each with the id of its event. The block ``end`` holds one event more."""
        found: list[tuple[str, Delta]] = []
        for block, deltas in blocks:
            last = len(deltas) if block == end else len(deltas) - 1
            for index, delta in enumerate(deltas):
                if block == self.block and index < self._seen:
                    continue
                found.append((f"{block}.{index}" if index < last else str(block), delta))
        return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


# Blocks that are told in one go, and merged: enough for a long answer to be read anew in few events, few enough to take no time.
_SLICE = 512


def _slices(blocks: Iterable[tuple[int, list[Delta], Any]]) -> Iterable[list[tuple[int, list[Delta]]]]:
    found: list[tuple[int, list[Delta]]] = []
    for block, deltas, _ in blocks:
        found.append((block, deltas))
        if len(found) == _SLICE:
            yield found
            found = []
    if found:
        yield found


def _events(deltas: list[tuple[str, Delta]], at: float) -> bytes:
    """The deltas as events; of pieces of the same text in a row one is made."""
    frames: list[bytes] = []
    texts: list[str] = []
    for position, (id, delta) in enumerate(deltas):
        described = describe(delta)
        if type(delta) is Text or type(delta) is Reasoning or type(delta) is Refusal:
            texts.append(delta.text)
            if position + 1 < len(deltas) and _is_same_text(delta, deltas[position + 1][1]):
                continue
            described["text"] = "".join(texts)
            texts = []
        described["at"] = round(at, 3)
        frames.append(encode(dumps(described), id=id))
    return b"".join(frames)


def _is_same_text(one: Delta, other: Delta) -> bool:
    names: tuple[str, ...] = one.__match_args__
    return type(one) is type(other) and all(
        getattr(one, name) == getattr(other, name) for name in names if name != "text"
    )


async def _nap(seconds: float, news: asyncio.Event | None) -> None:
    if news is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _said(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece


async def _body(first: bytes | None, frames: AsyncGenerator[bytes | None]) -> AsyncGenerator[bytes]:
    async with contextlib.aclosing(frames):
        if first is not None:
            yield first
        async for frame in frames:
            if frame is not None:
                yield frame
