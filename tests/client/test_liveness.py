"""Each event is there before the next is sent, however it is cut up; and a slow reader is waited for."""

from __future__ import annotations

import threading
import time

import pytest

from support.server import Connection, Server
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, DONE, LAST_CHUNK, SSE_HEAD, chunk
from unspool.api.deltas import Delta
from unspool.client.answer import Answer
from unspool.client.http.transport import MOST_HELD, Reactor, Transfer

from .reading import WHOLE, aask, ask, exchange, finish, piece, read

WORDS = [f"w{number}" for number in range(20)]


class Acknowledging:
    """The script that sends a part only when the reader has acknowledged the one before."""

    def __init__(self, head: bytes, parts: list[bytes], last: bytes) -> None:
        self.acknowledged = threading.Semaphore(0)
        self._head, self._parts, self._last = head, parts, last

    def __call__(self, connection: Connection) -> None:
        connection.send(self._head)
        for part in self._parts:
            connection.send(part)
            assert self.acknowledged.acquire(timeout=PATIENCE), "the reader did not see what was sent"
        connection.send(self._last)


def bare_cr(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r")


LOCKSTEP = {
    "close-delimited": Acknowledging(SSE_HEAD, [piece(word) for word in WORDS], finish() + DONE),
    "chunked": Acknowledging(CHUNKED_HEAD, [chunk(piece(word)) for word in WORDS], chunk(finish() + DONE) + LAST_CHUNK),
    "bare CR": Acknowledging(SSE_HEAD, [bare_cr(piece(word)) for word in WORDS], bare_cr(finish() + DONE)),
    "CRLF": Acknowledging(
        SSE_HEAD, [piece(word).replace(b"\n", b"\r\n") for word in WORDS], finish().replace(b"\n", b"\r\n")
    ),
}


@pytest.mark.parametrize("framing", LOCKSTEP)
def test_each_event_is_delivered_before_the_next_is_sent(framing: str) -> None:
    script = LOCKSTEP[framing]
    with Server(script) as server, ask(server.url) as answer:
        seen = []
        for text in answer:
            seen.append(text)
            script.acknowledged.release()
    assert seen == WORDS
    assert answer.outcome == "complete"


async def test_each_event_is_delivered_before_the_next_is_sent_in_asyncio() -> None:
    script = Acknowledging(SSE_HEAD, [piece(word) for word in WORDS], finish() + DONE)
    with Server(script) as server:
        seen = []
        async with aask(server.url) as answer:
            async for text in answer:
                seen.append(text)
                script.acknowledged.release()
    assert seen == WORDS


def test_a_stream_may_come_one_byte_at_a_time() -> None:
    def script(connection: Connection) -> None:
        connection.send(CHUNKED_HEAD)
        for byte in WHOLE:
            connection.send(chunk(bytes([byte])))

    with Server(script) as server:
        assert read(server.url).text == "Hello"


def test_a_head_may_come_one_byte_at_a_time() -> None:
    def script(connection: Connection) -> None:
        connection.send(*(bytes([byte]) for byte in SSE_HEAD + WHOLE))

    with Server(script) as server:
        assert read(server.url).text == "Hello"


def test_the_end_mark_ends_the_stream_though_the_connection_stays_open() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, WHOLE)
        closed.append(connection.wait_closed())

    closed: list[bool] = []
    with Server(script) as server:
        assert read(server.url).outcome == "complete"
    assert closed == [True]


SIZE = 50_000_000
FILLER = b": " + b"x" * 65_533 + b"\n"


class Flood:
    """The script that sends 50 MB of comments as fast as they are taken, and then the answer."""

    def __init__(self) -> None:
        self.sent = 0

    def __call__(self, connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        while self.sent < SIZE:
            connection.send(FILLER)
            self.sent += len(FILLER)
        connection.send(b"\n", WHOLE)


def test_a_reader_that_does_not_read_is_waited_for_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    flood = Flood()
    with Server(flood) as server, ask(server.url) as answer:
        while not answer.text:
            answer.step()
        # The network runs, and nobody takes what it brings.
        most = 0
        for _ in range(200):
            answer._reactor.wait(0.001)
            assert answer._transfer is not None
            most = max(most, sum(map(len, answer._transfer._chunks)))
        assert 0 < most < 5_000_000
        assert answer._transfer is not None
        # What is held already is not waited for.
        waits: list[float] = []
        with monkeypatch.context() as patch:
            patch.setattr(type(answer._reactor), "wait", lambda _, seconds, *rest: waits.append(seconds) or set())
            answer.step()
        assert not any(waits)
        assert flood.sent < SIZE / 2
        text = "".join(answer)
        assert text.endswith("Hello")
        assert answer._transfer.taken >= SIZE
    assert answer.outcome == "complete"


async def test_a_task_that_does_not_read_is_waited_for_by_the_server() -> None:
    import asyncio

    flood = Flood()
    with Server(flood) as server:
        async with aask(server.url) as answer:
            while not answer.text:
                await answer.step()
            await asyncio.sleep(0.2)
            assert answer._transfer is not None
            assert 0 < sum(map(len, answer._transfer._chunks)) < 5_000_000
            assert flood.sent < SIZE / 2
            text = "".join([text async for text in answer])
            assert text.endswith("Hello")
            assert answer._transfer.taken >= SIZE
    assert answer.outcome == "complete"


async def test_a_task_slower_than_the_idle_limit_is_not_a_silent_server() -> None:
    import asyncio

    flood = Flood()
    with Server(flood) as server:
        async with aask(server.url, idle=0.15) as answer:
            async for _ in answer:
                await asyncio.sleep(0.4)
                break
            assert answer.outcome is None
            assert "".join([text async for text in answer]).endswith("Hello")
    assert answer.outcome == "complete"


def keeping(connection: Connection) -> None:
    """The script that answers each request on the same connection."""
    connection.send(CHUNKED_HEAD + chunk(WHOLE) + LAST_CHUNK)
    while connection.read_request():
        connection.send(CHUNKED_HEAD + chunk(WHOLE) + LAST_CHUNK)


def test_a_connection_is_used_again_for_the_next_stream() -> None:
    reactor = Reactor()
    with Server(keeping) as server:
        for _ in range(3):
            with Answer(exchange(server.url), reactor=reactor) as answer:
                assert "".join(answer) == "Hello"
        assert server.connections == 1
        reactor.close()


def test_a_kept_connection_that_the_server_has_closed_costs_nothing() -> None:
    reactor = Reactor()
    with Server(lambda connection: connection.send(CHUNKED_HEAD + chunk(WHOLE) + LAST_CHUNK)) as server:
        for _ in range(3):
            with Answer(exchange(server.url, retries=0), reactor=reactor) as answer:
                assert "".join(answer) == "Hello"
        reactor.close()


@pytest.mark.parametrize("way", ["cancelled", "too late"])
def test_what_had_come_is_kept_when_the_stream_is_ended(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [f"w{number} " for number in range(2 * MOST_HELD)]
    done = threading.Event()

    def silent_then(connection: Connection) -> None:
        connection.send(CHUNKED_HEAD, *(chunk(piece(word)) for word in words))
        done.wait(PATIENCE)

    with Server(silent_then) as server, ask(server.url, total=0.5 if way == "too late" else None) as answer:
        answer._transfer = transfer = answer._send()
        receive = answer.exchange.receive

        def receive_some(transfer: Transfer) -> list[Delta]:
            """Take what is there, which makes room for more, that comes before anything else happens."""
            deltas = receive(transfer)
            while not (transfer.held or transfer.over):
                answer._reactor.wait(0.1)
            return deltas

        while len(transfer._chunks) < MOST_HELD:
            answer._reactor.wait(0.1)
        monkeypatch.setattr(answer.exchange, "receive", receive_some)
        if way == "too late":
            time.sleep(0.6)
        answer.step(0)
        if way == "cancelled":
            before = answer.text
            assert transfer.held
            answer.cancel()
            assert len(answer.text) > len(before)
        assert len(answer.text) > len("".join(words[:MOST_HELD]))
        assert "".join(words).startswith(answer.text)
        assert answer.outcome == ("cancelled" if way == "cancelled" else "cut")
        done.set()
