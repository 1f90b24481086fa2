"""The simulator's control over HTTP, for tests in any language: scripted answers, faults, requests, the clock.

All paths are below ``/_unspool``. They are there on a loopback address, and elsewhere only where they are asked for: whoever reaches them
says what the server answers, and reads what it was asked.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from unspool.sim.clock import Clock, VirtualClock
from unspool.sim.errors import RequestError
from unspool.sim.faults.middleware import FaultChooser, body_of, refusal_of, send_refusal
from unspool.sim.origins import is_loopback
from unspool.sim.script import Script

PREFIX = "/_unspool"


class Control:
    """Answers what is below the prefix, and passes on all else. ``allowed`` None is on loopback addresses alone."""

    def __init__(
        self, app: ASGIApp, script: Script, faults: FaultChooser, clock: Clock, *, allowed: bool | None
    ) -> None:
        self._app = app
        self._script = script
        self._faults = faults
        self._clock = clock
        self._allowed = allowed
        self._begun = script.rules
        routes = [
            ("", "GET", self._overview),
            ("/answers", "GET", self._answers),
            ("/answers", "POST", self._add_answers),
            ("/answers", "PUT", self._set_answers),
            ("/answers", "DELETE", self._clear_answers),
            ("/unused", "GET", self._unused),
            ("/requests", "GET", self._requests),
            ("/faults", "POST", self._add_faults),
            ("/reset", "POST", self._reset),
            ("/clock", "POST", self._advance),
        ]
        self._paths = sorted({f"{PREFIX}{path}" for path, _, _ in routes})
        self._routes = Starlette(
            routes=[Route(PREFIX + path, call, methods=[method]) for path, method, call in routes],
            exception_handlers={RequestError: _refuse, HTTPException: self._unmatched},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (scope["path"] == PREFIX or scope["path"].startswith(PREFIX + "/")):
            return await self._app(scope, receive, send)
        allowed = self._allowed
        if allowed is None:
            allowed = is_loopback((scope.get("server") or ("",))[0])
        if not allowed:
            refused = RequestError("The control of this simulator is off; turn it on with --control.", status=403)
            return await send_refusal(send, refusal_of(refused))
        await self._routes(scope, receive, send)

    async def _unmatched(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        words = f"There is no {request.method} {request.url.path}, only {', '.join(self._paths)}."
        return JSONResponse(RequestError(words).body(), status)

    async def _overview(self, request: Request) -> Response:
        return JSONResponse({"simulator": "unspool", "paths": self._paths})

    async def _answers(self, request: Request) -> Response:
        return JSONResponse(self._script.described())

    async def _add_answers(self, request: Request) -> Response:
        value = await _body(request)
        try:
            # A single rule needs no array.
            self._script.read(
                [value] if isinstance(value, dict) and ("answer" in value or "sequence" in value) else value
            )
        except ValueError as error:
            raise RequestError(f"{error}.", code="invalid_answers") from None
        return JSONResponse(self._script.described())

    async def _set_answers(self, request: Request) -> Response:
        before = self._script.rules
        self._script.clear()
        try:
            return await self._add_answers(request)
        except RequestError:
            self._script.add(*before)
            raise

    async def _clear_answers(self, request: Request) -> Response:
        self._script.clear()
        return JSONResponse(self._script.described())

    async def _unused(self, request: Request) -> Response:
        return JSONResponse({"unused": self._script.unused()})

    async def _requests(self, request: Request) -> Response:
        return JSONResponse({"requests": [one.described() for one in self._faults.requests]})

    async def _add_faults(self, request: Request) -> Response:
        value = await _body(request)
        faults = value.get("script") if isinstance(value, dict) else None
        if not isinstance(faults, list) or not all(isinstance(one, str) for one in faults):
            raise RequestError('The body is an object such as {"script": ["status=429", ""]}.')
        try:
            self._faults.script(*faults)
        except ValueError as error:
            raise RequestError(f"{error}.") from None
        return JSONResponse({"script": faults})

    async def _reset(self, request: Request) -> Response:
        """Go back to the answers that the simulator began with, none of them used, no requests and no faults."""
        self._script.clear()
        for rule in self._begun:
            rule.used = rule.met = 0
        self._script.add(*self._begun)
        self._faults.forget()
        return JSONResponse(self._script.described())

    async def _advance(self, request: Request) -> Response:
        value = await _body(request)
        seconds = value.get("advance") if isinstance(value, dict) else None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e9:
            raise RequestError('The body is an object such as {"advance": 30}, in seconds.')
        if not isinstance(self._clock, VirtualClock):
            raise RequestError(
                "This simulator uses the machine's clock; start it with --virtual-clock to control the time."
            )
        await asyncio.to_thread(self._clock.advance, seconds)
        return JSONResponse({"now": self._clock()})


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return JSONResponse(error.body(), error.status)


async def _body(request: Request) -> Any:
    body = await body_of(request.receive)
    try:
        return json.loads(body or b"")
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON.") from None
