"""Running for as long as a ``with`` block, or an ``async with`` block, lasts."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class Block:
    """Something to start and stop, as a context manager. In an ``async with`` block other tasks run while it starts and stops."""

    def start(self) -> None:
        """Start, and return once it can be used."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop, and return once it is gone."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)
