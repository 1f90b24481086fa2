"""The scripted server: it does what a test says, byte by byte."""

from __future__ import annotations

import contextlib
import fcntl
import json
import queue
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable
from typing import Any

from .waiting import PATIENCE
from .wire import reply


class Connection:
    """One connection, as the server sees it, with the request that was read from it."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.method = self.path = ""
        self.headers: dict[str, str] = {}
        self.head = self.body = b""
        #: Set by `then_silence` once everything has been sent.
        self.played = threading.Event()
        #: Set once the client has closed its end, by whoever waits for that.
        self.hung_up = threading.Event()
        self._unread = b""

    @property
    def json(self) -> Any:
        """The request's body as JSON."""
        return json.loads(self.body)

    def read_request(self) -> bool:
        """Read a request. False when the client has closed the connection before one was complete."""
        while b"\r\n\r\n" not in self._unread:
            if not self._receive():
                return False
        self.head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = self.head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(self.headers.get("content-length", 0))
        while len(self._unread) < length:
            if not self._receive():
                return False
        self.body, self._unread = self._unread[:length], self._unread[length:]
        return True

    def send(self, *parts: bytes) -> None:
        """Send bytes, each part by itself."""
        for part in parts:
            self.socket.sendall(part)

    def reply(self, status: int, value: Any, **headers: str) -> None:
        """Send a complete JSON answer and close the connection."""
        self.send(reply(status, json.dumps(value).encode(), **headers))
        self.close()

    def wait_received(self) -> None:
        """Wait until the kernel of the client has acknowledged everything: a RST discards what it has not."""
        waiting = bytearray(4)
        while fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, waiting) == 0 and any(waiting):
            time.sleep(0.001)

    def wait_closed(self) -> bool:
        """Wait until the client has closed the connection. False when it does not."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        self.hung_up.set()
        return True

    def is_gone(self) -> bool:
        """Whether the client has closed the connection, or the server is being closed."""
        try:
            readable, _, _ = select.select([self.socket], [], [], 0)
            return bool(readable) and not self.socket.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def reset(self) -> None:
        """End the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def _receive(self) -> bool:
        data = self.socket.recv(1 << 16)
        self._unread += data
        return bool(data)


Script = Callable[[Connection], object]
Answer = bytes | Script


def sends(*parts: bytes) -> Script:
    """Send these bytes, each part by itself, and close the connection."""
    return lambda connection: connection.send(*parts)


def then_silence(*parts: bytes) -> Script:
    """Send these bytes and nothing more, until the client hangs up."""

    def script(connection: Connection) -> None:
        connection.send(*parts)
        connection.played.set()
        connection.wait_closed()

    return script


def then_reset(*parts: bytes) -> Script:
    """Send these bytes and reset the connection once the client has them."""

    def script(connection: Connection) -> None:
        connection.send(*parts)
        connection.wait_received()
        connection.reset()

    return script


class Server:
    """Answers each request with the next of ``answers``, and all further ones with the last.

    Without answers, the test plays the server by hand: `accept` returns the next connection, its request read. With ``raw`` no
    request is read, and the script has the connection from its first byte. ``requests`` holds the connections whose request came.
    An error in a script is raised by `close`.
    """

    def __init__(
        self, *answers: Answer, tls: ssl.SSLContext | None = None, raw: bool = False, family: int = socket.AF_INET
    ) -> None:
        self.answers = answers
        self.requests: list[Connection] = []
        self.connections = 0
        #: Set once a request has come.
        self.arrived = threading.Event()
        self._tls = tls
        self._raw = raw
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.host = f"{host if family == socket.AF_INET else f'[{host}]'}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}/v1"
        self._waiting: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._sockets: list[socket.socket] = []
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def accept(self) -> Connection:
        """Wait for the next request; for a server without answers."""
        return self._waiting.get(timeout=PATIENCE)

    def stop_listening(self) -> None:
        """Refuse further connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        """Refuse further connections, and cut those that are open."""
        self.stop_listening()
        for connected in self._sockets:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(PATIENCE)
        for connected in self._sockets:
            connected.close()
        if self._errors:
            raise self._errors[0]

    def _listen(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(connected)
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connected, self.connections - 1), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket, number: int) -> None:
        try:
            connected.settimeout(PATIENCE)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
                self._sockets.append(connected)
            connection = Connection(connected)
            if not self._raw:
                if not connection.read_request():
                    connected.close()
                    return
                with self._lock:
                    number = len(self.requests)
                    self.requests.append(connection)
                self.arrived.set()
            if not self.answers:
                self._waiting.put(connection)
                return
            answer = self.answers[min(number, len(self.answers) - 1)]
            if callable(answer):
                answer(connection)
            else:
                connection.send(answer)
            connected.close()
        except OSError:
            connected.close()  # the client hung up, as many tests want it to
        except BaseException as error:
            connected.close()
            self._errors.append(error)
