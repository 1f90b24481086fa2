"""A streamed answer for asyncio: the same stream, awaited. `unspool.client.loop` says where that works."""

from __future__ import annotations

import asyncio
import atexit
import time
import weakref
from functools import partial
from typing import Generic, TypeVar

from unspool.client import forks
from unspool.client.answer import CANCEL_PATIENCE
from unspool.client.facts import Asked, Facts, T
from unspool.client.http.curl import again, caught
from unspool.client.limits import Lapse, Limits
from unspool.client.loop import LoopTransfer, borrow, give_back, in_background, running_loop
from unspool.outcome import CANCELLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any, Self

    from unspool.api.deltas import Delta
    from unspool.client.exchange import Exchange
    from unspool.client.http import Request
    from unspool.client.loop import Reactor
    from unspool.journal.writer import Writer
    from unspool.sse import Event

P = TypeVar("P")


class _Pieces(Generic[P]):
    """Iterates over what an answer brings. Waiting for one piece may be given up, and the iteration continues with the next ``anext``.

    That is why it is no asynchronous generator: a generator is finished by an exception that passes through it, a timeout's too.
    """

    def __init__(self, answer: AsyncReading, pieces: Callable[[], Iterator[P]]) -> None:
        self._answer = answer
        self._pieces = pieces
        self._present = pieces()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> P:
        while True:
            for piece in self._present:
                return piece
            batch = await self._answer._turn()
            if batch is None:
                self._answer._raise()
                raise StopAsyncIteration
            self._present = self._taken(batch)

    def _taken(self, batch: list[Delta]) -> Iterator[P]:
        if batch:
            self._answer._batch = iter(batch)
        return self._pieces()


class _Events(_Pieces["Event"]):
    def _taken(self, batch: list[Delta]) -> Iterator[Event]:
        return iter(list(self._answer._events()))


class AsyncReading(Facts[T]):
    """The ways of reading an answer in asyncio. Each continues where the others stopped."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[str]:
        return _Pieces(self, self._said)

    def deltas(self) -> AsyncIterator[Delta]:
        """Yield everything that arrives, as the values of `unspool.api.deltas`."""
        return _Pieces(self, self._each)

    def events(self) -> AsyncIterator[Event]:
        """Yield the server's own events as they arrive, to the letter."""
        return _Events(self, lambda: iter(()))

    async def partials(self) -> AsyncIterator[Any]:
        """Yield the JSON object so far, each time that it has grown: dicts and lists, unvalidated, a new one each time.

        The last one is the complete object, which ``parsed`` then has validated. All of them together cost some thirty readings of the
        text, or a twentieth of the time, whichever is more: a fast stream skips some, a slow one none.
        """
        from unspool.client.library.objects import NOTHING, Growing

        growing = Growing(self._first.texts)
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


# Reads of one answer without a wait between them before others get their turn.
_MOST_AT_ONCE = 16


class AsyncAnswer(Asked[T], AsyncReading[T]):
    """A streamed answer. Iterating it yields its text as it arrives; `deltas` yields all that arrives.

        async with unspool.astream("What is Python?") as answer:
            async for piece in answer:
                print(piece, end="", flush=True)

    After the last piece ``outcome`` says how it ended. A stream that failed or was cut raises a `StreamError` after its last
    piece, unless ``check`` is False. The connection and the journal are closed after the last piece,
    by leaving the block early, or with the last reference to the answer, such as a cancelled task has.

    One task reads an answer at a time; a second one gets a RuntimeError. Waiting for one piece may be given up and tried again, as
    ``await asyncio.wait_for(anext(pieces), 5)`` does for a heartbeat: the stream continues meanwhile, and nothing of it is lost.
    `cancel` may be called from any thread.
    """

    #: Called once with the answer when it is over.
    on_close: Callable[[AsyncAnswer[Any]], None] | None = None
    #: How the stream ends, and why, when its reader is cancelled or gives it up. A server that stops is not a wish of its user.
    given_up: tuple[str, str] = (CANCELLED, "")
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
        self._transfer: LoopTransfer | None = None
        self._retry_at: float | None = None
        self._lapse = Lapse(self._limits)
        self._watchdog: asyncio.TimerHandle | None = None
        self._cancel_request: Request | None = None
        self._waiter: asyncio.Future[None] | None = None
        # What came out when the stream was ended from outside `step`, which is still to be delivered.
        self._rest: list[Delta] = []
        self._turns_at_once = 0
        self._closed = False
        # Whether this is a copy in a child of the process that began the stream.
        self._is_inherited = False
        forks.watch(self)
        _living.add(self)

    def _after_fork(self) -> None:
        """In the child: leave the parent's stream alone."""
        self._is_inherited = self._closed = True
        if self.exchange.journal is not None:
            self.exchange.journal.forget()

    def __del__(self) -> None:
        if self._closed:
            return
        self._closed = True
        cancel_request = self._cancel_request
        if self.exchange.ending is None:
            if self.given_up[0] == CANCELLED:
                cancel_request = self.exchange.cancel_request()
            self.exchange.stop(CANCELLED, "given up by its reader")
        if self._watchdog is not None:
            self._watchdog.cancel()
        loop, reactor = self._loop, self._reactor
        if reactor is not None and loop is not None and not loop.is_closed():
            leave = partial(_leave, loop, reactor, self._transfer, self.exchange.journal, cancel_request)
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
        """Stop the stream now and close its connection. A background response is stopped at the server by `aclose`.

        May be called from another thread, and then happens as soon as the event loop gets to it.
        """
        if self._is_inherited:
            return
        loop = self._loop
        if loop is not None and loop.is_running() and asyncio._get_running_loop() is not loop:
            loop.call_soon_threadsafe(self.cancel, message)
            return
        self._stop(CANCELLED, message)

    def give_up(self) -> None:
        """Stop reading the stream, which ends as ``given_up`` says; a background response continues at its server unless that is a cancel."""
        self._stop(*self.given_up)

    def _stop(self, outcome: str, message: str) -> None:
        if self._reactor is not None and self._transfer is not None:
            self._reactor.cancel(self._transfer)
            if self.exchange.ending is None:
                self._rest += self._kept(self.exchange.receive(self._transfer))  # what had come is kept
                self._cancel_request = self.exchange.cancel_request() if outcome == CANCELLED else None
        self._rest += self._kept(self.exchange.stop(outcome, message))
        self._wake()

    async def aclose(self) -> None:
        """Cancel the stream if it has not ended, and give back its connection and its journal."""
        if self._closed:
            return
        self._closed = True
        if self.exchange.ending is None:
            self.give_up()
        if self.on_close is not None:
            self.on_close(self)
        if self._watchdog is not None:
            self._watchdog.cancel()
        reactor = self._reactor
        if reactor is None:
            if self.exchange.journal is not None:
                self.exchange.journal.close()
            return
        # In a task of its own: whoever cancels the waiting, even twice, keeps neither the server from being told nor the journal from being closed.
        closing = in_background(_closed(reactor, self._cancel_request, self.exchange.journal))
        await asyncio.shield(closing)

    async def step(self, seconds: float | None = None) -> list[Delta]:
        """Wait for news, at most this long, and return what arrived, which may be nothing. It is in the journal already."""
        if self._is_inherited:
            raise RuntimeError("this answer belongs to the process that started it; ask again after a fork")
        if self._waiter is not None:
            raise RuntimeError("another task is reading this answer: one task reads at a time")
        if self._reactor is None:
            self._open()
        elif self._loop is not asyncio.get_running_loop():
            raise RuntimeError("this answer belongs to another event loop")
        try:
            return await self._step(seconds)
        except asyncio.CancelledError:
            raise  # between two steps, where all is consistent
        except BaseException:
            self._end_interrupted()
            raise

    def _end_interrupted(self) -> None:
        """End the stream after an exception that struck anywhere in a turn, such as a signal handler's, so that its journal says so."""
        if self._reactor is not None and self._transfer is not None:
            self._reactor.cancel(self._transfer)
        self.exchange.stop_interrupted()

    async def _step(self, seconds: float | None) -> list[Delta]:
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
        else:
            # A burst must keep neither the other tasks nor the clocks from their turn.
            self._turns_at_once += 1
            if self._turns_at_once >= _MOST_AT_ONCE:
                self._turns_at_once = 0
                await asyncio.sleep(0)
                if self.ending is not None:
                    return self._kept(deltas) + self._left_over()
        if caught:
            again()
        was_settled = self._lapse.is_settled
        self._lapse.observe(transfer, exchange, bool(deltas))
        if self._lapse.is_settled and not was_settled and not exchange.done:
            self._watch()  # from here on the clock is a shorter one
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

    def _send(self) -> LoopTransfer:
        assert self._reactor is not None
        transfer = LoopTransfer(self.exchange.request(), self._limits.connect)
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
            self._lapse.observe(transfer, self.exchange, False)
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
        if self._before:
            before, self._before = self._before, []
            return before
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


def _weakly(method: Callable[[], None]) -> Callable[[], None]:
    """The same method, for those who call it as long as there is somebody to call: the loop must not keep an answer alive."""
    reference = weakref.WeakMethod(method)

    def call() -> None:
        bound = reference()
        if bound is not None:
            bound()

    return call


def _leave(
    loop: asyncio.AbstractEventLoop,
    reactor: Reactor,
    transfer: LoopTransfer | None,
    journal: Writer | None,
    cancel_request: Request | None,
) -> None:
    """Give back what an answer has taken that is no more."""
    if transfer is not None:
        reactor.cancel(transfer)
    reactor.drop(journal)
    if cancel_request is not None and loop.is_running():
        in_background(_closed(reactor, cancel_request, None))
    else:
        give_back(loop)


async def _closed(reactor: Reactor, cancel_request: Request | None, journal: Writer | None) -> None:
    """Tell the server that a background response is not wanted any more, close the journal, and give the reactor back."""
    try:
        if cancel_request is not None:
            transfer = LoopTransfer(cancel_request, CANCEL_PATIENCE)
            transfer.waiter = asyncio.get_running_loop().create_future()
            reactor.start(transfer)
            # Not wait_for: at the end of asyncio.run this task is cancelled as all are, and still has something to send.
            deadline = time.monotonic() + CANCEL_PATIENCE
            while not transfer.waiter.done() and (left := deadline - time.monotonic()) > 0:
                try:
                    await asyncio.wait([transfer.waiter], timeout=left)
                except asyncio.CancelledError:
                    pass
            reactor.cancel(transfer)
        if journal is not None:
            await reactor.release(journal)
    finally:
        give_back(asyncio.get_running_loop())


# At its end the interpreter need not destroy what a program's globals hold, and then no end would be written.
_living: weakref.WeakSet[AsyncAnswer[Any]] = weakref.WeakSet()


def _give_up_living() -> None:
    for one in list(_living):
        one.__del__()


atexit.register(_give_up_living)
