"""A gateway in a background thread, before a simulator, for tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import requests

from support.waiting import PATIENCE
from unspool.config.target import Target
from unspool.serve.gateway import Settings
from unspool.serve.loop import run as run_loop
from unspool.serve.owners import hash_token, new_token
from unspool.serve.running import Configuration, Worker, listen
from unspool.sse import Decoder, Event

CHAT: dict[str, Any] = {
    "model": "gpt-5.4-mini",
    "stream": True,
    "messages": [{"role": "user", "content": "What is Python?"}],
}


def write_tokens(file: Path, *entries: str) -> list[str]:
    """Write a file of tokens, one for each entry, which is TOML without the hash; returns the tokens."""
    tokens = [new_token() for _ in entries]
    written = [
        f'[[token]]\nhash = "{hash_token(token)}"\n{entry}\n' for token, entry in zip(tokens, entries, strict=True)
    ]
    file.write_text("".join(written))
    return tokens


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def raw(url: str, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> tuple[int, str, bytes]:
    """Send a request exactly as it is written, which `requests` would tidy up. Returns the status, the head and the body."""
    parts = urlsplit(url)
    lines = [f"{method} {target} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}", *headers]
    if not any(one.lower().startswith("host:") for one in headers):
        lines.append(f"Host: {parts.netloc}")
    with socket.create_connection((parts.hostname or "", parts.port or 80), PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1").lower(), rest


class Running:
    """A gateway in a thread with an event loop of its own."""

    def __init__(
        self,
        upstream: str,
        folder: Path,
        *,
        key: str | None = None,
        tokens: Path | None = None,
        keep: float = 86400.0,
        keep_bytes: int | None = None,
        engine: str | None = None,
        sync: str = "interval",
        **settings: Any,
    ) -> None:
        self.configuration = Configuration(
            Target("upstream", upstream, "chat", key=key),
            str(folder),
            Settings(**{"drain": 0.2, **settings}),
            tokens=None if tokens is None else str(tokens),
            use_proxy=False,
            keep=keep,
            keep_bytes=keep_bytes,
            sync=sync,
            engine=engine,
        )
        self.url = ""
        self.worker: Worker
        # A test that needs only the head leaves the rest unread.
        self._responses: list[requests.Response] = []
        self.loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Running:
        ready = threading.Event()
        self._error: BaseException | None = None

        def run() -> None:
            try:
                run_loop(self._run(ready))
            except BaseException as error:
                self._error = error
                ready.set()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        for response in self._responses:
            response.close()
        assert not self._thread.is_alive()
        if self._error is not None and error is None:
            raise self._error

    async def _run(self, ready: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        with listen("127.0.0.1", 0) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            self.worker = Worker(self.configuration)
            await self.worker.start(listener)
            ready.set()
            await self._stop.wait()
            await self.worker.stop()

    # Requests

    def ask(self, body: dict[str, Any] = CHAT, path: str = "/chat/completions", **options: Any) -> requests.Response:
        headers = {"Authorization": "Bearer sk-alice", **options.pop("headers", {})}
        return self._closed_at_the_end(
            requests.post(self.url + path, json=body, headers=headers, stream=True, timeout=PATIENCE, **options)
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": "Bearer sk-alice", **options.pop("headers", {})}
        return self._closed_at_the_end(
            requests.get(self.url + path, headers=headers, stream=True, timeout=PATIENCE, **options)
        )

    def _closed_at_the_end(self, response: requests.Response) -> requests.Response:
        self._responses.append(response)
        return response


def events(response: requests.Response) -> list[Event]:
    """All events of a response."""
    return list(each_event(response))


def each_event(response: requests.Response) -> Iterator[Event]:
    """The events of a response as they arrive."""
    decoder = Decoder()
    for chunk in response.iter_content(None):
        yield from decoder.feed(chunk)
    yield from decoder.close()


@contextmanager
def closing(response: requests.Response) -> Iterator[requests.Response]:
    try:
        yield response
    finally:
        response.close()
