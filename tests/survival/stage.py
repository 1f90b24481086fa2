"""A server that a test plays by hand: it takes a request, and sends what it is told to when it is told to."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from .processes import PATIENCE


class Connection:
    """A connection whose request has been read."""

    def __init__(self, connected: socket.socket, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.socket = connected
        self.method = method
        self.path = path
        self.headers = headers
        self.body: Any = json.loads(body) if body else None

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def reply(self, status: int, value: Any, **headers: str) -> None:
        """Send a whole JSON answer."""
        body = json.dumps(value).encode()
        lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        self.close()

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Break the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def await_hang_up(self) -> None:
        """Wait until the client has closed its end."""
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 16):
                pass


class Stage:
    """Listens; `accept` returns the next connection, its request read. With ``play`` each is handed to that, in a thread."""

    def __init__(self, play: Callable[[Connection], None] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(PATIENCE)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        self.requests: list[Connection] = []
        self._play = play
        if play is not None:
            threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for request in self.requests:
            request.socket.close()

    def accept(self) -> Connection:
        """Wait for the next request."""
        request = self._read(self._listener.accept()[0])
        assert request is not None
        return request

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=self._listener.accept()[:1], daemon=True).start()

    def _answer(self, connected: socket.socket) -> None:
        assert self._play is not None
        with contextlib.suppress(OSError):
            request = self._read(connected)
            if request is not None:
                self._play(request)
            connected.close()

    def _read(self, connected: socket.socket) -> Connection | None:
        connected.settimeout(PATIENCE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while b"\r\n\r\n" not in data:
            chunk = connected.recv(1 << 16)
            if not chunk:
                return None
            data += chunk
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", "0")):
            body += connected.recv(1 << 16)
        method, path, _ = first.split(" ")
        request = Connection(connected, method, path, headers, body)
        self.requests.append(request)
        return request


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(value: Any) -> bytes:
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def piece(api: str, text: str) -> bytes:
    """An event that adds text."""
    if api == "responses":
        place = {"item_id": "i", "output_index": 0, "content_index": 0}
        return event({"type": "response.output_text.delta", **place, "delta": text})
    added: dict[str, Any] = {"delta": {"content": text}} if api == "chat" else {"text": text}
    return event({"id": "r1", "model": "m", "choices": [{"index": 0, **added, "finish_reason": None}]})


def end(api: str) -> bytes:
    """The events that end an answer."""
    if api == "responses":
        whole = {"id": "r1", "model": "m", "output": [], "status": "completed"}
        return event({"type": "response.completed", "response": whole})
    empty: dict[str, Any] = {"delta": {}} if api == "chat" else {"text": ""}
    return event({"id": "r1", "choices": [{"index": 0, **empty, "finish_reason": "stop"}]}) + b"data: [DONE]\n\n"
