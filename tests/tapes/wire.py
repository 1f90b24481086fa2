"""A client that knows sockets only, and shows every byte that came."""

from __future__ import annotations

import json
import re
import socket
from typing import Any
from urllib.parse import urlsplit

from support.waiting import PATIENCE

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
