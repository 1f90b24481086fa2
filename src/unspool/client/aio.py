"""A streamed answer for asyncio: the same stream, awaited.

Works on asyncio's selector event loops, the default everywhere but on Windows, and on uvloop. Trio is not supported: libcurl's sockets
are driven by pycurl's own asyncio integration.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import weakref
from functools import partial

import pycurl

from unspool.api.deltas import Refusal, Text
from unspool.client.answer import CANCEL_PATIENCE, Lapse, Limits
from unspool.client.facts import Asked, Facts, T
from unspool.client.http.transport import MOST_HELD, Transfer
from unspool.journal.writer import SYNC_INTERVAL
from unspool.outcome import CANCELLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from types import TracebackType
    from typing import Any, Self

    from unspool.api.deltas import Delta
    from unspool.client.exchange import Exchange
    from unspool.client.http.transport import Request
    from unspool.journal.writer import Writer
    from unspool.sse import Event


# Seconds in which an HTTP answer ends after its stream has: one packet later, as a rule.
_LINGER = 1.0


class _Transfer(Transfer):
    """A transfer that wakes whoever waits for its news: ``waiter``, None while nobody does."""

    waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """Say that there is news."""
        waiter = self.waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _taker(self) -> Callable[[bytes], int | None]:
        chunks, append, pause = self._chunks, self._chunks.append, pycurl.WRITEFUNC_PAUSE

        def take(chunk: bytes) -> int | None:
            if not chunks:
                self.wake()
            elif len(chunks) >= MOST_HELD:
                self._paused = True
                return pause  # type: ignore[no-any-return]
            append(chunk)
            return None

        return take

    def _on_header(self, line: bytes) -> None:
        super()._on_header(line)
        if self._head_whole:
            self.wake()


class Reactor:
    """The transfers and journals of one event loop. Connections are kept for the next transfer to the same server."""

    def __init__(self) -> None:
        self._multi: Any = pycurl.AsyncCurlMulti()
        self._journals: set[Writer] = set()
        self._syncing: asyncio.Task[None] | None = None

    def start(self, transfer: _Transfer) -> None:
        """Begin a transfer."""

        def ended(future: asyncio.Future[Any]) -> None:
            if future.cancelled() or (error := future.exception()) is None:
                transfer.finish(0, "")
            else:
                transfer.finish(error.args[0], error.args[1])
            transfer.wake()

        self._multi.add_handle(transfer.curl).add_done_callback(ended)

    def cancel(self, transfer: _Transfer) -> None:
        """End a transfer now and close its connection."""
        if not transfer.over:
            with contextlib.suppress(RuntimeError):
                self._multi.remove_handle(transfer.curl)
            transfer.finish(0, "")

    def leave(self, transfer: _Transfer) -> None:
        """Let a transfer end by itself of which nothing more is wanted, so that its connection can be used again."""
        transfer.leave()
        transfer.waiter = None
        asyncio.get_running_loop().call_later(_LINGER, self._end, transfer)

    def _end(self, transfer: _Transfer) -> None:
        if not self._multi.closed:
            with contextlib.suppress(RuntimeError):
                self._multi.remove_handle(transfer.curl)
        transfer.finish(0, "")

    def keep(self, journal: Writer) -> None:
        """Sync a journal from time to time, in another thread: a disk must not stop the event loop."""
        self._journals.add(journal)
        if self._syncing is None:
            self._syncing = asyncio.get_running_loop().create_task(self._sync())

    async def release(self, journal: Writer) -> None:
        """Close a journal, which waits for the disk."""
        self.drop(journal)
        # Shielded: whoever cancels the waiting does not keep the journal from being closed.
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, journal.close))

    def drop(self, journal: Writer | None) -> None:
        """Sync a journal no more."""
        if journal is not None:
            self._journals.discard(journal)
        if not self._journals and self._syncing is not None:
            self._syncing.cancel()
            self._syncing = None

    def close(self) -> None:
        """End all transfers and close all connections."""
        # A coroutine that waits for nothing: one step is all of it, also where nobody can await.
        with contextlib.suppress(StopIteration):
            self._multi.aclose().send(None)

    async def _sync(self) -> None:
        # One job at a time for all journals, however many: a thousand streams must not queue a thousand syncs.
        while True:
            await asyncio.sleep(SYNC_INTERVAL)
            due = [journal for journal in self._journals if journal.sync_due() == 0]
            if due:
                await asyncio.get_running_loop().run_in_executor(None, _sync_each, due)


def _sync_each(journals: list[Writer]) -> None:
    for journal in journals:
        journal.sync()


_reactors: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Reactor, int]] = weakref.WeakKeyDictionary()


class AsyncReading(Facts[T]):
    """The ways of reading an answer in asyncio. Each goes on where the others have stopped."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __aiter__(self) -> AsyncIterator[str]:
        # Not in generators one within the other as `unspool.client.answer` has it: each would be gone through for each wake-up.
        batch: list[Delta] | None = []
        while batch is not None:
            if batch:
                self._batch = iter(batch)
            for piece in self._pieces:
                yield piece
            for delta in self._batch:
                if type(delta) is Text and delta.choice == 0:
                    self._pieces = iter(delta.pieces)
                    for piece in self._pieces:
                        yield piece
                elif type(delta) is Refusal and delta.choice == 0:
                    yield delta.text
            batch = await self._turn()
        self._raise()

    async def deltas(self) -> AsyncIterator[Delta]:
        """Yield everything that arrives, as the values of `unspool.api.deltas`."""
        batch: list[Delta] | None = []
        while batch is not None:
            if batch:
                self._batch = iter(batch)
            for piece in self._pieces:
                yield Text(piece)
            for delta in self._batch:
                if type(delta) is Text and delta.choice == 0:
                    self._pieces = iter(delta.pieces)
                    for piece in self._pieces:
                        yield Text(piece)
                else:
                    yield delta
            batch = await self._turn()
        self._raise()

    async def events(self) -> AsyncIterator[Event]:
        """Yield the server's own events as they arrive, to the letter."""
        while await self._turn() is not None:
            for event in self._events():
                yield event
        self._raise()

    async def partials(self) -> AsyncIterator[Any]:
        """Yield the JSON object so far, each time that it has grown: dicts and lists, unvalidated, a new one each time.

        The last one is the whole object, which ``parsed`` then has validated. All of them together cost some thirty readings of the
        whole text, or a twentieth of the time, whichever is more: a fast stream skips some, a slow one none.
        """
        from unspool.client.library.objects import NOTHING, Growing

        growing = Growing([] if self._texts is None else self._texts)
        while await self._turn(growing.due()) is not None:
            if (value := growing.look()) is not NOTHING:
                yield value
        if (value := growing.look(last=True)) is not NOTHING:
            yield value
        self._raise()

    async def read(self) -> str:
        """Read the answer to its end and return its text, of the first choice, with what had been read before."""
        while await self._turn() is not None:
            pass
        self._raise()
        return self.text

    async def parse(self) -> T:
        """Read the answer to its end and return the object that ``schema`` describes: see ``parsed``."""
        await self.read()
        return self.parsed

    async def aclose(self) -> None:
        """Stop reading, and give back what that took."""
        raise NotImplementedError

    async def _turn(self, seconds: float | None = None) -> list[Delta] | None:
        """Wait for what arrives, at most this long, and return it, which may be nothing; None when no more comes."""
        raise NotImplementedError

    def _events(self) -> Iterable[Event]:
        """The server's events of the present turn."""
        raise NotImplementedError


class AsyncAnswer(Asked[T], AsyncReading[T]):
    """A streamed answer. Iterating it yields its text as it arrives; `deltas` yields all that arrives.

        async with unspool.astream("What is Python?") as answer:
            async for piece in answer:
                print(piece, end="", flush=True)

    After the last piece ``outcome`` says how it ended. A stream that failed or was cut raises a `StreamError` after its last
    piece, unless ``check`` is False. The connection and the journal are closed after the last piece, by cancelling the task,
    by leaving the block early, or with the last reference to the answer.
    """

    #: Called once with the answer when it is over.
    on_close: Callable[[AsyncAnswer[Any]], None] | None = None
    _closed = True

    def __init__(
        self,
        exchange: Exchange,
        limits: Limits | None = None,
        *,
        check: bool = True,
        keep_text: bool = True,
        schema: Any = None,
    ) -> None:
        super().__init__(schema=schema, check=check, keep_text=keep_text)
        self.exchange = exchange
        self._limits = limits or Limits()
        self._reactor: Reactor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transfer: _Transfer | None = None
        self._retry_at: float | None = None
        self._lapse = Lapse(self._limits)
        self._watchdog: asyncio.TimerHandle | None = None
        self._cancel_request: Request | None = None
        self._waiter: asyncio.Future[None] | None = None
        # What came out when the stream was ended from outside `step`, which is still to be delivered.
        self._rest: list[Delta] = []
        self._closed = False

    def __del__(self) -> None:
        if self._closed:
            return
        self._closed = True
        # Nobody can wait for anything here, so a background response goes on at its server.
        if self.exchange.ending is None:
            self.exchange.stop(CANCELLED, "given up by its reader")
        if self._watchdog is not None:
            self._watchdog.cancel()
        loop, reactor = self._loop, self._reactor
        if reactor is not None and loop is not None and not loop.is_closed():
            leave = partial(_leave, loop, reactor, self._transfer, self.exchange.journal)
            # The last reference may have been another thread's.
            if loop.is_running() and asyncio._get_running_loop() is not loop:
                loop.call_soon_threadsafe(leave)
            else:
                leave()
        if self.exchange.journal is not None:
            self.exchange.journal.close()

    async def __aenter__(self) -> Self:
        self._open()
        return self

    def cancel(self, message: str = "") -> None:
        """Stop the stream now and close its connection. A background response is stopped at the server by `aclose`."""
        if self._reactor is not None and self._transfer is not None:
            self._reactor.cancel(self._transfer)
            if self.exchange.ending is None:
                self._rest += self._kept(self.exchange.receive(self._transfer))  # what had come is kept
                self._cancel_request = self.exchange.cancel_request()
        self._rest += self._kept(self.exchange.stop(CANCELLED, message))
        self._wake()

    async def aclose(self) -> None:
        """Cancel the stream if it has not ended, and give back its connection and its journal."""
        if self._closed:
            return
        self._closed = True
        if self.exchange.ending is None:
            self.cancel()
        if self.on_close is not None:
            self.on_close(self)
        if self._watchdog is not None:
            self._watchdog.cancel()
        reactor = self._reactor
        if reactor is None:
            if self.exchange.journal is not None:
                self.exchange.journal.close()
            return
        try:
            await self._cancel_upstream(reactor)
            if self.exchange.journal is not None:
                await reactor.release(self.exchange.journal)
        finally:
            give_back(asyncio.get_running_loop())

    async def _cancel_upstream(self, reactor: Reactor) -> None:
        if self._cancel_request is None:
            return
        transfer = _Transfer(self._cancel_request, CANCEL_PATIENCE)
        transfer.waiter = asyncio.get_running_loop().create_future()
        reactor.start(transfer)
        try:
            await asyncio.wait_for(transfer.waiter, CANCEL_PATIENCE)
        except TimeoutError:
            pass
        finally:
            reactor.cancel(transfer)

    async def step(self, seconds: float | None = None) -> list[Delta]:
        """Wait for news, at most this long, and return what arrived, which may be nothing. It is in the journal already."""
        if self._reactor is None:
            self._open()
        exchange = self.exchange
        if exchange.ending is not None:
            return self._left_over()
        exchange.events.clear()
        if self._retry_at is not None:
            left = self._retry_at - time.monotonic()
            if left > 0:
                await self._wait(left)
                return self._left_over()
            self._retry_at = None
            self._lapse.restart()
            self._transfer = self._send()
        reactor, transfer = self._reactor, self._transfer
        assert reactor is not None
        assert transfer is not None
        deltas = exchange.receive(transfer) if transfer.held else []
        if not (deltas or transfer.held or transfer.over or exchange.done):
            await self._wait(seconds)
            if self.ending is not None:  # cancelled by another task, or too late
                return self._left_over()
            deltas = exchange.receive(transfer)
        self._lapse.observe(transfer)
        if exchange.done and not transfer.over:
            if exchange.decoder.done:
                reactor.leave(transfer)
            else:
                reactor.cancel(transfer)
        if transfer.over:
            more, retry_in = exchange.finish(transfer)
            deltas += more
            if retry_in is not None:
                self._retry_at = time.monotonic() + retry_in
                self._watch()
        return self._kept(deltas)

    async def _wait(self, seconds: float | None) -> None:
        """Wait for news, at most this long."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        transfer = self._transfer
        assert transfer is not None
        transfer.waiter = waiter
        timer = None if seconds is None else loop.call_later(seconds, self._wake)
        try:
            await waiter
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            self._waiter = transfer.waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _left_over(self) -> list[Delta]:
        rest, self._rest = self._rest, []
        return rest

    def _open(self) -> None:
        if self._reactor is not None or self._closed:
            return
        self._loop = loop = running_loop()
        self._reactor = borrow(loop)
        if self.exchange.journal is not None:
            self._reactor.keep(self.exchange.journal)
        self._transfer = self._send()
        self._lapse.restart()
        self._watch()

    def _send(self) -> _Transfer:
        assert self._reactor is not None
        transfer = _Transfer(self.exchange.request(), self._limits.connect)
        self._reactor.start(transfer)
        return transfer

    def _watch(self) -> None:
        """Look again when a limit could first have been passed: one timer for each stream, not one for each wait."""
        transfer = self._transfer
        if self.exchange.ending is not None or transfer is None or self._reactor is None:
            return
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self._retry_at is None:
            self._lapse.observe(transfer)
        else:
            self._lapse.restart()  # nobody is asked anything now, so nobody is silent
        fault = self._lapse.fault()
        if fault is None:
            self._watchdog = asyncio.get_running_loop().call_later(self._lapse.left() + 0.001, _weakly(self._watch))
            return
        if self._retry_at is not None or self._lapse.is_over():
            self._reactor.cancel(transfer)
            self._rest += self._kept(self.exchange.receive(transfer) + self.exchange.end(fault))
        elif not transfer.over:
            self._reactor.cancel(transfer)
            transfer.fault = fault
            self._lapse.restart()
            self._watchdog = asyncio.get_running_loop().call_later(self._lapse.left() + 0.001, _weakly(self._watch))
        self._wake()

    async def _turn(self, seconds: float | None = None) -> list[Delta] | None:
        exchange = self.exchange
        while exchange.ending is None:
            batch = await self.step(seconds)
            if batch or exchange.events or seconds is not None:
                return batch
        if self._rest:
            return self._left_over()
        await self.aclose()  # at its end; who stops before it, or never iterates, needs the with block
        return None

    def _events(self) -> Iterable[Event]:
        return self.exchange.events


@contextlib.asynccontextmanager
async def kept_connections() -> AsyncIterator[None]:
    """Keep the connections of this event loop open between one stream and the next."""
    loop = running_loop()
    borrow(loop)
    try:
        yield
    finally:
        give_back(loop)


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """The same method, for those who call it as long as there is somebody to call: the loop must not keep an answer alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        bound = reference()
        if bound is not None:
            bound()

    return call


def _leave(
    loop: asyncio.AbstractEventLoop, reactor: Reactor, transfer: _Transfer | None, journal: Writer | None
) -> None:
    """Give back what an answer has taken that is no more."""
    if transfer is not None:
        reactor.cancel(transfer)
    reactor.drop(journal)
    give_back(loop)


def running_loop() -> asyncio.AbstractEventLoop:
    """The running event loop. RuntimeError says what to do where there is none that sockets can be watched in."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        if "trio" in sys.modules and _in_trio():
            raise RuntimeError(
                "this runs under trio, and unspool's async half needs asyncio: read unspool.stream in trio.to_thread.run_sync"
            ) from None
        raise RuntimeError(
            "no asyncio event loop is running here: call this from a coroutine under asyncio.run, or use unspool.stream"
        ) from None
    proactor = getattr(asyncio, "ProactorEventLoop", None)
    if proactor is not None and isinstance(loop, proactor):
        raise RuntimeError(
            "Windows' ProactorEventLoop cannot watch sockets: asyncio.run(…, loop_factory=asyncio.SelectorEventLoop), or use unspool.stream"
        )
    return loop


def _in_trio() -> bool:
    try:
        sys.modules["trio"].lowlevel.current_task()
    except RuntimeError:
        return False
    return True


def borrow(loop: asyncio.AbstractEventLoop) -> Reactor:
    """The reactor of a loop, to be given back. Its connections live until the last who borrowed it has done that."""
    reactor, users = _reactors.get(loop) or (Reactor(), 0)
    _reactors[loop] = (reactor, users + 1)
    return reactor


def give_back(loop: asyncio.AbstractEventLoop) -> None:
    """Give back the reactor of a loop."""
    # The last stream closes the connections: nothing is left behind for the loop's end to warn about.
    reactor, users = _reactors[loop]
    if users > 1:
        _reactors[loop] = (reactor, users - 1)
        return
    del _reactors[loop]
    reactor.close()
