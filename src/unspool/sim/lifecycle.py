"""The life of a response: created on its connection or in the background, retrieved, streamed again, cancelled, deleted.

What OpenAI's guide "Background mode" and the API reference leave open is answered as its API has been seen to answer:

- A response made on its connection cannot be retrieved before it has ended. When its client hangs up, it is cancelled.
- Only a background response that was asked for as a stream can be streamed again, and only while it is young.
- A cancelled response has no output. Whether OpenAI ends the streams of one with an event is not documented, and the API has no
  event for it; here they end in good order after the last event before, without a terminal one, and the response's status says why.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response

from unspool.sim.clock import Clock
from unspool.sim.endpoints import fields, responses
from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.models import Rules
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.responses import ModelResponse
from unspool.sim.errors import RequestError
from unspool.sim.frames import Frame, JSONObject
from unspool.sim.pace import Pace, Timing
from unspool.sim.script import Find, ScriptedAnswer
from unspool.sim.store import Store, Stored
from unspool.sim.streaming import EventStream, JSONAnswer, PacedFrames, WholeAnswer

# The states in which a response cannot be cancelled any more. A cancelled one can, to no effect.
_CANNOT_CANCEL = {
    "completed": "Cannot cancel a completed response.",
    "incomplete": "Cannot cancel a response in terminal state.",
}


# The share of waits that a longest one is longer than: those that are longer still are too rare to listen for.
_RARE = 0.999


class Lifecycle:
    """The handlers of ``/v1/responses`` and the paths below it. ``resumable_for`` is in seconds of the ``clock``.

    ``finder`` gives what finds the scripted answer to a request, and ``faulty`` the response that has the script's faults.
    """

    def __init__(
        self,
        *,
        pace: Pace,
        event_ids: bool,
        clock: Callable[[], float],
        resumable_for: float,
        rules: Rules,
        keepalive: float,
        finder: Callable[[Request], Find],
        faulty: Callable[[Request, ScriptedAnswer, Response], Response],
    ) -> None:
        self._pace = pace
        self._rules = rules
        self._keepalive = keepalive
        self._finder = finder
        self._faulty = faulty
        self._event_ids = event_ids
        self._clock = clock
        self._resumable_for = resumable_for
        self._store = Store()

    async def create(self, request: Request, identity: RequestIdentity) -> Response:
        asked = fields.parse(await request.body())
        find = self._finder(request)
        response = ModelResponse(asked, self._store.unused(identity), self._store.previous, self._rules, find)
        script = response.script
        pace = self._pace if script is None else self._pace.varied(script.ttft, script.itl)
        timing = pace.of(identity.id("pace_"))
        answered = self._answer(response, timing)
        return answered if script is None else self._faulty(request, script, answered)

    def _answer(self, response: ModelResponse, timing: Timing) -> Response:
        if response.store:
            stored = Stored(response, self._clock())
            self._store.keep(stored)
            if response.background:
                return self._begin(stored, timing)
        if response.stream:
            return EventStream(self._frames(response, timing), event_ids=self._event_ids, on_end=response.cancel)
        return WholeAnswer(response.whole, timing, response.tokens, on_end=response.cancel)

    async def count_input(self, request: Request, identity: RequestIdentity) -> Response:
        count = responses.count_input(fields.parse(await request.body()), self._store.previous)
        return JSONAnswer({"object": "response.input_tokens", "input_tokens": count})

    async def compact(self, request: Request, identity: RequestIdentity) -> Response:
        return JSONAnswer(responses.compacted(fields.parse(await request.body()), identity, self._store.previous))

    async def retrieve(self, request: Request, identity: RequestIdentity) -> Response:
        stored = self._store.get(request.path_params["id"])
        query = fields.parse_query(request.query_params)
        if query.flag("stream", False):
            return self._resume(stored, query, request.headers.get("last-event-id"))
        return JSONAnswer(stored.response.snapshot())

    async def cancel(self, request: Request, identity: RequestIdentity) -> Response:
        stored = self._store.get(request.path_params["id"])
        response = stored.response
        if not response.background:
            raise RequestError("Cannot cancel a synchronous response.", param="response_id")
        if response.status in _CANNOT_CANCEL:
            raise RequestError(_CANNOT_CANCEL[response.status], param="response_id")
        stored.stop()
        return JSONAnswer(response.snapshot())

    async def delete(self, request: Request, identity: RequestIdentity) -> Response:
        id = request.path_params["id"]
        self._store.delete(id)
        return JSONAnswer({"id": id, "object": "response", "deleted": True})

    async def list_input(self, request: Request, identity: RequestIdentity) -> Response:
        """List what the response was asked with: its own input, without that of the turns before."""
        items = self._store.get(request.path_params["id"]).response.input_items
        query = fields.parse_query(request.query_params)
        limit = query.integer("limit", minimum=1, maximum=100) or 20
        order = query.text("order") or "desc"
        if order not in ("asc", "desc"):
            raise query.wrong_value("order", f"'{order}' is neither 'asc' nor 'desc'.")
        if order == "desc":
            items = items[::-1]
        after = query.text("after")
        if after is not None:
            ids = [item["id"] for item in items]
            if after not in ids:
                raise query.wrong_value("after", f"there is no item '{after}' in this list.")
            items = items[ids.index(after) + 1 :]
        page = items[:limit]
        return JSONAnswer(
            {
                "object": "list",
                "data": page,
                "first_id": page[0]["id"] if page else "",
                "last_id": page[-1]["id"] if page else "",
                "has_more": len(items) > limit,
            }
        )

    def _frames(self, response: ModelResponse, timing: Timing) -> AsyncGenerator[Frame]:
        frames = PacedFrames(response.frames(), timing)
        # Only where a silence can be so long: it takes a task for each event to hear it.
        longest = max(
            self._pace.ttft.at(_RARE), self._pace.itl.at(_RARE) * max(response.choice.thought, self._pace.burst)
        )
        return kept_alive(frames, self._keepalive, timing.clock) if 0 < self._keepalive < longest else frames

    def _begin(self, stored: Stored, timing: Timing) -> Response:
        response = stored.response
        stored.make(self._frames(response, timing))
        if stored.log is not None:
            return EventStream(stored.log.read(), event_ids=self._event_ids)
        return JSONAnswer(response.snapshot())

    def _resume(self, stored: Stored, query: Fields, last_event_id: str | None) -> Response:
        if not stored.response.background:
            raise _not_streamable("it was not created with background=true")
        if stored.log is None:
            raise _not_streamable("it was not created with stream=true")
        if self._clock() - stored.begun >= self._resumable_for:
            raise RequestError("This response can no longer be streamed because it is more than 5 minutes old")
        after = query.integer("starting_after", minimum=0)
        # As EventSource does it (HTML, 9.2.4): anything in the header but an id that was sent by this server is ignored.
        if after is None and self._event_ids and last_event_id and last_event_id.isdecimal():
            after = int(last_event_id)
        frames = stored.log.read(0 if after is None else after + 1)
        if not query.flag("include_obfuscation", True):
            frames = _without_obfuscation(frames)
        return EventStream(frames, event_ids=self._event_ids)


def _not_streamable(why: str) -> RequestError:
    return RequestError(f"This response cannot be streamed because {why}.", param="stream")


async def kept_alive(frames: AsyncGenerator[Frame], silence: float, clock: Clock) -> AsyncGenerator[Frame]:
    """The events of a response, and a ``keepalive`` for each so many seconds without one. It takes a number like the others."""
    added = 0
    number = 0
    async with aclosing(frames):
        coming = asyncio.ensure_future(anext(frames, None))
        try:
            while True:
                silent = asyncio.ensure_future(clock.sleep(silence))
                await asyncio.wait({coming, silent}, return_when=asyncio.FIRST_COMPLETED)
                silent.cancel()
                if not coming.done():
                    alive = {"type": "keepalive", "sequence_number": number}
                    yield Frame.of(alive, type="keepalive", id=str(number))
                    added += 1
                else:
                    frame = coming.result()
                    if frame is None:
                        return
                    if added:
                        body: JSONObject = json.loads(frame.data)
                        body["sequence_number"] = number
                        frame = Frame.of(body, type=frame.type, id=str(number))
                    yield frame
                    coming = asyncio.ensure_future(anext(frames, None))
                number += 1
        finally:
            coming.cancel()
            await asyncio.wait({coming})


async def _without_obfuscation(frames: AsyncGenerator[Frame]) -> AsyncGenerator[Frame]:
    async with aclosing(frames):
        async for frame in frames:
            body: JSONObject = json.loads(frame.data)
            body.pop("obfuscation", None)
            yield Frame.of(body, type=frame.type, id=frame.id)
