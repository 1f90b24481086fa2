"""The simulator's clock: the machine's own, or one that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from collections.abc import Callable
from itertools import count

# How many turns of its event loop a server is given to come to rest. A stream takes two or three from one wait to the next.
_TURNS = 20
# Seconds, by the machine's clock, that a server which does not come to rest is waited for.
_PATIENCE = 10.0


class Clock:
    """The machine's clock. Called, it gives the Unix time in seconds; ``unix`` may stand in for that."""

    def __init__(self, unix: Callable[[], float] = time.time) -> None:
        self._unix = unix

    def __call__(self) -> float:
        return self._unix()

    def now(self) -> float:
        """Seconds that never go back, from no particular moment on."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed. With 0 or less, others get their turn."""
        await asyncio.sleep(seconds)

    def attend(self) -> None:
        """Know that a simulator works by this clock in the event loop that runs here."""


class VirtualClock(Clock):
    """A clock that stands still until `advance` moves it, so that a stall of ten minutes takes no time to test.

        clock = VirtualClock()
        with Simulator(Settings(ttft=600, clock=clock)) as simulator:
            ...                     # send a request
            clock.advance(600)
            ...                     # read the answer

    It moves the simulator's time only: a client's own timeouts use the machine's clock. ``start`` is the Unix
    time at which it stands.
    """

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        super().__init__()
        self._start = start
        self._passed = 0.0
        self._lock = threading.Lock()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._loops: set[asyncio.AbstractEventLoop] = set()

    def __call__(self) -> float:
        return self._start + self._passed

    def now(self) -> float:
        return self._passed

    async def sleep(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._loops.add(loop)
        if seconds <= 0:
            return await asyncio.sleep(0)
        woken: asyncio.Future[None] = loop.create_future()
        with self._lock:
            heapq.heappush(self._sleepers, (self._passed + seconds, next(self._order), woken))
        await woken

    def attend(self) -> None:
        self._loops.add(asyncio.get_running_loop())

    def advance(self, seconds: float) -> None:
        """Move the clock on, as if so many seconds had passed, and return when the simulator has done what was due in them.

        To be called from another thread than the simulator's. What the simulator was doing is done first, so a client that has
        read an event may advance to what follows it. A request counts from the moment the simulator has it: one that is still on
        its way, with nothing of its answer read, may come in after. Raises ValueError for a time that goes back.
        """
        if seconds < 0:
            raise ValueError(f"a clock cannot go back (by {-seconds:g} s)")
        self._rest()
        until = self._passed + seconds
        while True:
            with self._lock:
                while self._sleepers and self._sleepers[0][2].done():  # its client has hung up
                    heapq.heappop(self._sleepers)
                if not self._sleepers or self._sleepers[0][0] > until:
                    self._passed = until
                    break
                # From one wait to the next, so that what sleeps twice in this time wakes twice in it, each at its moment.
                self._passed, _, woken = heapq.heappop(self._sleepers)
            woken.get_loop().call_soon_threadsafe(_wake, woken)
            self._rest()

    def _rest(self) -> None:
        for loop in list(self._loops):
            if loop.is_closed():
                self._loops.discard(loop)
                continue
            asyncio.run_coroutine_threadsafe(_turns(), loop).result(_PATIENCE)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)
