"""Requests to the server behind the gateway, as bytes in and bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from unspool.client.http.request import Request, route_to
from unspool.client.limits import CONNECT_TIMEOUT
from unspool.client.loop import LoopTransfer, borrow, give_back, running_loop
from unspool.config.target import Target
from unspool.outcome import CUT, Fault


class Upstream:
    """The server that answers. Connections are kept for further requests. ``target.key`` is the gateway's, None for callers' keys."""

    def __init__(self, target: Target, *, connect_timeout: float = CONNECT_TIMEOUT, use_proxy: bool = True) -> None:
        self.target = target
        self._route = route_to(target, use_proxy=use_proxy)
        self._connect_timeout = connect_timeout

    def open(self) -> None:
        """Take part in the running event loop's connections."""
        self.loop = running_loop()
        self._reactor = borrow(self.loop)

    def close(self) -> None:
        """Close the connections, where nobody else uses them."""
        give_back(self.loop)

    def url(self, path: str, query: str = "") -> str:
        """The URL of a path below the base URL."""
        url = self.target.url(path)
        if not query:
            return url
        return f"{url}{'&' if '?' in url else '?'}{query}"

    def call(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Call:
        """Send a request."""
        sent = {**headers, **self.target.headers, **self.target.auth_headers()}
        sent["accept-encoding"] = "identity"
        transfer = LoopTransfer(Request(method, url, sent, body, self._route), self._connect_timeout)
        self._reactor.start(transfer)
        return Call(transfer, self)

    def cancel(self, transfer: LoopTransfer) -> None:
        """End a transfer and close its connection."""
        self._reactor.cancel(transfer)

    def leave(self, transfer: LoopTransfer) -> None:
        """Let a transfer whose answer is complete come to its end, so that its connection can be used again."""
        self._reactor.leave(transfer)


class Call:
    """A request under way. ``status`` and ``headers`` count after `head`; ``fault`` says why it broke, None for a clean end."""

    def __init__(self, transfer: LoopTransfer, upstream: Upstream) -> None:
        self._transfer = transfer
        self._upstream = upstream

    @property
    def status(self) -> int:
        """The HTTP status, 0 while there is none."""
        return self._transfer.status

    @property
    def headers(self) -> dict[str, str]:
        """The response's headers, with lower-case names."""
        return self._transfer.headers

    @property
    def fault(self) -> Fault | None:
        """What broke the transfer."""
        return self._transfer.fault

    async def head(self) -> bool:
        """Wait for the response's head; False where none came, and ``fault`` says why."""
        while not self._transfer.status and not self._transfer.over:
            await self._news()
        return bool(self._transfer.status)

    async def read(self) -> bytes:
        """The next bytes of the body, nothing at its end."""
        transfer = self._transfer
        while not transfer.held and not transfer.over:
            await self._news()
        return transfer.take()

    async def read_all(self, limit: int) -> bytes:
        """The complete body. ValueError where it is longer than this."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                raise ValueError(f"upstream's response is larger than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def stop(self) -> None:
        """Close the connection."""
        self._upstream.cancel(self._transfer)

    def leave(self) -> None:
        """Read nothing more: all that matters has come."""
        if self._transfer.over:
            return
        self._upstream.leave(self._transfer)

    def _news(self) -> asyncio.Future[None]:
        waiter = self._transfer.waiter = self._upstream.loop.create_future()
        return waiter


def fault_of(call: Call) -> Fault | None:
    """What broke a response, with a word for a head that never came."""
    if call.status or call.fault:
        return call.fault
    return Fault(CUT, "upstream closed the connection before its answer began", True)
