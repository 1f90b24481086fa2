"""Running a gateway: in this process, or in several that share a socket and a folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from unspool import Error
from unspool.client.limits import CONNECT_TIMEOUT
from unspool.config.target import Route, Target
from unspool.serve import metrics
from unspool.serve.files import FileStore
from unspool.serve.gateway import Gateway, Settings
from unspool.serve.http import Limits, Server
from unspool.serve.loop import run
from unspool.serve.metrics import Metrics
from unspool.serve.owners import Owners, read_secret, read_tokens
from unspool.serve.store import Store, StoreError
from unspool.serve.upstream import Upstream

# Seconds after which a worker that dies at once is started again, so that a broken one does not eat the machine.
_RESTART_PAUSE = 0.5


@dataclass(slots=True)
class Configuration:
    """Everything a worker needs to know. ``tokens`` is the file of tokens, None for callers' keys.

    ``engine`` is the URL of the Valkey or Redis that keeps the streams, None where they are kept in ``folder``. ``secret`` is the file
    of the gateway's secret, None for one in the folder, which is made at the first start.
    """

    target: Target
    folder: str
    settings: Settings = field(default_factory=Settings)
    limits: Limits = field(default_factory=Limits)
    engine: str | None = None
    secret: str | None = None
    tokens: str | None = None
    sync: str = "interval"
    keep: float = 86400.0
    keep_bytes: int | None = None
    use_proxy: bool = True
    certificate: tuple[str, str] | None = None
    metrics: int | None = None
    """The port of ``/metrics`` on 127.0.0.1, None for none."""

    def store(self) -> Store:
        """One more process's store. Raises Error for a URL that cannot be used."""
        if self.engine is not None:
            from unspool.serve.valkey import ValkeyStore

            fingerprint = self.owners().digest("store")
            return ValkeyStore(self.engine, fingerprint=fingerprint, sync=self.sync, keep=self.keep)
        return FileStore(self.folder, sync=self.sync, keep=self.keep, keep_bytes=self.keep_bytes)

    def owners(self) -> Owners:
        """Who may ask. Raises Error and OSError."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        secret = read_secret(self.secret or os.path.join(self.folder, "secret"), make=self.secret is None)
        return Owners(secret, read_tokens(self.tokens) if self.tokens is not None else None)

    def tls(self) -> ssl.SSLContext | None:
        """The TLS of the listening socket. Raises OSError."""
        if self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.certificate)
        return context


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises OSError."""
    listener = socket.create_server(
        (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
    )
    listener.set_inheritable(True)
    return listener


class Worker:
    """A gateway in the running event loop."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        network = configuration.target.network or Route()
        self.gateway = Gateway(
            configuration.store(),
            Upstream(
                configuration.target,
                connect_timeout=network.connect_timeout or CONNECT_TIMEOUT,
                use_proxy=configuration.use_proxy,
            ),
            configuration.owners(),
            configuration.settings,
            Metrics() if configuration.metrics is not None else None,
        )
        self._server = Server(self.gateway.handle, configuration.limits)

    async def start(self, listener: socket.socket) -> None:
        """Open the store and answer requests. Raises Error."""
        try:
            await self.gateway.open()
        except StoreError as error:
            raise Error(f"the gateway's store cannot be used: {error}") from error
        await self._server.listen([listener], self._configuration.tls())

    async def stop(self) -> None:
        """Drain, and close everything."""
        # Who comes meanwhile hears that new streams are not taken, or reads on in one that still runs.
        await self.gateway.drain()
        self._server.stop_accepting()
        await self.gateway.close()
        await self._server.close()

    def reload(self) -> None:
        """Read the tokens again. Raises Error and OSError; the old ones then stay."""
        if self._configuration.tokens is not None:
            self.gateway.replace_tokens(read_tokens(self._configuration.tokens))


async def run_worker(configuration: Configuration, listener: socket.socket, on_ready: Callable[[], object]) -> None:
    """Run a gateway until SIGTERM or SIGINT; a second one ends it at once."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            os._exit(1)
        stopping.set()

    worker = Worker(configuration)

    def reload() -> None:
        try:
            worker.reload()
        except (Error, OSError) as error:
            print(f"unspool: the tokens are unchanged: {error}", file=sys.stderr)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await worker.start(listener)
    on_ready()
    await stopping.wait()
    await worker.stop()


def run_workers(
    configuration: Configuration, listener: socket.socket, count: int, on_ready: Callable[[], object]
) -> int:
    """Run several gateways in child processes until SIGTERM or SIGINT. One that dies is started again. Returns the exit code."""
    children: dict[int, int] = {}
    stopping = False
    if configuration.metrics is not None:
        metrics.prepare(os.path.join(configuration.folder, "metrics"))
        metrics.serve(configuration.metrics)

    def start(number: int) -> int:
        """Start a worker. Returns a descriptor that can be read once it is ready or has died, to be closed."""
        ready_read, ready_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready_read)
            code = 1
            try:
                signal.set_wakeup_fd(-1)
                for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(one, signal.SIG_DFL)
                run(run_worker(configuration, listener, lambda: os.close(ready_write)))
                code = 0
            except Error as error:
                print(f"unspool: {error}", file=sys.stderr)
            except KeyboardInterrupt:
                code = 130
            finally:
                os._exit(code)
        os.close(ready_write)
        children[pid] = number
        if stopping:
            # The signal came before this child could be told.
            os.kill(pid, signal.SIGTERM)
        return ready_read

    def forward(number: int, _: object) -> None:
        nonlocal stopping
        stopping = stopping or number != signal.SIGHUP
        for pid in list(children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # A signal that comes just before a call that waits does not end the waiting, and its handler would not run: so what is waited for
    # is a pipe, which the interpreter's own handler writes to.
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for place in range(count):
        ready = start(place)
        os.read(ready, 1)
        os.close(ready)
    on_ready()
    code = 0
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            select.select([woken], [], [])
            with contextlib.suppress(BlockingIOError):
                os.read(woken, 4096)
            continue
        ended = children.pop(pid, None)
        if configuration.metrics is not None:
            metrics.forget(pid)
        if ended is None or stopping:
            continue
        if os.waitstatus_to_exitcode(status) == 1:
            code = 1
        print(f"unspool: worker {pid} ended ({os.waitstatus_to_exitcode(status)}); starting another", file=sys.stderr)
        signal.sigtimedwait([], _RESTART_PAUSE)
        if not stopping:
            # Not waited for: while it starts, others may end.
            os.close(start(ended))
    return code
