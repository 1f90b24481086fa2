"""Running an application: until a signal comes, for a command, or in a background thread, for tests and programs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from unspool.sim.block import Block
from unspool.sim.connection import CONNECTION, ClientConnection, listen
from unspool.sim.received import ReceivedRequest
from unspool.sim.script import Scripted
from unspool.sim.simulator import SimulatorSettings, app, fault_chooser, script
from unspool.sim.tapes.matcher import TapeMatcher


def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    settings: SimulatorSettings | None = None,
    on_ready: Callable[[str], None] | None = None,
    on_miss: Callable[[str], object] = lambda text: None,
) -> signal.Signals:
    """Run a simulator until SIGINT or SIGTERM, and return which of them it was. Streams still open are cut.

    Port 0 is any free one. ``on_ready`` is called with the base URL, ``/v1`` included, once requests are answered; ``on_miss`` why no tape
    answers a request. To be called from the main thread, where signals arrive. Raises OSError when the address cannot be used.
    """
    application = app(settings, on_miss=on_miss)
    with listen(host, port) as listener:
        return asyncio.run(_serve_until_signal(listener, application, on_ready))


class Simulator(Block, Scripted):
    """A simulator in a background thread, on a free port of 127.0.0.1.

        with Simulator() as simulator:
            requests.post(simulator.url + "/completions", ...)

    It answers without delay unless its ``settings`` say otherwise. When it stops, streams still open are cut.

    ``tapes`` is a tape, a folder of them or several of either, besides those of the settings.
    """

    def __init__(
        self,
        settings: SimulatorSettings | None = None,
        *,
        tapes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        settings = settings or SimulatorSettings()
        self._faults = fault_chooser(settings)
        self.answers = script(settings)
        """The scripted answers that are in: `answer` and `when` put in more."""
        self.tapes = TapeMatcher(settings.tape_paths, match=settings.tape_match, ignore=settings.tape_ignore)
        """The tapes that are in: ``add`` puts in more, and ``played`` names those that have answered."""
        for path in [tapes] if isinstance(tapes, str | os.PathLike) else tapes:
            self.tapes.add(path)
        self._app = app(settings, self._faults, self.tapes, self.answers)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.url = ""
        """The base URL, ``/v1`` included; empty while it is not running."""

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The latest requests that came, oldest first, each with the faults it met."""
        return self._faults.requests

    def script(self, *faults: str) -> None:
        """Say what the next requests meet with, one after the other: ``script("status=429", "cut=7", "")`` ends in success.

        Raises ValueError for what is no fault.
        """
        self._faults.script(*faults)

    def reset(self) -> None:
        """Forget the answers, the requests and the faults that are left, as between two tests with one simulator."""
        self.answers.clear()
        self._faults.forget()

    def start(self) -> None:
        """Start, and return once requests are answered. Raises OSError when no port is free."""
        if self._thread is not None:
            raise RuntimeError("the simulator is already running")
        listener = listen("127.0.0.1", 0)
        url = _url(listener)
        ready = threading.Event()
        server = _Server(self._app, ready.set)
        # A daemon, so that a program that forgets to stop its simulator can still end.
        thread = threading.Thread(target=_serve, args=(server, listener, ready), name="unspool-simulator", daemon=True)
        thread.start()
        ready.wait()
        if not server.started:
            thread.join()
            raise RuntimeError("the simulator could not start; its thread reported the reason")
        self._server, self._thread, self.url = server, thread, url

    def stop(self) -> None:
        """Stop it, and return once its thread has ended and its sockets are closed. Does nothing when it is not running."""
        if self._thread is None or self._server is None:
            return
        self._server.stop()
        self._thread.join()
        self._server = self._thread = None
        self.url = ""


class _Connections:
    """Lends each request the connection that it came by, as ``scope["unspool.connection"]``.

    ``protocol`` is uvicorn's own with what asyncio calls on every protocol overridden, and nothing of uvicorn's called; where there is no
    such class, as a later version may have it, it is None, and all answers go the plain way, through ASGI.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: dict[tuple[object, ...], ClientConnection] = {}
        self._serving = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.protocol = _protocol(self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._open.get(tuple(scope.get("client") or ()))
        if scope["type"] != "http" or connection is None:
            return await self._app(scope, receive, send)
        scope[CONNECTION] = connection
        connection.head_arrived()
        self._serving += 1
        self._idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            connection.is_serving = False
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    async def idle(self) -> None:
        """Return when no request is being answered."""
        await self._idle.wait()

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._open.values()):
            connection.abort()


def _protocol(connections: dict[tuple[object, ...], ClientConnection]) -> type[asyncio.Protocol] | None:
    """uvicorn's protocol that keeps the open connections by their clients' addresses."""
    try:
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError:
        return None

    class Protocol(H11Protocol):
        _address: tuple[str, int]

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._address = transport.get_extra_info("peername")[:2]
            connections[self._address] = connection = ClientConnection(transport)
            connection.head_arrives()

        def data_received(self, data: bytes) -> None:
            connections[self._address].head_arrives()
            super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self._address).lost()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            connections[self._address].pause()
            super().pause_writing()

        def resume_writing(self) -> None:
            connections[self._address].resume()
            super().resume_writing()

    return Protocol


class _Server(uvicorn.Server):
    """uvicorn, but quiet, without a hand on the process's signals, and gone at once when told to stop."""

    def __init__(self, app: ASGIApp, on_ready: Callable[[], None]) -> None:
        self._connections = connections = _Connections(app)
        super().__init__(
            uvicorn.Config(
                connections,
                http=connections.protocol or "h11",
                ws="none",
                lifespan="off",
                # None leaves the logging of the program this runs in as it is.
                log_config=None,
                # A client's mistake is answered, and no news; its advice to install a WebSocket library is of no use here.
                log_level="error",
                access_log=False,
                server_header=False,
            )
        )
        self._on_ready = on_ready
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped: asyncio.Event | None = None

    def stop(self) -> None:
        """Stop serving, from any thread. uvicorn looks every tenth of a second whether it should."""
        self.should_exit = True
        if self._loop is not None and self._stopped is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def main_loop(self) -> None:
        main = asyncio.ensure_future(super().main_loop())
        stopped = asyncio.ensure_future(self._stopped.wait()) if self._stopped is not None else main
        await asyncio.wait({main, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (main, stopped):
            task.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._connections.protocol is None:
            return await super().shutdown(sockets)
        for server in self.servers:
            server.close()
        # uvicorn waits for each stream to end, which may take minutes. To the application a connection lost here looks
        # like any client that hung up, so each stream ends in the way it ends then.
        self._connections.abort()
        await self._connections.idle()


async def _serve_until_signal(
    listener: socket.socket, app: ASGIApp, on_ready: Callable[[str], None] | None
) -> signal.Signals:
    caught: list[signal.Signals] = []
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        server.stop()

    def ready() -> None:
        if on_ready is not None:
            on_ready(_url(listener))

    server = _Server(app, ready)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    await server.serve(sockets=[listener])
    return caught[0]


def _serve(server: _Server, listener: socket.socket, ready: threading.Event) -> None:
    try:
        with listener:
            asyncio.run(server.serve(sockets=[listener]))
    finally:
        # Also after a failure: the starting thread waits for this.
        ready.set()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"
