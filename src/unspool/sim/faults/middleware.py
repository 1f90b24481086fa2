"""Chooses a request's faults, before the application, or an upstream server, sees it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterable, Mapping

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unspool.jsontext import parse
from unspool.sim.clock import Clock
from unspool.sim.connection import BODY_TIMEOUT
from unspool.sim.errors import RequestError
from unspool.sim.faults.dialects import BY_NAME, Dialect, endpoint
from unspool.sim.faults.stream_plan import FaultPlan, Refusal
from unspool.sim.faults.table import HEADER, read
from unspool.sim.received import ReceivedRequest
from unspool.sim.streaming import CLOCK, PLAN, RECEIVED, cut, while_connected

#: More than any model reads; a larger body is a mistake.
LARGEST_BODY = 64 * 1024 * 1024

# A simulator may run for days; what its tests look back on is the last few.
_KEPT_REQUESTS = 1_000


class FaultChooser:
    """Chooses the faults of each request: those its own header names, else the script's next, else ``always``.

    Only requests at or below the three endpoints take their turns in the script.

    Before them all comes what the ``dialect`` does to every answer. Safe to use from another thread than the server's.
    """

    def __init__(
        self, always: Iterable[str] = (), script: Iterable[str] = (), dialect: Dialect = BY_NAME["openai"]
    ) -> None:
        self.dialect = dialect
        self._always = "; ".join(always)
        read(self._always)
        self._script: deque[str] = deque()
        self._lock = threading.Lock()
        self._requests: deque[ReceivedRequest] = deque(maxlen=_KEPT_REQUESTS)
        self.script(*script)

    def script(self, *faults: str) -> None:
        """Set the faults of the next requests, in order; an empty text means success. Raises ValueError for an unknown fault."""
        for each in faults:
            read(each)
        with self._lock:
            self._script.extend(faults)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The latest requests that came, oldest first."""
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        """Forget the received requests and the rest of the script."""
        with self._lock:
            self._requests.clear()
            self._script.clear()

    def choose(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[FaultPlan, ReceivedRequest]:
        """Record a request, and return the plan for it. Raises ValueError when its header is not understood."""
        faults = headers.get(HEADER)
        if faults is None:
            with self._lock:
                scripted = self._script and endpoint(path) is not None
                faults = self._script.popleft() if scripted else self._always
        received = ReceivedRequest(method, path, dict(headers), body, faults)
        with self._lock:
            self._requests.append(received)
        plan = read(faults, self.dialect.plan(path))
        if plan.needs and plan.refusal is None:
            asked = parse(body)
            if why := next(filter(None, (need(asked) for need in plan.needs)), None):
                plan.refusal = refusal_of(RequestError(why))
        if plan.refusal is not None:
            plan.refusal = self.dialect.worded(plan.refusal)
            plan.refusal.headers = {**plan.every, **plan.refusal.headers}
        if plan.refusal is not None or plan.hang_up:
            received.answered_by = "fault"
        return plan, received


class FaultMiddleware:
    """The ASGI application around the simulator's own: it carries out what a plan says before there is an answer."""

    def __init__(self, app: ASGIApp, chooser: FaultChooser, clock: Clock | None = None) -> None:
        self._app = app
        self._chooser = chooser
        self._clock = clock or Clock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self._clock.attend()
        try:
            body = await body_of(receive)
        except RequestError as error:
            return await send_refusal(send, refusal_of(error), close=True)
        if body is None:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            plan, received = self._chooser.choose(scope["method"], scope["path"], headers, body)
        except ValueError as error:
            wrong = RequestError(f"{HEADER}: {error}.", param=HEADER)
            return await send_refusal(send, refusal_of(wrong))
        scope[PLAN] = plan
        scope[CLOCK] = self._clock
        scope[RECEIVED] = received
        unread = [edited(body, plan)]

        async def replay() -> Message:
            return {"type": "http.request", "body": unread.pop(), "more_body": False} if unread else await receive()

        if plan.precedes:
            # The request has been read, so what its client can say is that it hung up.
            await BeforeAnswer(plan, self._clock, self._app, replay)(scope, receive, send)
        else:
            await self._app(scope, replay, send)


class BeforeAnswer(Response):
    """Carries out what a plan says before there is an answer, and then lets ``app`` answer, unless the plan leaves none to give.

    ``replay`` is what the application receives, where that is not what this is called with.
    """

    def __init__(self, plan: FaultPlan, clock: Clock, app: ASGIApp, replay: Receive | None = None) -> None:
        super().__init__()
        self._plan = plan
        self._clock = clock
        self._app = app
        self._replay = replay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        waited = False

        async def before() -> None:
            nonlocal waited
            await self._clock.sleep(self._plan.wait)
            waited = True
            if self._plan.hang_up:
                await cut(scope)
            elif self._plan.refusal is not None:
                await send_refusal(send, self._plan.refusal)

        await while_connected(receive, before())
        if waited and not self._plan.hang_up and self._plan.refusal is None:
            await self._app(scope, self._replay or receive, send)


def edited(body: bytes, plan: FaultPlan) -> bytes:
    """Return a request's body with the changes of a plan. A body that is not a JSON object is unchanged."""
    if not (plan.unstreamed or plan.usage):
        return body
    try:
        asked = json.loads(body)
    except ValueError:
        return body
    if not isinstance(asked, dict):
        return body
    if plan.unstreamed:
        asked["stream"] = False
        asked.pop("stream_options", None)
    elif "input" not in asked and asked.get("stream"):
        asked["stream_options"] = {**(asked.get("stream_options") or {}), "include_usage": True}
    return json.dumps(asked).encode()


def refusal_of(error: RequestError) -> Refusal:
    """The response that says so."""
    return Refusal(error.status, {"content-type": "application/json"}, json.dumps(error.body()).encode())


async def send_refusal(send: Send, refusal: Refusal, *, close: bool = False) -> None:
    """Send a response in place of an answer; ``close`` the connection after it, where the rest of the request is not read."""
    headers = {"content-length": str(len(refusal.body)), **refusal.headers} | ({"connection": "close"} if close else {})
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": refusal.body, "more_body": False})


async def body_of(receive: Receive) -> bytes | None:
    """The body of a request; None when the client hung up before its end. Raises RequestError for one too large, or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise RequestError(f"Maximum content size limit ({LARGEST_BODY}) exceeded", status=413)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise RequestError("The request's body did not arrive in time.", status=408) from None
