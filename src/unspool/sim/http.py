"""HTTP/1.1 messages out of the bytes of a connection, and into them, by h11. No sockets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus

import h11

#: Header fields in their order, each with the spelling and the bytes that it was sent with.
HeaderFields = list[tuple[bytes, bytes]]

# An event may be an image of megabytes; a head is not.
_LONGEST_HEAD = 1 << 20
# What belongs to one connection and not to the message (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade", b"proxy-connection"}
)


def server_connection() -> h11.Connection:
    """The side of a connection that reads one request and writes its response."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)


def request(method: bytes, target: bytes, headers: HeaderFields, body: bytes) -> bytes:
    """Encode one request."""
    http = h11.Connection(h11.CLIENT)
    head = http.send(h11.Request(method=method, target=target, headers=headers)) or b""
    return head + (http.send(h11.Data(body)) or b"" if body else b"") + (http.send(h11.EndOfMessage()) or b"")


def response(status: int, headers: HeaderFields) -> h11.Response:
    """The head of a response, with the reason phrase that its status has."""
    try:
        reason = HTTPStatus(status).phrase.encode()
    except ValueError:
        reason = b"Unknown"
    return h11.Response(status_code=status, headers=headers, reason=reason)


def forwarded(headers: Iterable[tuple[bytes, bytes]], *without: bytes) -> HeaderFields:
    """The header fields that a proxy passes on: those of the message, in their order, repeated ones too."""
    return [(name, value) for name, value in headers if name.lower() not in (*_HOP_BY_HOP, *without)]


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by their lower-case names, several of one name joined by a comma (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def encoded(headers: Iterable[tuple[str, str]]) -> HeaderFields:
    """Header fields as bytes. A character that HTTP has no byte for becomes a question mark."""
    return [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers]


class ResponseReader:
    """Reads one response to a request with this ``method``. ``is_complete`` once its end has arrived."""

    def __init__(self, method: str) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        # h11 has to see the request: the response to HEAD has no body, whatever its headers say.
        self._http.send(h11.Request(method=method, target="/", headers=[("Host", "upstream")]))
        self._http.send(h11.EndOfMessage())
        self.is_complete = False

    def feed(self, data: bytes) -> Iterator[h11.Response | h11.Data]:
        """Take bytes, empty ones for the end of the connection; give the head and the pieces of the body that are in them.

        Raises h11.RemoteProtocolError at bytes that are no HTTP, and for a connection that ends before its response.
        """
        if self.is_complete:
            return
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response | h11.Data):
                yield event
            elif isinstance(event, h11.EndOfMessage):
                self.is_complete = True
                return
            # Interim responses, such as 103, precede the response itself.
            elif not isinstance(event, h11.InformationalResponse):
                return
