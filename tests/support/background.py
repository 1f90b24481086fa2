"""A server with one background response, which breaks its streams in whatever way a test wants."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from .server import Connection, Server
from .wire import SSE_HEAD, event

Act = Callable[["BackgroundServer", Connection, int], None]


class BackgroundServer(Server):
    """``length`` events: the creation, words, the end. The first request gets ``first`` of them and a closed connection.

    Each further stream is an act of ``again``, the last one for all that follow; each poll gets a response in one of the states
    of ``polls``, likewise, or a status.
    """

    def __init__(
        self,
        *again: Act,
        polls: tuple[str | int, ...] = ("completed",),
        first: int = 4,
        length: int = 12,
        cancel: Callable[[Connection], None] | None = None,
    ) -> None:
        self.again = again
        self.polls = polls
        self.first = first
        self.length = length
        self.streams: list[int] = []
        self.polled = 0
        self.cancelled = threading.Event()
        self._cancel = cancel
        super().__init__(self._route)

    @property
    def words(self) -> list[str]:
        return [f"word{number} " for number in range(1, self.length - 1)]

    @property
    def text(self) -> str:
        return "".join(self.words)

    def response(self, status: str) -> dict[str, Any]:
        texts = self.words if status == "completed" else self.words[: self.first + 2]
        content = [{"type": "output_text", "text": "".join(texts), "annotations": []}]
        item = {"type": "message", "id": "i", "role": "assistant", "status": status, "content": content}
        error = {"code": "server_error", "message": "The model broke."} if status == "failed" else None
        found = {"id": "resp_1", "object": "response", "model": "m", "status": status, "error": error}
        return {**found, "output": [] if status in ("queued", "cancelled") else [item]}

    def event(self, number: int) -> bytes:
        if number == 0:
            return event(self._numbered(0, "response.created", response=self.response("queued")))
        if number == self.length - 1:
            return event(self._numbered(number, "response.completed", response=self.response("completed")))
        place = {"item_id": "i", "output_index": 0, "content_index": 0, "delta": self.words[number - 1]}
        return event(self._numbered(number, "response.output_text.delta", **place))

    def events(self, *numbers: int) -> bytes:
        return b"".join(self.event(number) for number in numbers if number < self.length)

    def failed(self, number: int) -> bytes:
        return event(self._numbered(number, "response.failed", response=self.response("failed")))

    def _numbered(self, number: int, type: str, **fields: Any) -> dict[str, Any]:
        return {"type": type, "sequence_number": number, **fields}

    def _route(self, connection: Connection) -> None:
        path, _, query = connection.path.partition("?")
        if path.endswith("/cancel"):
            self.cancelled.set()
            if self._cancel is not None:
                self._cancel(connection)
            else:
                connection.reply(200, self.response("cancelled"))
        elif connection.method == "POST":
            connection.send(SSE_HEAD, self.events(*range(self.first)))
            if not self.again:
                connection.wait_closed()
        elif "stream=true" in query:
            after = int(query.rpartition("starting_after=")[2]) if "starting_after=" in query else -1
            self.streams.append(after)
            self.again[min(len(self.streams), len(self.again)) - 1](self, connection, after)
        else:
            state = self.polls[min(self.polled, len(self.polls) - 1)]
            self.polled += 1
            if isinstance(state, int):
                connection.reply(state, {"error": {"message": "No.", "code": None}})
            else:
                connection.reply(200, self.response(state))


def rest(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream what follows."""
    connection.send(SSE_HEAD, server.events(*range(after + 1, server.length)))


def one_more(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream one event and hang up."""
    connection.send(SSE_HEAD, server.events(after + 1))


def from_the_start(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream all, whatever was asked for."""
    connection.send(SSE_HEAD, server.events(*range(server.length)))


def stuttering(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream each event three times, and each with the one before it."""
    for number in range(after + 1, server.length):
        connection.send(SSE_HEAD if number == after + 1 else b"", server.events(number, number, number - 1, number))


def with_a_gap(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Leave out an event."""
    connection.send(SSE_HEAD, server.events(after + 1, *range(after + 3, server.length)))


def gap_at_once(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Leave out the very next event."""
    connection.send(SSE_HEAD, server.events(*range(after + 2, server.length)))


def out_of_order(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream two events in each other's place."""
    connection.send(SSE_HEAD, server.events(after + 1, after + 3, after + 2, *range(after + 4, server.length)))


def nothing(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream nothing, and close in good order."""
    connection.send(SSE_HEAD)


def half_an_event(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream an event and a half."""
    connection.send(SSE_HEAD, server.events(after + 1), server.events(after + 2)[:40])


def reset_at_once(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Break the connection before the head."""
    connection.reset()


def reset_after_head(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Break the connection after the head."""
    connection.send(SSE_HEAD)
    connection.reset()


def failing(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream one more, and then that the response has failed."""
    connection.send(SSE_HEAD, server.events(after + 1), server.failed(after + 2))


def silent(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Stream nothing and do not close."""
    connection.send(SSE_HEAD)
    connection.wait_closed()


def gone(server: BackgroundServer, connection: Connection, after: int) -> None:
    """Listen no more from now on."""
    server.stop_listening()


def status(number: int, **headers: str) -> Act:
    """Refuse."""

    def act(server: BackgroundServer, connection: Connection, after: int) -> None:
        connection.reply(number, {"error": {"message": "Not so.", "code": None}}, **headers)

    return act
