"""HTTP/1.1 over plain TCP to the server that answers, past libcurl.

Buys most of what reading a token costs: one ``recv``, one look at the chunk's size, and the payload is at its sink. libcurl, which stays
for TLS, proxies and everything else, takes two system calls, two timers and five calls into Python for each. `h11` reads heads and all
bodies that are not chunked; the tests read the same answers both ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import zlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import h11

from unspool.outcome import CUT, UNREACHABLE, Fault
from unspool.serve.loop import unwatch, watch

_READ = 1 << 16
# Connections that are kept open for the next request, and for how many seconds.
_MOST_IDLE, _IDLE_SECONDS = 256, 30.0
# Seconds in which an HTTP answer ends after its stream has: one packet later, as a rule.
_LINGER = 1.0
_LONGEST_HEAD = 1 << 18
_LONGEST_SIZE_LINE = 4096


class NotHTTP(ValueError):
    """Bytes that no HTTP server sends."""


class ChunkReader:
    """Undoes the chunked transfer coding (RFC 9112, 7.1). ``ended`` once the last chunk and the trailers have come."""

    def __init__(self) -> None:
        self.ended = False
        self._held = b""
        self._left = 0
        self._in_trailers = False

    def feed(self, data: bytes) -> bytes:
        """The payload in the next bytes of the connection. Raises NotHTTP."""
        if not self._left and not self._held:
            # Hot: one read that is one chunk, as a server sends that flushes after each token.
            end = data.find(b"\r\n", 1, 10)
            if end > 0 and data[:end].isalnum():
                try:
                    size = int(data[:end], 16)
                except ValueError:
                    raise NotHTTP(f"the size of a chunk is {data[:end]!r}") from None
                if size and len(data) == end + size + 4 and data[-2:] == b"\r\n" and not self._in_trailers:
                    return data[end + 2 : -2]
        return b"".join(self._pieces(data))

    def _pieces(self, data: bytes) -> list[bytes]:
        data = self._held + data
        self._held = b""
        pieces: list[bytes] = []
        at = 0
        while not self.ended:
            if self._left > 2:
                piece = data[at : at + self._left - 2]
                at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)
                if self._left > 2:
                    break
            if self._left:
                # The line end that follows each chunk.
                if data[at : at + 2] != b"\r\n"[: len(data) - at]:
                    raise NotHTTP("a chunk is longer than its size")
                if len(data) - at < 2:
                    self._held = data[at:]
                    break
                at, self._left = at + 2, 0
            end = data.find(b"\r\n", at)
            if end < 0:
                self._held = data[at:]
                if len(self._held) > _LONGEST_SIZE_LINE:
                    raise NotHTTP("the line of a chunk's size does not end")
                break
            line, at = data[at:end], end + 2
            if self._in_trailers:
                self.ended = not line
                continue
            digits = line.partition(b";")[0].strip()
            if not digits.isalnum() or len(digits) > 15:
                raise NotHTTP(f"the size of a chunk is {digits[:20]!r}")
            try:
                size = int(digits, 16)
            except ValueError:
                raise NotHTTP(f"the size of a chunk is {digits[:20]!r}") from None
            if size:
                self._left = size + 2
            else:
                self._in_trailers = True
        return pieces


class Connections:
    """Connections to one server, kept open between requests."""

    def __init__(self, base_url: str, connect_timeout: float) -> None:
        parts = urlsplit(base_url)
        self.host = parts.netloc.rpartition("@")[2]
        self._address = (parts.hostname or "", parts.port or 80)
        self._connect_timeout = connect_timeout
        self._idle: list[tuple[socket.socket, float]] = []
        # Those whose response nobody wants any more but has not ended yet, each by the call that gives it up.
        self.lingering: set[Callable[[], None]] = set()
        self.is_closed = False

    async def connect(self) -> socket.socket:
        """A new connection. Raises OSError, TimeoutError among them."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_timeout):
            found = await loop.getaddrinfo(*self._address, type=socket.SOCK_STREAM)
            for place, (family, kind, protocol, _, address) in enumerate(found, 1):
                connection = socket.socket(family, kind, protocol)
                try:
                    connection.setblocking(False)
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    await loop.sock_connect(connection, address)
                except BaseException as error:
                    connection.close()
                    if not isinstance(error, OSError) or place == len(found):
                        raise
                else:
                    return connection
        raise OSError("the name has no address")

    def reuse(self) -> socket.socket | None:
        """A connection of an earlier request that is still open."""
        while self._idle:
            connection, since = self._idle.pop()
            try:
                connection.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                if time.monotonic() - since < _IDLE_SECONDS:
                    return connection
            except OSError:
                pass
            connection.close()
        return None

    def give_back(self, connection: socket.socket) -> None:
        """Keep a connection whose response has ended."""
        now = time.monotonic()
        while self._idle and (len(self._idle) >= _MOST_IDLE or now - self._idle[0][1] > _IDLE_SECONDS):
            self._idle.pop(0)[0].close()
        self._idle.append((connection, now))

    def close(self) -> None:
        """Close those that nobody uses, and keep none any more."""
        self.is_closed = True
        for end in list(self.lingering):
            end()
        while self._idle:
            self._idle.pop()[0].close()


class DirectCall:
    """A request under way: an `unspool.serve.upstream.Call`."""

    def __init__(
        self, connections: Connections, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.fault: Fault | None = None
        self._loop = asyncio.get_running_loop()
        self._connections = connections
        self._socket: socket.socket | None = None
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        self._chunks: ChunkReader | None = None
        self._ended = False
        # Some servers compress what they were asked not to.
        self._inflate: Callable[[bytes], bytes] | None = None
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = [("host", connections.host), *headers.items()]
        if body is not None:
            sent.append(("content-length", str(len(body))))
        head = h11.Request(method=method, target=target, headers=sent)
        self._message = b"".join(
            self._h11.send(event) or b"" for event in (head, h11.Data(data=body or b""), h11.EndOfMessage())
        )
        self._held = b""

    async def head(self) -> bool:
        """Send the request and wait for the response's head; False where none came, and ``fault`` says why."""
        data = await self._ask()
        try:
            while self.fault is None:
                if data or self._ended:
                    self._h11.receive_data(data)
                event = self._h11.next_event()
                if isinstance(event, h11.Response):
                    self._begin(event)
                    return True
                if event is h11.NEED_DATA:
                    data = await self._receive()
                elif not isinstance(event, h11.InformationalResponse):
                    break
                else:
                    data = b""
        except h11.RemoteProtocolError:
            self.fault = (
                Fault(CUT, f"{self._connections.host} closed the connection without an answer", True)
                if self._ended
                else Fault(
                    UNREACHABLE, f"the server at {self._connections.host} does not speak HTTP; check the base URL"
                )
            )
        except NotHTTP as error:
            self.fault = Fault(CUT, str(error))
        return False

    async def read(self) -> bytes:
        """The next bytes of the body, nothing at its end."""
        while True:
            while not self._held and not self._ended and self.fault is None:
                self._take(await self._receive())
            held, self._held = self._held, b""
            if not held or self._inflate is None:
                return held
            if data := self._inflated(held):
                return data

    async def pour(self, sink: Callable[[bytes], bool]) -> None:
        """Hand the body to ``sink`` as it arrives, until its end, or until ``sink`` returns True."""
        if self._inflate is not None:
            compressed_sink = sink
            sink = lambda data: compressed_sink(self._inflated(data))  # noqa: E731
        held, self._held = self._held, b""
        if (held and sink(held)) or self._ended or self.fault is not None or self._socket is None:
            return
        done: asyncio.Future[None] = self._loop.create_future()
        receive, chunks = self._socket.recv, self._chunks

        def on_readable() -> None:
            # Hot: once for each token.
            try:
                data = receive(_READ)
                if chunks is not None and data:
                    payload = chunks.feed(data)
                    self._ended = chunks.ended
                else:
                    self._take(data)
                    payload, self._held = self._held, b""
                if ((payload and sink(payload)) or self._ended or self.fault is not None) and not done.done():
                    done.set_result(None)
            except BlockingIOError:
                pass
            except (OSError, NotHTTP) as error:
                self._break(error)
                if not done.done():
                    done.set_result(None)
            except BaseException as error:
                if not done.done():
                    done.set_exception(error)

        fd = self._socket.fileno()
        watch(self._loop, fd, on_readable)
        try:
            await done
        finally:
            unwatch(self._loop, fd)

    def stop(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def leave(self) -> None:
        """Read nothing more: all that matters has come. The connection is kept once the response has ended."""
        connection = self._socket
        if connection is None:
            return
        if self._ended or self.fault is not None or self._connections.is_closed:
            return self._finish()
        fd = connection.fileno()

        def end() -> None:
            unwatch(self._loop, fd)
            timer.cancel()
            self._connections.lingering.discard(end)
            self._finish()

        def on_readable() -> None:
            try:
                self._take(connection.recv(_READ))
                self._held = b""
            except BlockingIOError:
                return
            except OSError as error:
                self._break(error)
            if self._ended or self.fault is not None:
                end()

        timer = self._loop.call_later(_LINGER, end)
        self._connections.lingering.add(end)
        watch(self._loop, fd, on_readable)

    async def _ask(self) -> bytes:
        """Send the request; returns the first bytes of the response. A connection that was kept too long is replaced once."""
        reused = self._connections.reuse()
        try:
            if reused is not None:
                self._socket = reused
                with contextlib.suppress(OSError):
                    await self._loop.sock_sendall(reused, self._message)
                    if data := await self._loop.sock_recv(reused, _READ):
                        return data
                reused.close()
                self._socket = None
            self._socket = await self._connections.connect()
        except OSError as error:
            reason = error.strerror or str(error) or "no answer in time"
            self.fault = Fault(
                UNREACHABLE,
                f"cannot connect to {self._connections.host}: {reason}; check that the server runs, and the base URL",
                True,
            )
            return b""
        try:
            await self._loop.sock_sendall(self._socket, self._message)
        except OSError:
            pass  # a server that refuses a long body may have said so before it closed
        return await self._receive()

    async def _receive(self) -> bytes:
        """The next bytes of the connection; where there are none, ``_ended`` or ``fault`` is set."""
        if self._socket is None:
            self._ended = True
            return b""
        try:
            data = await self._loop.sock_recv(self._socket, _READ)
        except OSError as error:
            self._break(error)
            return b""
        self._ended = not data
        return data

    def _begin(self, response: h11.Response) -> None:
        self._ended = False
        self.status = response.status_code
        for raw_name, raw_value in response.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        if self.headers.get("content-encoding", "").lower() in ("gzip", "x-gzip", "deflate"):
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32).decompress
        if "transfer-encoding" in self.headers:
            self._chunks = ChunkReader()
            if rest := self._h11.trailing_data[0]:
                self._take(rest)
        else:
            self._take_by_h11()

    def _take(self, data: bytes) -> None:
        """Take bytes of the connection, empty ones for its end; their payload is held."""
        try:
            if self._chunks is None:
                self._h11.receive_data(data)
                self._take_by_h11()
            elif data:
                self._held += self._chunks.feed(data)
                self._ended = self._chunks.ended
            elif not self._chunks.ended:
                self._break(ConnectionError())
        except (NotHTTP, h11.RemoteProtocolError) as error:
            self._break(error)

    def _take_by_h11(self) -> None:
        self._ended = False
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Data):
                self._held += bytes(event.data)
            else:
                self._ended = not (event is h11.NEED_DATA or event is h11.PAUSED)
                return

    def _inflated(self, data: bytes) -> bytes:
        assert self._inflate is not None
        try:
            return self._inflate(data)
        except zlib.error:
            self.fault = Fault(CUT, "the answer's compression is damaged")
            return b""

    def _break(self, error: Exception) -> None:
        if self.fault is not None:
            return
        words = "closed the connection" if isinstance(error, h11.RemoteProtocolError) else str(error)
        if isinstance(error, OSError):
            words = "reset the connection" if error.errno else "closed the connection"
        where = "in the middle of the answer" if self.status else "without an answer"
        self.fault = Fault(CUT, f"the server {words} {where}") if not isinstance(error, NotHTTP) else Fault(CUT, words)

    def _finish(self) -> None:
        connection, self._socket = self._socket, None
        if connection is None:
            return
        keeps = self.headers.get("connection", "").lower() != "close" and "close" not in self.headers.get(
            "proxy-connection", ""
        )
        ended = self._ended and self._chunks is not None and self._chunks.ended
        if ended and self.fault is None and keeps and not self._connections.is_closed:
            self._connections.give_back(connection)
        else:
            connection.close()
