"""The events of one stream, kept so that any number of readers can have them: from any place on, at any time, and then live."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from unspool.sim.frames import Frame


class Log:
    """A stream's events from the first one on. Events are only ever added at its end, until it is closed."""

    def __init__(self) -> None:
        self._events: list[Frame] = []
        self._closed = False
        # Set once there is more to read, and then replaced: a reader waits for the one that it found.
        self._changed = asyncio.Event()

    def append(self, event: Frame) -> None:
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Say that no event follows."""
        self._closed = True
        self._wake()

    async def read(self, start: int = 0) -> AsyncGenerator[Frame]:
        """The events from number ``start`` on, then those to come, until the log is closed."""
        while True:
            changed = self._changed
            while start < len(self._events):
                yield self._events[start]
                start += 1
                # A long replay lets others have their turn.
                await asyncio.sleep(0)
            if self._closed:
                return
            await changed.wait()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
