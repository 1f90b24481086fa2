"""Answers served on, to browsers and anybody who reads Server-Sent Events: any number of viewers, each of whom may come back.

    relay = unspool.Relay()

    async def ask(request):                                  # POST: begins an answer
        return JSONResponse({"id": relay.start(client.stream(await request.json()))})

    async def watch(request):                                # GET: what an EventSource reads
        return await relay.response(request.path_params["id"], request.headers.get("last-event-id"))

A viewer reads the answer's journal, and the ids of its events are those of the journal's blocks. So an ``EventSource`` whose connection
breaks continues where it was, and a page that is reloaded has the complete answer again; also when another process began the answer, or
this one has been restarted since. No framework is imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time

from unspool.api.deltas import Reasoning, Refusal, Text
from unspool.client.errors import StreamError
from unspool.client.library.following import Naps
from unspool.client.loop import running_loop
from unspool.client.resume import continuation
from unspool.config.paths import state_dir, streams_dir
from unspool.journal import folder, reader, ulid
from unspool.journal.replay import Replay
from unspool.jsontext import dumps
from unspool.outcome import DAMAGED, INTERRUPTED, RUNNING, Ending
from unspool.serve.files import FileProducer, FileStore
from unspool.serve.store import End, Fenced, Store, StoreError, StreamInfo
from unspool.shape import VERSION, describe, describe_ending
from unspool.sse import encode, encode_comment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.client.aio import AsyncAnswer, AsyncReading
    from unspool.journal.writer import Writer
    from unspool.serve.mounted import Ask, RelayApp

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

    ``heartbeat`` is the silence, in seconds, after which a comment is sent, and ``retry`` the time that a browser waits before it connects
    again. A viewer that leaves means nothing to the answer, unless ``abandon_after`` says after how many seconds without any viewer, in
    whatever process, it is cancelled: enough of them for a page to be loaded again.

    Processes that share the folder of the journals share the streams: each can serve, list, cancel and delete those of the others. They
    agree through `unspool.serve.store`; the streams of a process that dies or stops end as ``interrupted`` within seconds.
    """

    def __init__(
        self, *, heartbeat: float = HEARTBEAT, retry: float = RETRY, abandon_after: float | None = None
    ) -> None:
        self.heartbeat = heartbeat
        self.retry = retry
        self.abandon_after = abandon_after
        self._running: dict[str, _Running] = {}
        # Viewers here of streams that another process reads.
        self._viewers: dict[str, int] = {}
        self._opening: asyncio.Task[FileStore] | None = None

    def start(self, answer: AsyncReading[Any], owner: str = "") -> str:
        """Read an answer to its end, in a task of the running event loop, and return its id.

        ``owner`` is whose it is, for `list`. An answer that has ended, or is only followed, is served as it is kept. Raises TypeError for
        one that is not asynchronous, ValueError for one without a journal.
        """
        from unspool.client.aio import AsyncAnswer
        from unspool.client.library.following import AsyncFollowing

        if isinstance(answer, AsyncFollowing):
            return answer.id
        if not isinstance(answer, AsyncAnswer):
            raise TypeError(f"start takes an answer of unspool.astream or unspool.aresume, not {type(answer).__name__}")
        journal = answer.exchange.journal
        if journal is None or journal.path is None:
            raise ValueError("only an answer with a journal can be served: leave journal=True")
        if journal.id in self._running or answer.ending is not None:
            return journal.id
        # A server that stops is not a wish of the user, whose next request may take the stream up.
        answer.given_up = (INTERRUPTED, "the server that read the answer was stopped")
        running = self._running[journal.id] = _Running(answer, owner, self.abandon_after)
        running.task = running_loop().create_task(self._read(running, journal))
        self._leave(running)
        return journal.id

    async def response(self, id: str, last_event_id: str | None = None) -> EventStream:
        """The response that is the answer of this complete id, from its beginning, or from what follows the event of that id.

        It is 404 for an answer that is not kept here, and 204 where nothing follows, upon which an ``EventSource`` stops. Who may
        see an answer is for the caller to say: an id has 80 bits of chance, and whoever has it has the answer. Raises StoreError.
        """
        # Not any piece of an id: a stranger could try them all.
        path = folder.path_of(streams_dir(), id) if ulid.is_ulid(id) else ""
        try:
            journal = reader.Reader(path)
        except OSError:
            return EventStream(404, {"content-type": "text/plain"}, _said(b"no such stream\n"))
        frames = self._frames(journal, id, _Cursor(last_event_id or ""), await self._store())
        # As far as can be said without waiting: what is there to be sent, nothing yet, or nothing ever.
        try:
            first = await anext(frames)
        except StopAsyncIteration:
            return EventStream(204, {}, _said())
        return EventStream(200, dict(HEADERS), _body(first, frames))

    async def cancel(self, id: str, reason: str = "") -> bool:
        """Stop a stream, whichever process reads it. False where it is not running, or not known here. Raises StoreError."""
        if id in self._running:
            self._running[id].answer.cancel(reason)
            return True
        store = await self._store()
        found = await store.find(id)
        if found is None or found.state != RUNNING:
            return False
        await store.cancel(id, reason)
        return True

    async def list(self, owner: str | None = None, limit: int = 200) -> Sequence[StreamInfo]:
        """The streams that relays of this folder have started, of one owner or of all, newest first. Raises StoreError."""
        return await (await self._store()).streams(owner, limit)

    async def delete(self, id: str) -> bool:
        """Remove a stream that has ended, and its journal. False where it runs, or is not kept here. Raises StoreError."""
        path = folder.path_of(streams_dir(), id) if ulid.is_ulid(id) else ""
        store = await self._store()
        if not os.path.exists(path) or await self._is_alive(id, path, store):
            return False
        await store.delete(id)
        return True

    def app(self, ask: Ask) -> RelayApp:
        """An ASGI application for a page: ``POST /`` asks, ``GET /ID`` is for an ``EventSource``, ``POST /ID/cancel`` stops.

        ``ask`` gets the JSON that the page posted and returns the answer, such as ``lambda body: unspool.astream(body["question"])``. It
        may be a coroutine function. A ValueError is a 400 with its words. The page gets the id as ``{"id": …}``.

            app = FastAPI(lifespan=relay.lifespan)
            app.mount("/answers", relay.app(lambda body: unspool.astream(body["question"])))

        Who may ask and see is for the caller to say, in a middleware for instance: whoever has an id has the answer.
        """
        from unspool.serve.mounted import RelayApp

        return RelayApp(self, ask)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """What FastAPI and Starlette take as ``lifespan``: closes the relay when the server stops."""
        try:
            yield
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop reading: what is not complete by now ends as ``interrupted``. Waits until the journals are closed."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for running in list(self._running.values()):
            running.answer.give_up()
        await asyncio.gather(*tasks, return_exceptions=True)
        opening, self._opening = self._opening, None
        if opening is not None:
            await (await opening).close()

    async def _store(self) -> FileStore:
        """The store, opened when it is first needed."""
        if self._opening is None:
            self._opening = running_loop().create_task(_opened())
        try:
            return await asyncio.shield(self._opening)
        except StoreError:
            self._opening = None
            raise

    async def _read(self, running: _Running, journal: Writer) -> None:
        answer, info, producer = running.answer, running.info, None
        try:
            async with answer:
                with contextlib.suppress(StreamError):  # the journal tells of it
                    producer = await self._adopt(running, journal)
                    while await answer._turn() is not None:
                        if producer is not None:
                            # What a process writes that was stopped for too long nobody sees: its stream has been ended by another.
                            producer.check()
                        if info.response_id is None and answer.response_id is not None:
                            info.response_id, info.ttft = answer.response_id, answer.exchange.first_event_at
                        running.tell()
        except Fenced:
            pass
        finally:
            running.stop_waiting()
            del self._running[running.info.id]
            if producer is not None and answer.ending is not None:
                usage = answer.usage
                if usage is not None:
                    info.input_tokens, info.output_tokens = usage.input_tokens, usage.output_tokens
                end = End(answer.ending.outcome, answer.ending.message, answer.ending.finish_reason)
                with contextlib.suppress(StoreError):
                    await producer.ended(end, info)
            running.tell()

    async def _adopt(self, running: _Running, journal: Writer) -> FileProducer | None:
        """Hold the stream's lease. None where the store cannot be used: then only its lock says that this process lives."""
        try:
            producer = await (await self._store()).adopt(journal, running.info)
        except StoreError:
            return None
        producer.on_cancel = lambda: running.answer.cancel(producer.cancelled or "")
        return producer

    def _leave(self, running: _Running) -> None:
        """Begin to wait for a viewer, where there is none."""
        if self.abandon_after is not None and not running.viewers:
            running.stop_waiting()
            loop = asyncio.get_running_loop()
            running.timer = loop.call_later(self.abandon_after, lambda: loop.create_task(self._abandon(running)))

    async def _abandon(self, running: _Running) -> None:
        """Cancel an answer that nobody looks at, in any process."""
        store = await self._store()
        if running.viewers or running.info.id not in self._running:
            return
        if await store.viewers_elsewhere(running.info.id):
            self._leave(running)
        else:
            running.answer.cancel("nobody reads it any more")

    async def _is_alive(self, id: str, path: str, store: Store) -> bool:
        """Whether a journal is still being written: by a relay (lease) or another program (lock)."""
        if id in self._running:
            return True
        found = await store.find(id)
        return (found is not None and found.state == RUNNING) or reader.is_alive(path)

    async def _view(self, id: str, change: int, store: Store) -> None:
        """Count a viewer of a stream that another process reads in or out."""
        count = self._viewers[id] = self._viewers.get(id, 0) + change
        if not count:
            del self._viewers[id]
        if count in (0, 1):
            with contextlib.suppress(StoreError):
                await store.viewing(id, count)

    async def _frames(
        self, journal: reader.Reader, id: str, cursor: _Cursor, store: Store
    ) -> AsyncGenerator[bytes | None]:
        """Yield what is to be sent, and None where there is nothing yet."""
        running = self._running.get(id)
        news = asyncio.Event()
        if running is not None:
            running.viewers += 1
            running.stop_waiting()
            running.waiting.add(news)
            stop = None
        else:
            stop = store.watch(id, news.set)
            await self._view(id, 1, store)
        try:
            async for frame in self._follow(journal, id, cursor, store, news):
                yield frame
        finally:
            journal.close()
            if running is not None:
                running.viewers -= 1
                running.waiting.discard(news)
                if id in self._running:
                    self._leave(running)
            elif stop is not None:
                stop()
                await self._view(id, -1, store)

    async def _follow(
        self, journal: reader.Reader, id: str, cursor: _Cursor, store: Store, news: asyncio.Event
    ) -> AsyncGenerator[bytes | None]:
        loop = asyncio.get_running_loop()
        replay = Replay(journal)
        joined = _Joined(replay)
        naps = Naps()
        silent_since = loop.time()
        head = b"retry: %d\n\n" % (self.retry * 1000)
        while True:
            news.clear()
            # Asked before the file is read: who is dead now has written all that it ever will.
            alive = await self._is_alive(id, journal.path, store)
            for records in _slices(joined.blocks()):
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
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(naps.next()):
                    await news.wait()
        last_id = journal.next_id - 1
        if journal.ended and last_id < cursor.block:
            return
        ending = replay.ending if journal.damage is None else Ending(DAMAGED, "its journal is damaged")
        said = dumps({"type": "end", "version": VERSION, "id": id, **describe_ending(ending)})
        yield head + encode(said, id=str(last_id) if journal.ended else None)


class _Joined:
    """The blocks of an answer, after the text of the cut answers that it continues, and without what it repeats of that."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._seam: continuation.Seam | None = None

    def blocks(self) -> Iterator[tuple[int, list[Delta]]]:
        """Yield what there is by now, each block's id with its deltas; the request's are what was there before."""
        for block, deltas, _ in self._replay.blocks():
            if block == 0 and self._replay.request is not None:
                text, self._seam = continuation.before(self._replay.request)
                deltas = [Text(text)] if text else []
            elif self._seam is not None:
                deltas = self._seam.joined(deltas)
                if self._replay.end is not None and (held := self._seam.close()):
                    deltas = [Text(held), *deltas]
            yield block, deltas


async def _opened() -> FileStore:
    store = FileStore(state_dir(), keep=math.inf, is_shared=True)
    await store.open()
    return store


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

    def __init__(self, answer: AsyncAnswer[Any], owner: str, abandon_after: float | None) -> None:
        self.answer = answer
        exchange = answer.exchange
        self.info = StreamInfo(
            answer.id or "", owner, exchange.api_name, exchange.prompt.model, time.time(), abandon_after=abandon_after
        )
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.viewers = 0
        self.waiting: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Wake all who wait for news."""
        for news in self.waiting:
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
                if block < self.block or (block == self.block and index < self._seen):
                    continue
                found.append((f"{block}.{index}" if index < last else str(block), delta))
        return found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


# Blocks that are merged into one event: enough for a long answer to be read again in few events, few enough to take no time.
_SLICE = 512


def _slices(blocks: Iterable[tuple[int, list[Delta]]]) -> Iterator[list[tuple[int, list[Delta]]]]:
    found: list[tuple[int, list[Delta]]] = []
    for block in blocks:
        found.append(block)
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
