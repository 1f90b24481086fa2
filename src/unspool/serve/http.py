"""A small HTTP/1.1 server for streams: `h11` parses requests, events are written past it.

A gateway writes one short chunk for each token and viewer, so the cost of a write is the cost of the program. h11 parses and validates
each head; the body of a stream is framed here (RFC 9112, 7.1), which needs no state of h11's, and h11 ends it. Bounds on heads, bodies
and silent clients are part of it: see `Limits`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

import h11

Headers = Sequence[tuple[bytes, bytes]]

# Bytes of a request's body that are held before the socket is left alone.
_HIGH_WATER = 1 << 17
# Bytes written and not yet taken by a client at which its stream counts as slow.
_WRITE_HIGH_WATER = 1 << 17


@dataclass(slots=True)
class Limits:
    """What a client may use. Times are in seconds, sizes in bytes."""

    head_bytes: int = 1 << 16
    head_seconds: float = 15.0
    """From the connection, or the first byte of a further request, to the end of its head."""
    body_seconds: float = 20.0
    """The longest silence in the middle of a body."""
    idle_seconds: float = 75.0
    """How long a connection is kept open for the next request."""
    connections: int = 8192


class ClientGone(ConnectionError):
    """The client closed its connection, or was silent for too long in the middle of its request."""


class BodyTooLarge(Exception):
    """A request body is longer than its reader allows."""


class Request:
    """One request, with the means to answer it.

    ``path`` is decoded and has no query; ``target`` is as the client sent it. Header names are lower-case.
    """

    __slots__ = (
        *("_connection", "headers", "host", "method", "path", "peer", "query", "target"),
        *("owner", "status", "stream_id"),
    )

    def __init__(self, connection: _Connection, head: h11.Request, peer: str) -> None:
        self.method = head.method.decode("ascii")
        self.target = head.target.decode("ascii", "replace")
        path, _, query = self.target.partition("?")
        self.path = unquote(path)
        self.query = dict(parse_qsl(query, keep_blank_values=True))
        self.headers: list[tuple[bytes, bytes]] = list(head.headers)
        self.host = self.header("host") or ""
        self.peer = peer
        self._connection = connection
        #: What a handler finds out, for the log: the status that was sent, whose request it is, which stream answers it.
        self.status = 0
        self.owner: str | None = None
        self.stream_id: str | None = None

    def header(self, name: str) -> str | None:
        """The value of a header, several joined by commas; None when it is absent."""
        wanted = name.encode("ascii")
        values = [value.decode("latin-1") for key, value in self.headers if key == wanted]
        return ", ".join(values) if values else None

    async def body(self, limit: int) -> bytes:
        """Read the body. Raises BodyTooLarge and ClientGone."""
        pieces: list[bytes] = []
        size = 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                raise BodyTooLarge
            pieces.append(piece)
        return b"".join(pieces)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; the client is slowed down to the reader's pace. Raises ClientGone."""
        while (piece := await self._connection.read_body()) is not None:
            yield piece

    async def gone(self) -> None:
        """Return when the client has closed its connection."""
        await asyncio.shield(self._connection.lost)

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed its connection."""
        return self._connection.lost.done()

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Send a complete response."""
        self.status = status
        self._connection.send_head(status, [*headers, (b"content-length", b"%d" % len(body))])
        if body and self.method != "HEAD":
            self._connection.send_data(body)
        self._connection.send_end()

    def stream(self, status: int, headers: Headers) -> ResponseStream:
        """Send a head; the body is written piece by piece."""
        self.status = status
        return self._connection.begin_stream(status, headers)


def as_chunk(data: bytes) -> bytes:
    """Frame bytes of a body (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ResponseStream:
    """The body of a response that is written as it becomes known. Nothing is sent to a client that has gone."""

    __slots__ = ("_connection", "_ended", "is_chunked", "write_chunk")

    def __init__(self, connection: _Connection, *, chunked: bool) -> None:
        self._connection = connection
        self._ended = False
        #: Whether the body is chunked; ``write_chunk`` then sends what `as_chunk` made, for several at once.
        self.is_chunked = chunked
        self.write_chunk = connection.transport.write

    def write(self, data: bytes) -> None:
        """Send bytes, as one chunk."""
        self._connection.write(as_chunk(data) if self.is_chunked else data)

    @property
    def on_slow(self) -> Callable[[], None] | None:
        """Called when the client takes less than is sent, and when it has gone."""
        return self._connection.on_slow

    @on_slow.setter
    def on_slow(self, callback: Callable[[], None] | None) -> None:
        self._connection.on_slow = callback

    @property
    def is_full(self) -> bool:
        """Whether the client takes less than is sent. More is held in memory all the same, so stop writing until `drained`."""
        return self._connection.is_full

    @property
    def is_ended(self) -> bool:
        """Whether the body has been ended."""
        return self._ended

    async def drained(self) -> None:
        """Return when the client has taken enough for more to be written. Raises ClientGone."""
        await self._connection.drained()

    @property
    def is_gone(self) -> bool:
        """Whether the client has closed its connection."""
        return self._connection.lost.done()

    async def gone(self) -> None:
        """Return when the client has closed its connection."""
        await asyncio.shield(self._connection.lost)

    def end(self) -> None:
        """End the body in good order."""
        if not self._ended:
            self._ended = True
            self._connection.send_end()

    def abort(self) -> None:
        """Close the connection in the middle of the body, so that its reader sees a broken response."""
        self._ended = True
        self._connection.abort()


Handler = Callable[[Request], Awaitable[None]]


class Server:
    """Accepts connections on listening sockets and runs a handler for each request, one at a time for each connection."""

    def __init__(self, handler: Handler, limits: Limits | None = None) -> None:
        self.handler = handler
        self.limits = limits or Limits()
        self.connections: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Begin to accept connections."""
        loop = asyncio.get_running_loop()
        for one in sockets:
            self._servers.append(await loop.create_server(lambda: _Connection(self), sock=one, ssl=tls, backlog=2048))

    def stop_accepting(self) -> None:
        """Accept no more connections, and close those that wait for a request."""
        for one in self._servers:
            one.close()
        for connection in list(self.connections):
            connection.close_when_idle()

    async def close(self) -> None:
        """Close all connections and wait for the handlers."""
        self.stop_accepting()
        for connection in list(self.connections):
            connection.abort()
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            await asyncio.wait(self.tasks)


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._limits = server.limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=server.limits.head_bytes)
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self.is_full = False
        self.on_slow: Callable[[], None] | None = None
        self._drain_waiters: list[asyncio.Future[None]] = []
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_ended = True
        self._body_waiter: asyncio.Future[None] | None = None
        self._reading = True
        self._closing = False
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._peer = ""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else ""
        connection_socket = transport.get_extra_info("socket")
        if connection_socket is not None and connection_socket.family in (socket.AF_INET, socket.AF_INET6):
            # A token must not wait for the acknowledgement of the last one.
            connection_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self._server.connections) >= self._limits.connections:
            transport.write(
                b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            transport.close()
            return
        self._server.connections.add(self)
        self._set_timer(self._limits.head_seconds)

    def connection_lost(self, error: Exception | None) -> None:
        self._server.connections.discard(self)
        self._clear_timer()
        if not self.lost.done():
            self.lost.set_result(None)
        if self.on_slow is not None:
            self.on_slow()
        self._wake_body()
        self._wake_drain()

    def data_received(self, data: bytes) -> None:
        self._h11.receive_data(data)
        self._advance()
        if self._busy and self._body_ended and len(self._h11.trailing_data[0]) > self._limits.head_bytes:
            # Requests sent ahead of their turn wait in the socket.
            self.transport.pause_reading()
            self._reading = False

    def eof_received(self) -> bool:
        return (
            False  # closes: a client that reads on after closing its own side is indistinguishable from one that left
        )

    def pause_writing(self) -> None:
        self.is_full = True
        if self.on_slow is not None:
            self.on_slow()

    def resume_writing(self) -> None:
        self.is_full = False
        self._wake_drain()

    # Requests

    def _advance(self) -> None:
        try:
            while not self._busy or not self._body_ended:
                event = self._h11.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    return
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._take_body(bytes(event.data))
                elif isinstance(event, h11.EndOfMessage):
                    self._body_ended = True
                    self._clear_timer()
                    self._wake_body()
                elif isinstance(event, h11.ConnectionClosed):
                    self.transport.close()
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint)

    def _begin(self, head: h11.Request) -> None:
        self._busy = True
        self._body_ended = False
        self._set_timer(self._limits.body_seconds)
        task = self._loop.create_task(self._run(Request(self, head, self._peer)))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _run(self, request: Request) -> None:
        try:
            await self._server.handler(request)
        except (ClientGone, asyncio.CancelledError):
            self.abort()
        except BodyTooLarge:
            self._refuse(413)
        except Exception as error:
            self._loop.call_exception_handler({"message": "a request failed", "exception": error})
            self._refuse(500)
        else:
            self._finish()

    def _finish(self) -> None:
        """Make ready for the next request, or close."""
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE and not self._closing:
            self._h11.start_next_cycle()
            self._busy = False
            self._set_timer(self._limits.idle_seconds)
            if not self._reading:
                self._reading = True
                self.transport.resume_reading()
            self._advance()
        elif not self.transport.is_closing():
            self.transport.close()

    def _take_body(self, data: bytes) -> None:
        self._body.append(data)
        self._body_size += len(data)
        self._set_timer(self._limits.body_seconds)
        if self._body_size > _HIGH_WATER and self._reading:
            # The client waits for us now, not the other way round.
            self._reading = False
            self.transport.pause_reading()
            self._clear_timer()
        self._wake_body()

    async def read_body(self) -> bytes | None:
        """The next piece of the request's body, None at its end. Raises ClientGone."""
        if self._h11.they_are_waiting_for_100_continue:
            self.write(self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        while not self._body:
            if self._body_ended:
                return None
            if self.lost.done():
                raise ClientGone
            if not self._reading:
                self._reading = True
                self.transport.resume_reading()
                self._set_timer(self._limits.body_seconds)
            self._body_waiter = self._loop.create_future()
            await self._body_waiter
        data = b"".join(self._body)
        self._body.clear()
        self._body_size = 0
        return data

    # Responses

    def send_head(self, status: int, headers: Headers) -> None:
        if self.lost.done():
            raise ClientGone
        if not self._body_ended or self._closing:
            # The rest of a body that nobody reads would be taken for the next request.
            headers = [*headers, (b"connection", b"close")]
        self.write(self._h11.send(h11.Response(status_code=status, headers=list(headers))) or b"")

    def send_data(self, data: bytes) -> None:
        self.write(self._h11.send(h11.Data(data=data)) or b"")

    def send_end(self) -> None:
        if not self.lost.done():
            self.write(self._h11.send(h11.EndOfMessage()) or b"")

    def begin_stream(self, status: int, headers: Headers) -> ResponseStream:
        version = self._h11.their_http_version or b"1.1"
        chunked = version >= b"1.1"
        self.send_head(status, [*headers, (b"transfer-encoding", b"chunked")] if chunked else headers)
        return ResponseStream(self, chunked=chunked)

    def write(self, data: bytes) -> None:
        if not self.lost.done() and not self.transport.is_closing():
            self.transport.write(data)

    async def drained(self) -> None:
        while self.is_full and not self.lost.done():
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._drain_waiters.append(waiter)
            await waiter
        if self.lost.done():
            raise ClientGone

    # Ends

    def close_when_idle(self) -> None:
        """Close after the response under way, or at once."""
        self._closing = True
        if not self._busy:
            self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def _refuse(self, status: int) -> None:
        """Answer a request that cannot be served, where no answer has begun, and close."""
        with contextlib.suppress(h11.LocalProtocolError, ClientGone):
            if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._closing = True
                self.send_head(status, [(b"content-length", b"0")])
                self.send_end()
                self.transport.close()
                return
        self.transport.abort()

    def _set_timer(self, seconds: float) -> None:
        self._clear_timer()
        self._timer = self._loop.call_later(seconds, self._time_out)

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        if not self._busy and self._h11.trailing_data[0]:
            self._refuse(408)
        elif not self._busy:
            self.transport.close()
        else:
            self.transport.abort()

    def _wake_body(self) -> None:
        if self._body_waiter is not None and not self._body_waiter.done():
            self._body_waiter.set_result(None)

    def _wake_drain(self) -> None:
        waiters, self._drain_waiters = self._drain_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
