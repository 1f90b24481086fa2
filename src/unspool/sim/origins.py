"""Checks which web pages may ask a server on this machine (CORS), and under which host names.

A page of any site can send requests to a loopback address, and by a DNS name of its own that points there also read the answers. So on a
loopback address only the names of this machine are answered to; and pages are answered that come from this machine, from the host that
they ask, or from one of the origins that are named. Programs send no Origin, and are not concerned.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unspool.sim.errors import RequestError
from unspool.sim.faults.middleware import refusal_of, send_refusal

# How long a browser may remember the answer to a preflight, in seconds.
_MAX_AGE = "600"
_EXPOSED = "x-request-id, x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, retry-after, retry-after-ms"


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine."""
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


class OriginMiddleware:
    """Checks Host and Origin, answers preflights, and lets pages of the allowed ``origins`` read answers; "*" allows all."""

    def __init__(self, app: ASGIApp, origins: Collection[str] = ()) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = urlsplit("//" + headers.get(b"host", "")).hostname or ""
        address = (scope.get("server") or ("",))[0]
        if host and is_loopback(address) and not is_loopback(host) and host != address:
            refused = RequestError(
                f"This server does not answer for the host {host}, only for the names of its own machine.", status=403
            )
            return await send_refusal(send, refusal_of(refused))
        origin = headers.get(b"origin")
        if origin is None:
            return await self._app(scope, receive, send)
        if not self._allows(origin, host):
            refused = RequestError(
                f"Pages of {origin} may not use this server; allow them with --allow-origin.", status=403
            )
            return await send_refusal(send, refusal_of(refused))
        allowed = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        wanted = headers.get(b"access-control-request-method")
        if scope["method"] == "OPTIONS" and wanted is not None:
            asked = headers.get(b"access-control-request-headers", "")
            answer = {"allow-methods": wanted, "allow-headers": asked, "max-age": _MAX_AGE}
            if b"access-control-request-private-network" in headers:
                answer["allow-private-network"] = "true"
            allowed += [(f"access-control-{name}".encode(), value.encode("latin-1")) for name, value in answer.items()]
            await send({"type": "http.response.start", "status": 204, "headers": allowed})
            return await send({"type": "http.response.body", "body": b""})

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                exposed = (b"access-control-expose-headers", _EXPOSED.encode())
                message = {**message, "headers": [*message.get("headers", ()), *allowed, exposed]}
            await send(message)

        await self._app(scope, receive, send_allowed)

    def _allows(self, origin: str, host: str) -> bool:
        name = urlsplit(origin).hostname or ""
        return "*" in self._origins or origin.lower() in self._origins or is_loopback(name) or (name == host != "")
