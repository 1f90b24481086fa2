"""The three limits: to connect, between two bytes, in all."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from support.server import Connection, Server, sends
from support.wire import SSE_HEAD, reply
from unspool.client.limits import Limits

from .reading import WHOLE, aask, ask, finish, piece, read

IDLE = 0.2


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose queue is full, so that Linux leaves further connections unanswered."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for sock in (first, second):
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_connecting_takes_ten_seconds_at_most_by_default() -> None:
    assert Limits().connect == 10.0


def test_a_host_that_does_not_take_the_connection_is_unreachable(full_port: int) -> None:
    ended = read(f"http://127.0.0.1:{full_port}/v1", connect=0.1, retries=0)
    assert ended.outcome == "unreachable"
    assert "did not accept the connection in time" in ended.message


def test_the_connect_limit_does_not_bound_the_answer() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        late.wait(0.3)
        connection.send(finish())

    late = threading.Event()
    with Server(script) as server:
        assert read(server.url, connect=0.1).outcome == "complete"


def test_silence_before_the_head_is_cut() -> None:
    with Server(Connection.wait_closed) as server:
        ended = read(server.url, idle=IDLE)
        assert ended.outcome == "cut"
        assert "(idle timeout)" in ended.message
        assert len(server.requests) == 1


def test_silence_after_the_head_is_cut() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        connection.wait_closed()

    with Server(script) as server:
        assert "(idle timeout)" in read(server.url, idle=IDLE).message


def test_silence_after_a_token_is_cut_and_the_token_kept() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        closed.append(connection.wait_closed())

    closed: list[bool] = []
    with Server(script) as server:
        ended = read(server.url, idle=IDLE)
        assert (ended.outcome, ended.text) == ("cut", "Hel")
    assert closed == [True]


def outcome_with_pauses(*parts: bytes) -> str | None:
    """The outcome of parts between which the server pauses, each time for more than half of the idle limit.

    A busy machine makes a pause longer than it was meant to be; then the same is tried with longer ones.
    """
    outcome = None
    for idle in (IDLE, 5 * IDLE, 25 * IDLE):

        def script(connection: Connection, idle: float = idle) -> None:
            for part in parts:
                connection.send(part)
                time.sleep(idle * 0.6)

        with Server(script) as server:
            outcome = read(server.url, idle=idle).outcome
        if outcome == "complete":
            break
    return outcome


def test_comments_are_life() -> None:
    assert outcome_with_pauses(SSE_HEAD, b": ping\n\n", b":\n", b": ping\n\n", WHOLE) == "complete"


def test_half_a_line_and_the_head_are_life() -> None:
    assert outcome_with_pauses(b"", SSE_HEAD, WHOLE[:5], WHOLE[5:9], WHOLE[9:]) == "complete"


def test_the_total_limit_cuts_a_lively_stream() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        while True:
            connection.send(piece("a"))
            time.sleep(0.02)

    with Server(script) as server:
        ended = read(server.url, total=0.2)
    assert ended.outcome == "cut"
    assert "(timeout)" in ended.message
    assert ended.text


def test_the_total_limit_passes_while_a_retry_is_waited_for() -> None:
    with Server(sends(reply(429, b'{"error":{"message":"slow"}}', retry_after="60"))) as server:
        ended = read(server.url, total=1.0)
        assert ended.outcome == "cut"
        assert "(timeout)" in ended.message
        assert len(server.requests) == 1


def test_the_total_limit_passes_before_the_head() -> None:
    with Server(Connection.wait_closed) as server:
        assert "(timeout)" in read(server.url, total=0.1).message


def test_the_idle_limit_does_not_run_while_a_retry_is_waited_for() -> None:
    slow = reply(429, b'{"error":{"message":"slow"}}', retry_after_ms="300")
    with Server(sends(slow), sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url, idle=0.1).outcome == "complete"


def test_a_reader_slower_than_the_idle_limit_is_not_a_silent_server() -> None:
    with Server(sends(SSE_HEAD, piece("Hel") * 3, WHOLE)) as server, ask(server.url, idle=0.1) as answer:
        for _ in answer:
            time.sleep(0.15)
    assert answer.outcome == "complete"


def test_a_pause_before_the_first_piece_is_asked_for_is_no_silence() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server, ask(server.url, idle=0.1) as answer:
        time.sleep(0.15)
        assert "".join(answer) == "Hello"


async def test_a_pause_before_the_stream_is_entered_is_no_silence() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        answer = aask(server.url, idle=0.1)
        await asyncio.sleep(0.15)
        async with answer:
            assert "".join([text async for text in answer]) == "Hello"


HALF_REFUSED = b"HTTP/1.1 401 No\r\nContent-Length: 1000\r\n\r\n" + b"Your key is wrong."


def test_a_refusal_whose_text_never_ends_is_still_a_refusal() -> None:
    def script(connection: Connection) -> None:
        connection.send(HALF_REFUSED)
        connection.wait_closed()

    with Server(script) as server:
        ended = read(server.url, idle=0.1)
    assert (ended.outcome, ended.message) == ("unauthorized", "Your key is wrong.")


async def test_a_refusal_whose_text_never_ends_is_still_a_refusal_in_asyncio() -> None:
    def script(connection: Connection) -> None:
        connection.send(HALF_REFUSED)
        connection.wait_closed()

    with Server(script) as server:
        async with aask(server.url, idle=0.1) as answer:
            assert [text async for text in answer] == []
    assert answer.outcome == "unauthorized"


async def test_the_total_limit_cuts_a_lively_stream_in_asyncio() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        while True:
            connection.send(piece("a"))
            time.sleep(0.02)

    with Server(script) as server:
        async with aask(server.url, total=0.2) as answer:
            assert "".join([text async for text in answer])
    assert answer.outcome == "cut"


def test_a_tls_handshake_that_is_not_answered_is_unreachable() -> None:
    with Server(Connection.wait_closed, raw=True) as server:
        ended = read(f"https://{server.host}/v1", connect=0.2, retries=0)
    assert ended.outcome == "unreachable"
    assert "in time" in ended.message
