"""The responses that are kept under their ids, and the tasks that make background ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.responses import ModelResponse
from unspool.sim.errors import RequestError
from unspool.sim.frames import Frame
from unspool.sim.log import Log

# OpenAI keeps a response for 30 days. A simulator that runs for days must not grow; no test looks back further.
_LIMIT = 1_000


class Stored:
    """A response in the store. ``begun`` is the Unix time at which it was asked for.

    ``log`` has the events of one that can be streamed again: that was asked for as a stream in the background.
    """

    def __init__(self, response: ModelResponse, begun: float) -> None:
        self.response = response
        self.begun = begun
        self.log = Log() if response.background and response.stream else None
        self._making: asyncio.Task[None] | None = None

    def make(self, frames: AsyncGenerator[Frame]) -> None:
        """Make it in a task of the server's, which no client's hanging up ends."""
        self._making = asyncio.create_task(self._make(frames))
        # Also when the server itself ends: a response must not look as if it were still being made.
        self._making.add_done_callback(lambda _: self.stop())

    def stop(self) -> None:
        """Stop making it. It is cancelled unless it has ended, and its streams end. One made on its connection continues."""
        if self._making is not None:
            self.response.cancel()
            self._making.cancel()
            if self.log is not None:
                self.log.close()

    async def _make(self, frames: AsyncGenerator[Frame]) -> None:
        async for frame in frames:
            if self.log is not None:
                self.log.append(frame)


class Store:
    """The latest ``limit`` responses, by their id. One more, and the oldest is forgotten; if it is still being made, it is stopped."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._stored: dict[str, Stored] = {}

    def unused(self, identity: RequestIdentity) -> RequestIdentity:
        """This identity, or one like it, whose response id is not that of a response still being made.

        One that has ended gives way to its like, so that a request answered before is answered with the same bytes.
        """
        while (stored := self._stored.get(identity.id("resp_"))) is not None and stored.response.running:
            identity = identity.another()
        return identity

    def keep(self, stored: Stored) -> None:
        self._stored.pop(stored.response.id, None)
        self._stored[stored.response.id] = stored
        while len(self._stored) > self._limit:
            self._stored.pop(next(iter(self._stored))).stop()

    def find(self, id: str) -> Stored | None:
        """The response of that id, if it is known. One made on its connection is not, until it has ended."""
        stored = self._stored.get(id)
        if stored is None or (stored.response.running and not stored.response.background):
            return None
        return stored

    def get(self, id: str) -> Stored:
        """The response of that id. Raises RequestError (404) when it is not known."""
        stored = self.find(id)
        if stored is None:
            raise RequestError(f"Response with id '{id}' not found.", status=404)
        return stored

    def previous(self, id: str) -> ModelResponse:
        """The turn before the one that is asked for. Raises RequestError when it is not known."""
        stored = self.find(id)
        if stored is None:
            raise RequestError(
                f"Previous response with id '{id}' not found.",
                param="previous_response_id",
                code="previous_response_not_found",
            )
        return stored.response

    def delete(self, id: str) -> None:
        """Forget a response. Raises RequestError when it is not known, or still being made."""
        if self.get(id).response.running:
            raise RequestError("Cannot delete an in-flight response.", param="response_id")
        del self._stored[id]
