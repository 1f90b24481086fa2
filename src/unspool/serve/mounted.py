"""Asking and watching as one ASGI application, to be mounted in FastAPI, Starlette or any other framework: see `unspool.Relay.app`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from unspool.client.aio import AsyncReading
from unspool.jsontext import dumps, parse
from unspool.serve.relay import Relay

Message = MutableMapping[str, Any]
#: Makes an answer of what a page sent, or a coroutine that does; raises ValueError to refuse it.
Ask = Callable[[Any], "AsyncReading[Any] | Awaitable[AsyncReading[Any]]"]

# A question, with the pictures that a page may send along.
_LONGEST_BODY = 32 << 20


class RelayApp:
    """``POST /`` begins an answer and says its id; ``GET /ID`` is what an EventSource reads; ``POST /ID/cancel`` stops it."""

    def __init__(self, relay: Relay, ask: Ask) -> None:
        self._relay = relay
        self._ask = ask

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")).strip("/")
        id, _, action = path.partition("/")
        headers = dict(scope["headers"])
        method = scope["method"]
        if method == "GET" and id and not action:
            last = headers.get(b"last-event-id", b"").decode("latin-1")
            response = await self._relay.response(id, last)
            return await response(scope, receive, send)
        if method == "POST" and not headers.get(b"content-type", b"").lower().startswith(b"application/json"):
            # A form of another site cannot send this type, so it cannot spend money here.
            return await _answer(send, 415, {"error": "send JSON, with the content type application/json"})
        if method == "POST" and not path:
            return await self._begin(receive, send)
        if method == "POST" and action == "cancel":
            return await _answer(send, 200, {"cancelled": await self._relay.cancel(id, "cancelled by its reader")})
        await _answer(send, 404, {"error": "POST / asks, GET /ID reads, POST /ID/cancel stops"})

    async def _begin(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        body = await _body(receive)
        question = parse(body) if body is not None else None
        if question is None:
            return await _answer(send, 400, {"error": "the body is no JSON, or too large"})
        try:
            answer = self._ask(question)
            if inspect.isawaitable(answer):
                answer = await answer
        except ValueError as error:
            return await _answer(send, 400, {"error": str(error)})
        await _answer(send, 200, {"id": self._relay.start(answer)})


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes | None:
    """The body of a request, None for one that is too large or was given up."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > _LONGEST_BODY:
            return None
        if not message.get("more_body"):
            return b"".join(pieces)


async def _answer(send: Callable[[Message], Awaitable[None]], status: int, value: dict[str, object]) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": dumps(value).encode()})
