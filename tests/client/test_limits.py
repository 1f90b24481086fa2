"""The clocks that end a stream although the server goes on: after its end, with heartbeats alone, with bytes that are no answer."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.server import Connection, Script, Server
from support.wire import DONE, SSE_HEAD, event
from unspool.client import exchange as exchanges
from unspool.client import limits

from .reading import aask, finish, piece, read

USAGE = event({"id": "c1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE", 0.2)


def stays_open(*parts: bytes, heartbeat: bytes = b"") -> Script:
    """Send this and keep the connection open until the client has closed it, with heartbeats if there are any."""

    def script(connection: Connection) -> None:
        connection.send(*parts)
        if not heartbeat:
            assert connection.wait_closed()
        while heartbeat:  # until the client has closed the connection, which is an OSError
            connection.send(heartbeat)
            time.sleep(0.005)

    return script


@pytest.mark.parametrize("heartbeat", [b"", b": ping\n\n", b"event: ping\ndata: {}\n\n"])
def test_an_answer_whose_connection_stays_open_after_its_end_is_complete(short_grace: None, heartbeat: bytes) -> None:
    with Server(stays_open(SSE_HEAD, piece("Hello"), finish(), USAGE, heartbeat=heartbeat)) as server:
        ended = read(server.url)
    assert (ended.outcome, ended.text) == ("complete", "Hello")
    assert ended.answer.usage is not None


@pytest.mark.parametrize("heartbeat", [b"", b": ping\n\n"])
async def test_the_same_in_asyncio(short_grace: None, heartbeat: bytes) -> None:
    with Server(stays_open(SSE_HEAD, piece("Hello"), finish(), USAGE, heartbeat=heartbeat)) as server:
        async with aask(server.url) as answer:
            assert await answer.read() == "Hello"
    assert answer.outcome == "complete"
    assert answer.usage is not None


def test_what_comes_within_the_grace_belongs_to_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GRACE", 10.0)

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hello"), finish())
        time.sleep(0.05)
        connection.send(USAGE, DONE)

    with Server(script) as server:
        assert read(server.url).answer.usage is not None


def test_an_error_whose_connection_stays_open_is_an_error(short_grace: None) -> None:
    failed = event({"error": {"message": "no such model", "code": "model_not_found", "type": "invalid_request_error"}})
    with Server(stays_open(SSE_HEAD, failed, heartbeat=b": ping\n\n")) as server:
        ended = read(server.url, retries=0)
    assert ended.outcome != "complete"
    assert "no such model" in ended.message


@pytest.mark.parametrize("heartbeat", [b": ping\n\n", b"event: ping\ndata: {}\n\n"])
def test_heartbeats_alone_do_not_keep_a_stream_for_ever(heartbeat: bytes) -> None:
    with Server(stays_open(SSE_HEAD, piece("Hel"), heartbeat=heartbeat)) as server:
        ended = read(server.url, idle=0.1)
    assert (ended.outcome, ended.text) == ("cut", "Hel")
    assert "keep-alives" in ended.message


async def test_nor_in_asyncio() -> None:
    with Server(stays_open(SSE_HEAD, piece("Hel"), heartbeat=b": ping\n\n")) as server:
        async with aask(server.url, idle=0.1) as answer:
            assert await answer.read() == "Hel"
    assert answer.outcome == "cut"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"a":"',
        SSE_HEAD + b":",
        SSE_HEAD + b"data: ",
    ],
    ids=["page", "document", "comment", "event"],
)
def test_a_body_that_never_ends_is_not_held_without_end(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "_LONGEST_PAGE", 1 << 18)
    monkeypatch.setattr(exchanges, "_LONGEST_DOCUMENT", 1 << 20)

    def script(connection: Connection) -> None:
        connection.send(head)
        while True:  # until the client has closed the connection
            connection.send(b"x" * 65536)

    with Server(script) as server:
        ended = read(server.url)
    assert ended.outcome in ("cut", "unreachable")
    assert len(ended.journal) < 1 << 21


async def test_the_total_limit_ends_a_burst_that_never_pauses_in_asyncio() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        burst = piece("word ") * 1000
        while True:  # until the client has closed the connection
            connection.send(burst)

    with Server(script) as server:
        async with asyncio.timeout(20), aask(server.url, total=0.3) as answer:
            async for _ in answer:
                pass
    assert answer.outcome == "cut"
