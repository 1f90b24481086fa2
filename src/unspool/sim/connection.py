"""Sockets and signals: what a server listens at, how it resets a connection, and what ends it."""

from __future__ import annotations

import asyncio
import fcntl
import signal
import socket
import struct
import sys
import termios
from collections.abc import Callable

# How long a client may take to receive what was sent before the reset, in steps of a few milliseconds. A reset discards the rest.
_PATIENCE = 2.0
_STEP = 0.005


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen before the server starts, so that the port is known and taken, and early clients wait in its queue."""
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


async def stopped_by_signal(on_ready: Callable[[], object]) -> signal.Signals:
    """Wait for SIGINT or SIGTERM, and return which of them came. To be called in the main thread."""
    loop = asyncio.get_running_loop()
    caught: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not caught.done():
            caught.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    on_ready()
    return await caught


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
