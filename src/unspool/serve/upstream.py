"""Requests to the server behind the gateway, as bytes in and bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from unspool.client.http import DIRECT, Request, route_to
from unspool.client.http.transport import proxy_for
from unspool.client.limits import CONNECT_TIMEOUT
from unspool.client.loop import LoopTransfer, borrow, give_back, running_loop
from unspool.config.target import Target
from unspool.outcome import CUT, Fault
from unspool.serve.direct import Connections, DirectCall

Sink = Callable[[bytes], bool]


class Call(Protocol):
    """A request under way. ``status`` and ``headers`` (lower-case names) count after `head`; ``fault`` says why it broke."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def fault(self) -> Fault | None: ...

    async def head(self) -> bool:
        """Wait for the response's head; False where none came, and ``fault`` says why."""

    async def read(self) -> bytes:
        """The next bytes of the body, nothing at its end."""

    async def pour(self, sink: Sink) -> None:
        """Hand the body to ``sink`` as it arrives, until its end, or until ``sink`` returns True. Raises what it raises."""

    def stop(self) -> None:
        """Close the connection."""

    def leave(self) -> None:
        """Read nothing more: all that matters has come. The connection can be used again once the response has ended."""


class Upstream:
    """The server that answers. Connections are kept for further requests. ``target.key`` is the gateway's, None for callers' keys."""

    def __init__(self, target: Target, *, connect_timeout: float = CONNECT_TIMEOUT, use_proxy: bool = True) -> None:
        self.target = target
        self._route = route_to(target, use_proxy=use_proxy)
        self._connect_timeout = connect_timeout
        plain = Request("GET", target.base_url, {}, None, self._route)
        self._direct: Connections | None = None
        if target.base_url.startswith("http://") and (self._route is DIRECT or not proxy_for(plain)):
            self._direct = Connections(target.base_url, connect_timeout)

    def open(self) -> None:
        """Take part in the running event loop's connections."""
        self.loop = running_loop()
        self._reactor = borrow(self.loop)

    def close(self) -> None:
        """Close the connections, where nobody else uses them."""
        if self._direct is not None:
            self._direct.close()
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
        if self._direct is not None:
            return DirectCall(self._direct, method, url, sent, body)
        transfer = _SinkTransfer(Request(method, url, sent, body, self._route), self._connect_timeout)
        self._reactor.start(transfer)
        return _CurlCall(transfer, self)

    def cancel(self, transfer: LoopTransfer) -> None:
        """End a transfer and close its connection."""
        self._reactor.cancel(transfer)

    def leave(self, transfer: LoopTransfer) -> None:
        """Let a transfer whose answer is complete come to its end, so that its connection can be used again."""
        self._reactor.leave(transfer)


class _SinkTransfer(LoopTransfer):
    """A transfer that can hand its body on without holding it."""

    sink: Sink | None = None
    error: BaseException | None = None

    def _taker(self) -> Callable[[bytes], int | None]:
        hold = super()._taker()

        def take(chunk: bytes) -> int | None:
            sink = self.sink
            if sink is None:
                return hold(chunk)
            try:
                if sink(chunk):
                    self.sink = None
                    self.wake()
            except BaseException as error:
                self.sink, self.error = None, error
                self.wake()
            return None

        return take


class _CurlCall:
    """A request by libcurl: TLS, proxies, HTTP/2."""

    def __init__(self, transfer: _SinkTransfer, upstream: Upstream) -> None:
        self._transfer = transfer
        self._upstream = upstream

    @property
    def status(self) -> int:
        return self._transfer.status

    @property
    def headers(self) -> dict[str, str]:
        return self._transfer.headers

    @property
    def fault(self) -> Fault | None:
        return self._transfer.fault

    async def head(self) -> bool:
        while not self._transfer.status and not self._transfer.over:
            await self._news()
        return bool(self._transfer.status)

    async def read(self) -> bytes:
        transfer = self._transfer
        while not transfer.held and not transfer.over:
            await self._news()
        return transfer.take()

    async def pour(self, sink: Sink) -> None:
        transfer = self._transfer
        while transfer.held:
            if sink(transfer.take()):
                return
        transfer.sink = sink
        while transfer.sink is not None and not transfer.over:
            await self._news()
        if transfer.error is not None:
            raise transfer.error

    def stop(self) -> None:
        self._upstream.cancel(self._transfer)

    def leave(self) -> None:
        if not self._transfer.over:
            self._upstream.leave(self._transfer)

    def _news(self) -> asyncio.Future[None]:
        waiter = self._transfer.waiter = self._upstream.loop.create_future()
        return waiter


async def read_all(call: Call, limit: int) -> bytes:
    """The complete body of a response. ValueError where it is longer than this."""
    pieces: list[bytes] = []
    size = 0
    while piece := await call.read():
        size += len(piece)
        if size > limit:
            raise ValueError(f"upstream's response is larger than {limit} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def fault_of(call: Call) -> Fault | None:
    """What broke a response, with a word for a head that never came."""
    if call.status or call.fault:
        return call.fault
    return Fault(CUT, "upstream closed the connection before its answer began", True)
