"""What the streams of an asyncio event loop share: connections, and the syncing of their journals.

Works on asyncio's selector event loops, the default everywhere but on Windows, and on uvloop. Trio is not supported: libcurl's sockets
are driven by pycurl's own asyncio integration.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pycurl

from unspool.client import forks
from unspool.client.http.curl import caught, guarded
from unspool.client.http.transport import MOST_HELD, Transfer, keep_bursts
from unspool.journal.writer import SYNC_INTERVAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
    from typing import Any

    from unspool.journal.writer import Writer


# A turn of an event loop costs more than one of our own, so more is brought in each.
_MOST_HELD = 2 * MOST_HELD
# Seconds in which an HTTP answer ends after its stream has: one packet later, as a rule.
_LINGER = 1.0


class LoopTransfer(Transfer):
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
            elif len(chunks) >= _MOST_HELD:
                self._paused = True
                return pause  # type: ignore[no-any-return]
            append(chunk)
            return None

        return take

    def _on_header(self, line: bytes) -> None:
        super()._on_header(line)
        if self._head_whole:
            self.wake()


class _Multi(pycurl.AsyncCurlMulti):  # type: ignore[misc]
    """pycurl's own, whose callbacks let nothing escape into libcurl that a signal's handler raises: see `unspool.client.http.curl`.

    What was struck is done again, so that the transfer continues to wherever its reader is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._multi.setopt(pycurl.M_TIMERFUNCTION, guarded(self._on_timer, None))

    def _on_timer(self, timeout_ms: int) -> None:
        try:
            super()._on_timer(timeout_ms)
        except BaseException:
            super()._on_timer(timeout_ms)
            raise

    def _on_socket(self, what: int, fd: int, multi: object, socketp: object) -> None:
        try:
            super()._on_socket(what, fd, multi, socketp)
        except BaseException as error:
            caught.append(error)
            super()._on_socket(what, fd, multi, socketp)


class Reactor:
    """The transfers and journals of one event loop. Connections are kept for the next transfer to the same server."""

    def __init__(self) -> None:
        keep_bursts()
        self._multi: Any = _Multi()
        self._journals: set[Writer] = set()
        self._syncing: asyncio.Task[None] | None = None
        forks.watch(self)

    def _after_fork(self) -> None:
        """In the child: keep the connections from being closed, for they are the parent's."""
        forks.never_free(self._multi)
        forks.never_free(self)

    def start(self, transfer: LoopTransfer) -> None:
        """Begin a transfer."""

        def ended(future: asyncio.Future[Any]) -> None:
            if future.cancelled() or (error := future.exception()) is None:
                transfer.finish(0, "")
            else:
                transfer.finish(error.args[0], error.args[1])
            transfer.wake()

        self._multi.add_handle(transfer.curl).add_done_callback(ended)

    def cancel(self, transfer: LoopTransfer) -> None:
        """End a transfer now and close its connection."""
        if not transfer.over:
            with contextlib.suppress(RuntimeError):
                self._multi.remove_handle(transfer.curl)
            transfer.finish(0, "")

    def leave(self, transfer: LoopTransfer) -> None:
        """Let a transfer end by itself of which nothing more is wanted, so that its connection can be used again."""
        transfer.leave()
        transfer.waiter = None
        asyncio.get_running_loop().call_later(_LINGER, self._end, transfer)

    def _end(self, transfer: LoopTransfer) -> None:
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
        # A coroutine that waits for nothing: one step is all of it, also where nobody can await. Where the loop is closed, it stops at each
        # transfer that it ends, whose callback cannot be scheduled any more.
        for _ in range(len(self._multi.futures()) + 1):
            with contextlib.suppress(StopIteration, RuntimeError):
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


# Of each loop the reactor, and how many have borrowed it. Not by weak references: libcurl's callbacks hold the loop.
_reactors: dict[asyncio.AbstractEventLoop, tuple[Reactor, int]] = {}


@contextlib.asynccontextmanager
async def kept_connections() -> AsyncIterator[None]:
    """Keep the connections of this event loop open between one stream and the next."""
    loop = running_loop()
    borrow(loop)
    try:
        yield
    finally:
        give_back(loop)


def hold(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
    """Keep the connections of the running event loop open until the result is closed or collected, or the loop is shut down.

    An asynchronous generator, since that is what `asyncio.run` closes at its end, before it closes the loop.
    """
    borrow(loop)
    held = _held(loop)
    with contextlib.suppress(StopIteration):
        held.asend(None).send(None)
    return held


async def _held(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        give_back(loop)


# Tasks that nobody waits for: the event loop itself keeps only weak references.
_background: set[asyncio.Task[None]] = set()


def in_background(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Do something in a task of its own, whether anybody waits for it or not."""
    task = asyncio.get_running_loop().create_task(work)
    _background.add(task)
    task.add_done_callback(_background.discard)
    return task


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
    found = _reactors.get(loop)
    if found is None:
        # Of a loop that was closed without being shut down, or while something of it was still held.
        for other, (reactor, _) in list(_reactors.items()):
            if other.is_closed():
                _reactors.pop(other, None)
                reactor.close()
    reactor, users = found or (Reactor(), 0)
    _reactors[loop] = (reactor, users + 1)
    return reactor


def give_back(loop: asyncio.AbstractEventLoop) -> None:
    """Give back the reactor of a loop."""
    if loop not in _reactors:
        return
    # The last stream closes the connections: nothing is left behind for the loop's end to warn about.
    reactor, users = _reactors[loop]
    if users > 1:
        _reactors[loop] = (reactor, users - 1)
        return
    del _reactors[loop]
    reactor.close()
