"""The short way to a connection, for events and recorded bytes: past the layers that make HTTP of each one anew."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl


class Wire:
    """Writes HTTP/1.1 chunks (RFC 9112, 7.1) to a connection whose head has been sent, and whose last chunk somebody else sends.

    What is written in one turn of the event loop goes out in one piece: a server that is late has more to do than to call the
    system for each event. It is a fifth of what an event costs the simulator, and h11, which this goes past, another.
    """

    def __init__(self, transport: asyncio.Transport, flow: FlowControl) -> None:
        self._transport = transport
        self._flow = flow
        self._chunks: list[bytes] = []

    def chunk(self, body: bytes) -> bool:
        """Send these bytes as a chunk. Returns whether the client takes so slowly that `drained` is to be awaited."""
        if not self._chunks:
            asyncio.get_running_loop().call_soon(self.flush)
        self._chunks.append(b"%x\r\n%b\r\n" % (len(body), body))
        return self._flow.write_paused

    def flush(self) -> None:
        """Write what has not been written yet."""
        if self._chunks:
            data = b"".join(self._chunks)
            self._chunks.clear()
            if not self._transport.is_closing():
                self._transport.write(data)

    async def write(self, data: bytes) -> None:
        """Write bytes as they are, head and framing included, once the client has taken enough of what came before."""
        await self._flow.drain()
        self._transport.write(data)

    async def drained(self) -> None:
        """Return when the client has taken enough, or has gone."""
        await self._flow.drain()
