"""A server that does exactly what a test says, byte by byte, and the streams that talk to it."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

from unspool.api.prompt import Prompt
from unspool.client.aio import AsyncAnswer
from unspool.client.answer import Answer, Limits
from unspool.client.exchange import Exchange
from unspool.config.target import Target
from unspool.journal.writer import Writer

KEY = "sk-test-0123456789abcdef"
#: Long enough for any machine: a test that waits this long has failed.
PATIENCE = 10.0

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def piece(text: str) -> bytes:
    """A chat event with a piece of text."""
    return event(
        {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    )


def finish(reason: str = "stop") -> bytes:
    """The chat event with the finish reason."""
    return event({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


WHOLE = piece("Hel") + piece("lo") + finish() + DONE


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def reply(status: int, body: bytes = b"", content_type: str = "application/json", **headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(body)}", "Connection: close"]
    if content_type:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def error(status: int, message: str = "no", **fields: Any) -> bytes:
    """An HTTP answer with an error in OpenAI's shape; the retry comes after a millisecond."""
    body = json.dumps({"error": {"message": message, "type": None, "param": None, "code": None} | fields}).encode()
    return reply(status, body, retry_after_ms="1")


class Connection:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.method = self.target = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self._unread = b""

    def read_request(self) -> bool:
        while b"\r\n\r\n" not in self._unread:
            if not self._receive():
                return False
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(self.headers.get("content-length", 0))
        while len(self._unread) < length:
            if not self._receive():
                return False
        self.body, self._unread = self._unread[:length], self._unread[length:]
        return True

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.sock.sendall(part)

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def wait_closed(self) -> bool:
        """Wait until the client has closed the connection. False when it does not."""
        try:
            while self.sock.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def _receive(self) -> bool:
        data = self.sock.recv(65536)
        self._unread += data
        return bool(data)


Script = Callable[[Connection], object]


def sends(*parts: bytes) -> Script:
    """The script that sends these bytes and closes."""
    return lambda connection: connection.send(*parts)


class Server:
    """Runs a script for each connection, the last one for all further ones. ``requests`` are those that came."""

    def __init__(
        self, *scripts: Script, tls: ssl.SSLContext | None = None, raw: bool = False, family: int = socket.AF_INET
    ) -> None:
        self.requests: list[Connection] = []
        self.errors: list[BaseException] = []
        self.connections = 0
        self._scripts = scripts
        self._tls = tls
        self._raw = raw
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._listener = socket.create_server((host, 0), family=family)
        self.port = self._listener.getsockname()[1]
        self.host = f"{host if family == socket.AF_INET else f'[{host}]'}:{self.port}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}/v1"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        if self.errors:
            raise self.errors[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(sock)
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock, script), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, script: Script) -> None:
        try:
            sock.settimeout(PATIENCE)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._sockets.append(sock)
            with sock:
                connection = Connection(sock)
                if not self._raw:
                    if not connection.read_request():
                        return
                    self.requests.append(connection)
                script(connection)
        except OSError:
            sock.close()  # the client hung up, as many tests want it to
        except BaseException as error:
            sock.close()
            self.errors.append(error)


def exchange(url: str, **arguments: Any) -> Exchange:
    """A stream to be asked of a server, journalled in memory."""
    target = Target(
        arguments.pop("name", "test"),
        url,
        arguments.pop("api", "chat"),
        key=arguments.pop("key", KEY),
        auth=arguments.pop("auth", "bearer"),
        headers=arguments.pop("headers", None),
    )
    prompt = Prompt("Hi", "m", **arguments.pop("prompt", {}))
    return Exchange(target, prompt, journal=arguments.pop("journal", None) or Writer(None), **arguments)


def ask(
    url: str,
    *,
    connect: float = 5.0,
    idle: float = PATIENCE,
    total: float | None = None,
    check: bool = False,
    **rest: Any,
) -> Answer:
    """A stream, asked of a server."""
    return Answer(exchange(url, **rest), Limits(connect, idle, total), check=check)


def aask(
    url: str,
    *,
    connect: float = 5.0,
    idle: float = PATIENCE,
    total: float | None = None,
    check: bool = False,
    **rest: Any,
) -> AsyncAnswer:
    """The same for asyncio."""
    return AsyncAnswer(exchange(url, **rest), Limits(connect, idle, total), check=check)


class Ended:
    """What came of a stream that was read to its end."""

    def __init__(self, answer: Answer) -> None:
        with answer:
            self.text = "".join(answer)
            self.answer = answer
        assert answer.ending is not None
        self.outcome = answer.ending.outcome
        self.message = answer.ending.message
        self.ending = answer.ending
        assert answer.exchange.journal is not None
        self.journal = answer.exchange.journal.contents().decode()


def read(url: str, **arguments: Any) -> Ended:
    """Ask and read to the end."""
    return Ended(ask(url, **arguments))


def told(*script: bytes, **arguments: Any) -> Ended:
    """What comes of a server that sends these bytes and closes the connection."""
    with Server(sends(*script)) as server:
        return read(server.url, **arguments)
