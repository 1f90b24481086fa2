"""A client that knows sockets alone, and a server that sends the bytes that a test wrote."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 20.0
PATHS = {"responses": "/responses", "chat": "/chat/completions", "completions": "/completions"}
# Short answers: some are sent byte by byte.
ASKS: dict[str, dict[str, Any]] = {
    "responses": {"model": "m-1", "input": "Hello", "max_output_tokens": 24, "stream": True},
    "chat": {"model": "m-1", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 24, "stream": True},
    "completions": {"model": "m-1", "prompt": "Hello", "max_tokens": 24, "stream": True},
}


class Wire:
    """All that came over one connection: the ``raw`` bytes, and whether it ended in an ``end of file`` or a ``reset``."""

    def __init__(self, raw: bytes, ending: str) -> None:
        self.raw = raw
        self.ending = ending
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.first, *self.lines = head.decode("latin-1").split("\r\n")

    @property
    def answer(self) -> tuple[str, list[str], bytes, str]:
        """All but what belongs to the connection."""
        own = ("connection:", "keep-alive:", "openai-organization:", "set-cookie:")
        return self.first, [line for line in self.lines if not line.lower().startswith(own)], self.body, self.ending

    @property
    def chunks(self) -> list[bytes]:
        """The HTTP chunks, each with its framing."""
        return re.findall(rb"(?s)[0-9a-f]+\r\n.*?\r\n(?=[0-9a-f]+\r\n|\Z)", self.body)


def ask(
    url: str, path: str, body: Any = None, *, until: bytes | None = None, method: str = "POST", **headers: str
) -> Wire:
    """Send a request and take what comes until the connection ends, or, with ``until``, until that has come."""
    address = urlsplit(url)
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {address.path}{path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(data)}", "", ""]
    raw, ending = b"", "end of file"
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE) as connected:
        connected.sendall("\r\n".join(lines).encode() + data)
        try:
            while piece := connected.recv(1 << 16):
                raw += piece
                if until is not None and until in raw:
                    ending = "left"
                    break
        except ConnectionResetError:
            ending = "reset"
    return Wire(raw, ending)


class Upstream:
    """Reads a request and does with its connection what the test says, one after the other, then the last again."""

    def __init__(self, *scripts: Callable[[socket.socket], None], tls: Any = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests: list[bytes] = []
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connected.settimeout(PATIENCE)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_side=True)
            with connected:
                data = b""
                while b"\r\n\r\n" not in data:
                    if not (piece := connected.recv(1 << 16)):
                        return
                    data += piece
                head, _, body = data.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                while len(body) < (int(length[1]) if length else 0):
                    body += connected.recv(1 << 16)
                script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
                self.requests.append(head + b"\r\n\r\n" + body)
                script(connected)


def sends(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Send these bytes and close the connection."""

    def script(connected: socket.socket) -> None:
        for piece in pieces:
            connected.sendall(piece)

    return script


def then_resets(*pieces: bytes) -> Callable[[socket.socket], None]:
    """Send these bytes, and reset the connection when they have been acknowledged."""

    def script(connected: socket.socket) -> None:
        import fcntl
        import termios

        sends(*pieces)(connected)
        waiting = bytearray(4)
        while fcntl.ioctl(connected.fileno(), termios.TIOCOUTQ, waiting) == 0 and any(waiting):
            pass
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return script


def chunk(data: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
