"""Servers that play written answers, byte for byte, and what the three endpoints' answers look like on the wire."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

APIS = ("responses", "chat", "completions")

# Nothing here takes this long; a test that does is broken.
PATIENCE = 20.0


class Connection:
    """One connection to a scripted server, its request read."""

    def __init__(self, connected: socket.socket, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.socket = connected
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.played = threading.Event()
        self.hung_up = threading.Event()

    @property
    def json(self) -> Any:
        """What the request's body says."""
        return json.loads(self.body)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def reset(self) -> None:
        """Break the connection with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def await_hang_up(self) -> None:
        """Wait until the client has closed its end."""
        with contextlib.suppress(OSError):
            while self.socket.recv(1 << 16):
                pass
        self.hung_up.set()


Answer = bytes | Callable[[Connection], None]


class Server:
    """Answers each request with the next of its answers, and further ones with the last."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[Connection] = []
        self.arrived = threading.Event()
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Take no more connections, and break those that are open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for request in self.requests:
            with contextlib.suppress(OSError):
                request.socket.shutdown(socket.SHUT_RDWR)
            request.socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            connected.settimeout(PATIENCE)
            threading.Thread(target=self._answer, args=(connected,), daemon=True).start()

    def _answer(self, connected: socket.socket) -> None:
        # An end that the client makes is what some tests are about.
        with contextlib.suppress(OSError):
            request = _read_request(connected)
            if request is None:
                connected.close()
                return
            answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
            self.requests.append(request)
            self.arrived.set()
            if callable(answer):
                answer(request)
            else:
                request.send(answer)
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_WR)
            connected.close()


def _read_request(connected: socket.socket) -> Connection | None:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connected.recv(1 << 16)
        if not chunk:
            return None
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    chunks = [body]
    missing = int(headers.get("content-length", "0")) - len(body)
    while missing > 0:
        chunk = connected.recv(1 << 16)
        if not chunk:
            return None
        chunks.append(chunk)
        missing -= len(chunk)
    method, path, _ = first.split(" ")
    return Connection(connected, method, path, headers, b"".join(chunks))


def head(status: int = 200, type: str = "text/event-stream", **headers: str) -> bytes:
    """The head of an answer that ends when the connection does."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {type}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def event(value: Any) -> bytes:
    """One event with a JSON object, named by its ``type`` as the Responses API does."""
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


def start(api: str, model: str = "m-1") -> bytes:
    """The first event of an answer."""
    if api == "responses":
        return event({"type": "response.created", "response": {"id": "r1", "model": model, "status": "in_progress"}})
    return event({"id": "r1", "model": model, "choices": []})


def piece(api: str, text: str, choice: int = 0) -> bytes:
    """An event that adds text."""
    if api == "responses":
        place = {"item_id": "i1", "output_index": 0, "content_index": 0}
        return event({"type": "response.output_text.delta", **place, "delta": text})
    added = {"delta": {"content": text}} if api == "chat" else {"text": text}
    return event({"id": "r1", "model": "m-1", "choices": [{"index": choice, **added, "finish_reason": None}]})


def refusal(api: str, text: str) -> bytes:
    """An event that adds to a refusal."""
    if api == "responses":
        place = {"item_id": "i1", "output_index": 0, "content_index": 0}
        return event({"type": "response.refusal.delta", **place, "delta": text})
    return event({"id": "r1", "choices": [{"index": 0, "delta": {"refusal": text}, "finish_reason": None}]})


def end(api: str, reason: str = "stop", choices: int = 1) -> bytes:
    """The last events: ``reason`` is ``stop``, ``length`` or ``content_filter``."""
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    if api == "responses":
        whole = {"id": "r1", "model": "m-1", "output": [], "usage": usage, "status": "completed"}
        if reason == "stop":
            return event({"type": "response.completed", "response": whole})
        why = "max_output_tokens" if reason == "length" else reason
        whole.update(status="incomplete", incomplete_details={"reason": why})
        return event({"type": "response.incomplete", "response": whole})
    empty: dict[str, Any] = {"delta": {}} if api == "chat" else {"text": ""}
    finished = [{"index": index, **empty, "finish_reason": reason} for index in range(choices)]
    last = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return (
        event({"id": "r1", "model": "m-1", "choices": finished})
        + event({"id": "r1", "model": "m-1", "choices": [], "usage": last})
        + b"data: [DONE]\n\n"
    )


def stream(api: str, *texts: str, reason: str = "stop", model: str = "m-1") -> bytes:
    """A whole answer, with its head."""
    return head() + start(api, model) + b"".join(piece(api, text) for text in texts) + end(api, reason)


def error(status: int, message: str, code: str | None = None, type: str = "error", **headers: str) -> bytes:
    """A refused request, as OpenAI words it."""
    body = {"error": {"message": message, "type": type, "param": None, "code": code}}
    return head(status, "application/json", **headers) + json.dumps(body, ensure_ascii=False).encode()


def then_silence(data: bytes) -> Callable[[Connection], None]:
    """Send this and nothing more, until the client hangs up."""

    def answer(connection: Connection) -> None:
        if data:
            connection.send(data)
        connection.played.set()
        connection.await_hang_up()

    return answer


def then_reset(data: bytes) -> Callable[[Connection], None]:
    """Send this and break the connection, once the client has taken it in."""

    def answer(connection: Connection) -> None:
        connection.send(data)
        # A RST discards what the other end has not read: wait until the kernel there has acknowledged it all.
        import fcntl
        import termios

        waiting = bytearray(4)
        while fcntl.ioctl(connection.socket, termios.TIOCOUTQ, waiting) == 0 and any(waiting):
            pass
        connection.reset()

    return answer
