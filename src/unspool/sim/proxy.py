"""A proxy that stands before any server and breaks its answers: bytes in, bytes out, with the faults of `unspool.sim.faults.table`.

    with Proxy("https://api.example.com/v1", script=["cut=7,reset"]) as proxy:
        client = OpenAI(base_url=proxy.url)

With ``record`` it makes a tape of each answer (`unspool.sim.tapes`) and breaks none.

It takes one request a connection (``Connection: close``). An answer that no fault alters is passed on as it came, byte for byte; of one
that is altered the HTTP framing is the proxy's own, and so are the line ends of the events that it had to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from urllib.parse import urlsplit

import h11

from unspool import sse
from unspool.sim import http
from unspool.sim.block import Block
from unspool.sim.connection import BODY_TIMEOUT, HEAD_TIMEOUT, listen, reset, stopped_by_signal
from unspool.sim.errors import RequestError
from unspool.sim.faults.middleware import LARGEST_BODY, FaultChooser, edited, refusal_of
from unspool.sim.faults.stream_plan import CLEAN, RESET, FaultPlan, FaultyStream, Pause, Refusal, Step
from unspool.sim.faults.table import HEADER
from unspool.sim.frames import Frame
from unspool.sim.received import ReceivedRequest
from unspool.sim.tapes.recording import Recorder, Recording
from unspool.sim.tapes.tape import CUT, LEFT
from unspool.sim.tapes.tape import RESET as WAS_RESET

_PIECE = 1 << 16
# Seconds in which the rest of an answer still belongs on its tape when its client is gone: many leave at [DONE], before the last chunk.
_GRACE = 0.5
# Two line ends one after the other, whichever; CRLF is never two.
_BLOCK_END = re.compile(rb"(?>\r\n|\r|\n)(?>\r\n|\r|\n)")


class Proxy(Block):
    """A proxy in a background thread, on a free port of 127.0.0.1, before the server with the base URL ``upstream``.

    ``faults`` are what every request meets with, and ``script`` what the first ones meet with instead, as in `SimulatorSettings`. ``record`` is the
    folder that tapes go to, or a `Recorder`; an answer that is recorded meets with no fault of the proxy's. ``tls`` is how an https
    upstream is verified, None for Python's default.
    """

    def __init__(
        self,
        upstream: str,
        *,
        faults: Iterable[str] = (),
        script: Iterable[str] = (),
        record: str | os.PathLike[str] | Recorder | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._handler = _Handler(upstream, FaultChooser(faults, script), record, tls)
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None
        self.url = ""
        """The base URL, which ends as the upstream's does; empty while it is not running."""

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The latest requests that came, oldest first, each with the faults it met."""
        return self._handler.faults.requests

    def script(self, *faults: str) -> None:
        """Set the faults of the next requests, in order. Raises ValueError for an unknown fault."""
        self._handler.faults.script(*faults)

    def start(self) -> None:
        """Start, and return once it listens. Raises OSError when no port is free."""
        if self._thread is not None:
            raise RuntimeError("the proxy is already running")
        listener = listen("127.0.0.1", 0)
        ready = threading.Event()

        async def serve() -> None:
            over = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(over.set)
            async with self._handler.listening(listener):
                ready.set()
                await over.wait()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), name="unspool-proxy", daemon=True)
        self._thread.start()
        ready.wait()
        self.url = self._handler.url(listener.getsockname())

    def stop(self) -> None:
        """Stop it, and return once its thread has ended. Does nothing when it is not running."""
        if self._thread is not None:
            self._stop()
            self._thread.join()
            self._thread, self.url = None, ""


def serve_proxy(
    upstream: str,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    faults: Iterable[str] = (),
    script: Iterable[str] = (),
    record: str | os.PathLike[str] | Recorder | None = None,
    tls: ssl.SSLContext | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> int:
    """Run a proxy until SIGINT or SIGTERM, and return which of them it was, as `running.serve` does for a simulator."""
    handler = _Handler(upstream, FaultChooser(faults, script), record, tls)

    async def serve() -> int:
        with listen(host, port) as listener:
            async with handler.listening(listener):
                return await stopped_by_signal(lambda: on_ready and on_ready(handler.url(listener.getsockname())))

    return asyncio.run(serve())


class _Handler:
    """Takes connections, and carries each request to the upstream server and its answer back."""

    def __init__(
        self,
        upstream: str,
        faults: FaultChooser,
        record: str | os.PathLike[str] | Recorder | None,
        tls: ssl.SSLContext | None,
    ) -> None:
        parts = urlsplit(upstream)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{upstream!r} is not a URL such as http://127.0.0.1:11434/v1")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL must not contain a user: the headers of the requests are forwarded")
        self.faults = faults
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/")
        self._origin = f"{parts.scheme}://{self._authority}"
        self._recorder = record if record is None or isinstance(record, Recorder) else Recorder(record)
        if self._recorder is not None:
            self._recorder.prepare()
        self._open: set[asyncio.Task[None]] = set()

    def url(self, address: tuple[str, int]) -> str:
        """The base URL for clients, when listening at this address."""
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        return f"http://{host}:{address[1]}{self._path}"

    @contextlib.asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[None]:
        """Take connections for as long as the context lasts. Those still open are cut then."""
        server = await asyncio.start_server(self._accept, sock=listener)
        try:
            yield
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            if self._open:
                await asyncio.wait(self._open)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = _Client(reader, writer)
        try:
            await self._answer(client)
        except (OSError, TimeoutError, h11.ProtocolError, _HungUp):
            # One of the two sides is gone, or does not speak HTTP: close the connection of the other.
            pass
        finally:
            writer.transport.abort() if not client.finished else writer.close()

    async def _answer(self, client: _Client) -> None:
        async with asyncio.timeout(HEAD_TIMEOUT + BODY_TIMEOUT):
            request, body = await client.request()
        if len(body) > LARGEST_BODY:
            words = f"Maximum content size limit ({LARGEST_BODY}) exceeded."
            return await client.refuse(refusal_of(RequestError(words, status=413)))
        method, path = request.method.decode(), request.target.decode("latin-1")
        headers = http.by_name(request.headers)
        # Recorded answers are those of the server, without faults.
        met = headers if self._recorder is None else {name: headers[name] for name in headers if name != HEADER}
        try:
            plan, _ = self.faults.choose(method, path, met, body)
        except ValueError as error:
            return await client.refuse(refusal_of(RequestError(f"{HEADER}: {error}.", param=HEADER)))
        if plan.wait:
            await client.do(Pause(plan.wait))
        if plan.hang_up:
            return
        if plan.refusal is not None:
            return await client.refuse(plan.refusal)
        try:
            upstream, sender = await self._connect()
        except OSError as error:
            words = f"The proxy cannot reach {self._host} port {self._port}: {error}."
            return await client.refuse(refusal_of(RequestError(words, status=502, type="server_error")))
        try:
            recording = None
            if self._recorder is not None:
                target = path.removeprefix(self._path)
                try:
                    recording = self._recorder.begin(method, target, self._origin + path, headers, body)
                except OSError as error:
                    words = f"The answer cannot be recorded in {self._recorder.into}: {error.strerror}."
                    return await client.refuse(refusal_of(RequestError(words, status=500, type="server_error")))
            sender.write(self._request(request, edited(body, plan)))
            if recording is not None:
                return await _pass_recorded(upstream, client, recording)
            await sender.drain()
            if plan.alters_stream:
                await _pass_altered(upstream, client, plan, method)
            else:
                await _pass_raw(upstream, client)
        finally:
            sender.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._recorder is None:
            return await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        loop = asyncio.get_running_loop()
        reader = _Arrivals(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, self._host, self._port, ssl=self._tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def _request(self, request: h11.Request, body: bytes) -> bytes:
        """The client's request as the upstream server gets it: all its header fields but those of the connection."""
        replaced = (b"host", b"accept-encoding", b"content-length", b"expect")
        without = replaced if self._recorder is not None else (*replaced, HEADER.encode())
        headers = [(b"Host", self._authority.encode()), *http.forwarded(request.headers.raw_items(), *without)]
        headers += [(b"Connection", b"close"), (b"Accept-Encoding", b"identity")]
        if body or any(name == b"content-length" for name, _ in request.headers):
            headers.append((b"Content-Length", b"%d" % len(body)))
        return http.request(request.method, request.target, headers, body)


class _HungUp(Exception):
    """The client has gone."""


class _Client:
    """The client's connection. ``finished`` says that its answer was sent as it was to be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.finished = False
        self._http = http.server_connection()
        self._is_head = False

    async def request(self) -> tuple[h11.Request, bytes]:
        """Read the request and its body, of a body that is too large only the beginning. Raises h11.RemoteProtocolError."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
                self._http.receive_data(await self.reader.read(_PIECE))
            elif isinstance(event, h11.Request):
                request = event
                self._is_head = event.method == b"HEAD"
            elif isinstance(event, h11.Data) and len(body) <= LARGEST_BODY:
                body += event.data
            elif request is not None:
                return request, bytes(body)
            else:
                raise _HungUp

    async def send(self, data: bytes) -> None:
        """Send bytes as they are, past the HTTP framing."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self, status: int, headers: http.HeaderFields) -> None:
        """Begin a response, which the end of the connection follows."""
        await self._send(http.response(status, [*headers, (b"Connection", b"close")]))

    async def refuse(self, refusal: Refusal) -> None:
        """Send a response of the proxy's own."""
        headers = {"content-length": str(len(refusal.body)), **refusal.headers}
        await self.head(refusal.status, http.encoded(headers.items()))
        await self._send(h11.Data(refusal.body))
        self.finished = True

    async def do(self, step: Step) -> None:
        """Carry out one step of an answer's stream."""
        if isinstance(step, bytes):
            await self._send(h11.Data(step))
            # Send each of many small pieces separately.
            await asyncio.sleep(0)
        elif isinstance(step, Pause):
            for seconds, beat in step.parts():
                with contextlib.suppress(TimeoutError):
                    # The client has nothing more to say: what comes is that it hung up.
                    await asyncio.wait_for(self.reader.read(1), seconds)
                    raise _HungUp
                if beat:
                    await self._send(h11.Data(beat))
        elif step.how == RESET:
            await reset(self.writer.transport)
        else:
            if step.how == CLEAN:
                await self._send(h11.EndOfMessage())
            self.finished = True

    async def _send(self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage) -> None:
        if not (self._is_head and isinstance(event, h11.Data)):  # the response to HEAD has no body
            await self.send(self._http.send(event) or b"")


class _Arrivals(asyncio.StreamReader):
    """A stream reader that gives out what came before a reset, which asyncio's own throws away."""

    is_reset = False

    def set_exception(self, exc: Exception) -> None:
        self.is_reset = isinstance(exc, ConnectionResetError)
        self.feed_eof()


async def _pass_recorded(upstream: asyncio.StreamReader, client: _Client, recording: Recording) -> None:
    """Pass an answer on as it comes, and keep each piece before the client gets it."""
    how = LEFT
    # The client has nothing more to say: what comes is that it hung up.
    leaving = asyncio.ensure_future(client.reader.read(1))
    arriving = asyncio.ensure_future(upstream.read(_PIECE))
    try:
        while True:
            patience = _GRACE if leaving.done() else None
            waiting = {arriving} if leaving.done() else {arriving, leaving}
            done, _ = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            if not arriving.done():
                continue
            if not (piece := arriving.result()):
                how = WAS_RESET if isinstance(upstream, _Arrivals) and upstream.is_reset else CUT
                break
            recording.feed(piece)
            if recording.is_complete and leaving.done():
                break
            if not leaving.done():
                await client.send(piece)
            arriving = asyncio.ensure_future(upstream.read(_PIECE))
    finally:
        leaving.cancel()
        arriving.cancel()
        recording.close(how)
    if leaving.done() and not leaving.cancelled():
        raise _HungUp
    if how == WAS_RESET:
        await reset(client.writer.transport)
    client.finished = True


async def _pass_raw(upstream: asyncio.StreamReader, client: _Client) -> None:
    while piece := await upstream.read(_PIECE):
        await client.send(piece)
    client.finished = True


async def _pass_altered(upstream: asyncio.StreamReader, client: _Client, plan: FaultPlan, method: str) -> None:
    stream = FaultyStream(plan, event_ids=True)
    blocks: Blocks | None = None
    pieces = _response(upstream, method)
    async with contextlib.aclosing(pieces):
        async for event in pieces:
            if isinstance(event, h11.Response):
                headers = http.by_name(event.headers)
                if sse.is_event_stream(headers.get("content-type", "")) and "content-encoding" not in headers:
                    blocks = Blocks()
                added = {**plan.every, **plan.headers}
                replaced = [name.encode() for name in ("content-length", *added)]
                kept = http.forwarded(event.headers.raw_items(), *replaced)
                await client.head(event.status_code, kept + http.encoded(added.items()))
                continue
            data = bytes(event.data)
            for item in [data] if blocks is None else blocks.feed(data):
                for step in stream.take(item):
                    await client.do(step)
                if stream.closed:
                    return
    rest = b"" if blocks is None else blocks.close()
    for step in [*(stream.take(rest) if rest else ()), *stream.end()]:
        await client.do(step)


async def _response(upstream: asyncio.StreamReader, method: str) -> AsyncGenerator[h11.Response | h11.Data]:
    """The head of a response, then the pieces of its body. Raises h11.RemoteProtocolError where the connection ends before it does."""
    reader = http.ResponseReader(method)
    while not reader.is_complete:
        for event in reader.feed(await upstream.read(_PIECE)):
            yield event


class Blocks:
    """Cuts the bytes of an event stream into its blocks: events as frames, and all else, such as comments, as it is."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame | bytes]:
        """The blocks that these bytes complete."""
        begun, at = 0, max(0, len(self._rest) - 3)
        data = self._rest + data
        blocks: list[Frame | bytes] = []
        while end := _BLOCK_END.search(data, at):
            if end.end() == len(data) and data.endswith(b"\r"):
                break  # an LF that belongs to it may follow
            blocks.append(_block(data[begun : end.end()]))
            begun = at = end.end()
        self._rest = data[begun:]
        return blocks

    def close(self) -> Frame | bytes:
        """The rest: no blank line ended it, or one whose last byte could have been half of a CRLF."""
        return _block(self._rest) if _BLOCK_END.search(self._rest) else self._rest


def _block(raw: bytes) -> Frame | bytes:
    events = sse.Decoder().feed(raw)
    if not events:
        return raw
    (event,) = events
    return Frame(event.data, type=event.type, id=event.id or None)
