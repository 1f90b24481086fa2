"""Runs streams, as many at once as the throttle allows, until none are left or the run is stopped."""

from __future__ import annotations

import asyncio

from unspool.api.deltas import Text
from unspool.client.aio import AsyncAnswer
from unspool.client.loop import kept_connections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from unspool.batch.lines import Line
    from unspool.client.throttle import Throttle


class Progress:
    """What there is to tell while a run is under way.

    ``tokens`` are the pieces of text, until an answer's end says how many there were. ``trouble`` is why a stream was last asked for again,
    "" since one has sent something.
    """

    def __init__(self) -> None:
        self.under_way = 0
        self.tokens = 0
        self.trouble = ""


class Runner:
    """Runs lines. ``ask`` makes the stream of a line; ``ended`` is called with each line and its stream once that has ended,
    ``troubled`` with each line that has to be asked for again, and why.
    """

    def __init__(
        self,
        throttle: Throttle,
        ask: Callable[[Line], AsyncAnswer],
        ended: Callable[[Line, AsyncAnswer], None],
        troubled: Callable[[Line, str], None],
    ) -> None:
        self.progress = Progress()
        self.stopped = False
        self._throttle = throttle
        self._ask = ask
        self._ended = ended
        self._troubled = troubled
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()

    async def run(self, lines: Iterator[Line]) -> None:
        """Run all lines, or those that have begun when `stop` is called. Raises what ``ended`` raises, after stopping the rest."""
        async with kept_connections():
            try:
                await self._start_all(lines)
                while self._tasks:
                    await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                    self._reap()
            finally:
                self.stop()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Start nothing more, and cancel running streams. Their journals record this and keep what arrived."""
        self.stopped = True
        self._news.set()
        for task in self._tasks:
            task.cancel()

    async def _start_all(self, lines: Iterator[Line]) -> None:
        for line in lines:
            while (wait := self._throttle.wait(len(self._tasks))) != 0.0:
                await self._wait(wait)
                if self.stopped:
                    return
            self._tasks.add(asyncio.get_running_loop().create_task(self._one(line)))
            # Let it send before the next one is read.
            await asyncio.sleep(0)
            self._reap()
            if self.stopped:
                return

    async def _wait(self, seconds: float | None) -> None:
        """Wait for a stream to end, at most this long."""
        self._news.clear()
        if not any(task.done() for task in self._tasks) and not self.stopped:
            try:
                await asyncio.wait_for(self._news.wait(), seconds)
            except TimeoutError:
                pass
        self._reap()

    def _reap(self) -> None:
        done = {task for task in self._tasks if task.done()}
        self._tasks -= done
        for task in done:
            if not task.cancelled():
                task.result()

    async def _one(self, line: Line) -> None:
        progress = self.progress
        progress.under_way += 1
        try:
            pieces = 0
            async with self._ask(line) as answer:
                attempt = 1
                while answer.ending is None:
                    deltas = await answer.step()
                    if answer.exchange.attempt != attempt:
                        attempt = answer.exchange.attempt
                        progress.trouble = answer.exchange.retry_reason
                        self._troubled(line, progress.trouble)
                    elif deltas:
                        progress.trouble = ""
                    for delta in deltas:
                        if type(delta) is Text:
                            more = len(delta.pieces)
                            pieces += more
                            progress.tokens += more
            if answer.usage is not None and answer.usage.output_tokens is not None:
                progress.tokens += answer.usage.output_tokens - pieces
            if not self.stopped:
                self._ended(line, answer)
        finally:
            progress.under_way -= 1
            self._news.set()


def exit_code_of(codes: list[int]) -> int:
    """The exit code of a run: 0 when every line was answered, the one they share when all failed alike, else 1."""
    failed: Any = set(codes)
    return 0 if not failed else failed.pop() if len(failed) == 1 else 1
