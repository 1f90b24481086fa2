"""A way to the gateway that breaks: connections that are closed after so many events."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

from support.waiting import PATIENCE

#: How many events a connection lets through, given the number of the connection from 0 and the first line of its request.
#: None for all.
Limit = Callable[[int, str], int | None]


class Cutter:
    """A TCP proxy before the server with the base URL ``upstream`` that closes each connection after some events of its answer.

    ``requests`` are the heads that came. One request a connection: clients connect again for each.
    """

    def __init__(self, upstream: str, limit: Limit) -> None:
        self._upstream = urlsplit(upstream)
        self._limit = limit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._upstream.path}"
        self.requests: list[str] = []

    def __enter__(self) -> Cutter:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    @property
    def paths(self) -> list[str]:
        """Method and path of each request."""
        return [" ".join(head.split(" ", 2)[:2]) for head in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(PATIENCE)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            request = _request(client)
            if not request:
                return
            head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
            number = len(self.requests)
            self.requests.append(head)
            left = self._limit(number, head.partition("\r\n")[0])
            with socket.create_connection(
                (self._upstream.hostname or "", self._upstream.port or 80), PATIENCE
            ) as server:
                server.sendall(request)
                self._pass(server, client, left)

    @staticmethod
    def _pass(server: socket.socket, client: socket.socket, left: int | None) -> None:
        """Pass on a response up to the end of this many events, of which ``retry:`` and comments are none."""
        data = b""
        sent = 0
        while piece := server.recv(1 << 16):
            data += piece
            if left is None:
                client.sendall(piece)
                continue
            end = _end_of(data, left)
            client.sendall(data[sent : len(data) if end is None else end])
            sent = len(data)
            if end is not None:
                return


def _end_of(data: bytes, events: int) -> int | None:
    """Where the event with this number ends in a chunked response; None while it has not."""
    at = data.find(b"\r\n\r\n")
    if at < 0:
        return None
    at += 4
    if not events:
        return at
    found = 0
    while (end := data.find(b"\n\n", at)) >= 0:
        block, at = data[at:end], end + 2
        found += b"data: " in block
        if found == events:
            return at
    return None


def _request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(1 << 16)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        piece = client.recv(1 << 16)
        body += piece
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection:", b"expect:"))]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body
