"""Sockets and signals: what a server listens at, a client's connection past the HTTP server, and what ends the server."""

from __future__ import annotations

import asyncio
import fcntl
import signal
import socket
import struct
import sys
import termios
from collections.abc import Callable

#: Where an application finds the `ClientConnection` of a request: in its scope, where the server has one.
CONNECTION = "unspool.connection"

#: Seconds in which a request's head has to arrive, and its body.
HEAD_TIMEOUT = 30.0
BODY_TIMEOUT = 60.0

# How long a client may take to receive what was sent before the reset, in steps of a few milliseconds. A reset discards the rest.
_PATIENCE = 2.0
_STEP = 0.005


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen before the server starts, so that the port is known and taken, and early clients wait in its queue."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def stopped_by_signal(on_ready: Callable[[], object]) -> signal.Signals:
    """Wait for SIGINT or SIGTERM, and return which of them came. Call this in the main thread."""
    loop = asyncio.get_running_loop()
    caught: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not caught.done():
            caught.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    on_ready()
    return await caught


class ClientConnection:
    """A client's connection, which an application may end, and write to once the head of its response has been sent.

    `write` is the short way of an event: past ASGI, and past h11, which makes an object and two writes of each body.

    All that it needs of the server is the transport, and the calls that asyncio makes to each protocol: `pause`, `resume`, `lost`.
    ``is_serving`` says that a request is being answered; at other times a head has to arrive in time, which uvicorn does not see to.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head_timer: asyncio.TimerHandle | None = None
        self.is_serving = False
        self._writable = asyncio.Event()
        self._writable.set()

    def head_arrives(self) -> None:
        """Cut a client that connects, or begins a request, and then takes too long."""
        if self._head_timer is None and not self.is_serving:
            self._head_timer = asyncio.get_running_loop().call_later(HEAD_TIMEOUT, self._transport.abort)

    def head_arrived(self) -> None:
        """Take note that a request's head is there."""
        self.is_serving = True
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def lost(self) -> None:
        """Take note that the connection has ended."""
        self.resume()
        self.head_arrived()

    def pause(self) -> None:
        """Take note that the client takes so slowly that the transport's buffer is full."""
        self._writable.clear()

    def resume(self) -> None:
        """Take note that the client has taken enough, or has gone."""
        self._writable.set()

    def write(self, data: bytes) -> bool:
        """Write bytes as they are, framing included. Returns False where the caller should await `drained` before the next."""
        if not self._transport.is_closing():
            self._transport.write(data)
        return self._writable.is_set()

    async def drained(self) -> None:
        """Return when the client has taken enough, or has gone."""
        await self._writable.wait()

    def abort(self) -> None:
        """Cut it, also what has been written."""
        self._transport.abort()

    def close(self) -> None:
        """Close it where it is, after what has been written."""
        self._transport.close()

    async def reset(self) -> None:
        """Close it with a RST."""
        await reset(self._transport)


async def reset(transport: asyncio.WriteTransport) -> None:
    """Close a connection with a RST, which SO_LINGER of zero seconds makes of a close (socket(7))."""
    connected = transport.get_extra_info("socket")
    if connected is None:
        return transport.abort()
    waited = 0.0
    while waited < _PATIENCE and (transport.get_write_buffer_size() or _unacknowledged(connected)):
        await asyncio.sleep(_STEP)
        waited += _STEP
    # The client's system has it all by now; this is for its program, which a reset may keep from reading what it has.
    await asyncio.sleep(_STEP)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _unacknowledged(connected: socket.socket) -> int:
    """The bytes that the other side has not acknowledged; 0 where the system does not tell (tcp(7), SIOCOUTQ)."""
    if sys.platform != "linux":
        return 0
    count: int = struct.unpack("i", fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    return count
