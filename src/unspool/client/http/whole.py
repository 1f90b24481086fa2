"""One request and its complete answer, for what is short and no stream; with what libcurl saw of the connection on the way."""

from __future__ import annotations

import time

from unspool.client.http import Request
from unspool.client.http.curl import pycurl
from unspool.client.http.transport import Reactor, Transfer
from unspool.outcome import UNREACHABLE, Fault
from unspool.value import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Connection(Value):
    """How a connection came to be: the address it leads to, and when each part of the way was done, in seconds from the start.

    A part that was not reached, or that there was no need for, is 0: ``tls`` for plain http, ``resolved`` and ``connected`` for a connection
    that was there already. Through a proxy these tell of the way to the proxy. ``issuer`` and ``expires`` are the certificate's.
    """

    __slots__ = ("address", "resolved", "connected", "tls", "answered", "issuer", "expires", "http_version")

    def __init__(
        self,
        address: str = "",
        resolved: float = 0.0,
        connected: float = 0.0,
        tls: float = 0.0,
        answered: float = 0.0,
        issuer: str = "",
        expires: str = "",
        http_version: str = "",
    ) -> None:
        self.address = address
        self.resolved = resolved
        self.connected = connected
        self.tls = tls
        self.answered = answered
        self.issuer = issuer
        self.expires = expires
        self.http_version = http_version


class Reply(Value):
    """An answer: ``status`` is 0 when there was none, and ``fault`` then says why. ``headers`` have lower-case names."""

    __slots__ = ("status", "headers", "body", "fault", "connection")

    def __init__(
        self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None, connection: Connection
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.fault = fault
        self.connection = connection


class _Observed(Transfer):
    """A transfer that looks at its connection before libcurl forgets it."""

    connection = Connection()

    def finish(self, code: int, message: str) -> None:
        if not self.over:
            self.connection = _look_at(self.curl, self.http_version)
        super().finish(code, message)


def fetch(request: Request, timeout: float, *, most: int | None = None) -> Reply:
    """Send a request and wait for all of its answer, at most ``timeout`` seconds. What fails is in the reply, not raised.

    A body of more than ``most`` bytes is such a failure.
    """
    transfer = _Observed(request, timeout)
    transfer.curl.setopt(pycurl.OPT_CERTINFO, 1)
    reactor = Reactor()
    reactor.start(transfer)
    deadline = time.monotonic() + timeout
    pieces = []
    size = 0
    while not transfer.over and (left := deadline - time.monotonic()) > 0 and (most is None or size <= most):
        reactor.wait(left)
        pieces.append(transfer.take())
        size += len(pieces[-1])
    late = Fault(UNREACHABLE, f"{request.url.partition('?')[0]} did not answer within {timeout:g} s")
    if most is not None and size > most:
        late = Fault(UNREACHABLE, f"{request.url.partition('?')[0]} sends more than {most:,} bytes")
    if not transfer.over:
        reactor.cancel(transfer, late)
    body = b"".join([*pieces, transfer.take()])
    reactor.close()
    return Reply(transfer.status, transfer.headers, body, transfer.fault, transfer.connection)


def _look_at(curl: Any, http_version: str) -> Connection:
    seen = curl.getinfo
    chain = seen(pycurl.INFO_CERTINFO) or []
    certificate = dict(pair for pair in (chain[0] if chain else ()) if len(pair) == 2)
    address = seen(pycurl.PRIMARY_IP)
    return Connection(
        f"{address}:{seen(pycurl.PRIMARY_PORT)}" if address else "",
        seen(pycurl.NAMELOOKUP_TIME),
        seen(pycurl.CONNECT_TIME),
        seen(pycurl.APPCONNECT_TIME),
        seen(pycurl.STARTTRANSFER_TIME),
        certificate.get("Issuer", ""),
        certificate.get("Expire date", ""),
        http_version,
    )
