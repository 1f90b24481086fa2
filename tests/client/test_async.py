"""What asyncio adds: many streams at once, loops one after another, limits and retries that block nobody."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Iterator

import pytest

import unspool
from support.server import Connection, Server, sends
from support.waiting import PATIENCE
from support.wire import DONE, SSE_HEAD, error, event, reply
from unspool.api.deltas import Finish, Text, ToolCall
from unspool.client.errors import StreamCut
from unspool.sim.running import Simulator

from .reading import KEY, WHOLE, aask, piece, read


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


async def test_an_answer_is_streamed_from_the_simulator(simulator: Simulator, home: None) -> None:
    async with unspool.astream("Hi", model="sim", base_url=simulator.url, key=KEY) as answer:
        pieces = [text async for text in answer]
    assert len(pieces) > 1
    assert answer.outcome == "complete"
    assert answer.text == "".join(pieces)
    assert answer.id
    assert answer.model
    assert answer.usage is not None


def test_the_same_answer_is_streamed_without_asyncio(simulator: Simulator, home: None) -> None:
    with unspool.stream("Hi", model="sim", base_url=simulator.url, key=KEY) as answer:
        pieces = list(answer)
    assert len(pieces) > 1
    assert answer.outcome == "complete"


async def test_deltas_are_typed() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        async with aask(server.url) as answer:
            kinds = [type(delta) async for delta in answer.deltas()]
    assert kinds.count(Text) == 2
    assert Finish in kinds


async def test_a_failed_attempt_is_made_again() -> None:
    with Server(sends(error(503)), Connection.reset, sends(SSE_HEAD, WHOLE)) as server:
        async with aask(server.url) as answer:
            assert "".join([text async for text in answer]) == "Hello"
        assert len(server.requests) == 3


async def test_the_idle_limit_does_not_run_while_a_retry_is_waited_for() -> None:
    slow = reply(429, b"slow", retry_after_ms="300")
    with Server(sends(slow), sends(SSE_HEAD, WHOLE)) as server:
        async with aask(server.url, idle=0.1) as answer:
            assert "".join([text async for text in answer]) == "Hello"


async def test_a_silent_server_is_cut() -> None:
    with Server(Connection.wait_closed) as server:
        async with aask(server.url, idle=0.1) as answer:
            assert [text async for text in answer] == []
    assert answer.outcome == "cut"
    assert answer.ending is not None
    assert "(idle timeout)" in answer.ending.message


async def test_the_total_limit_passes_while_a_retry_is_waited_for_and_nothing_more_is_sent() -> None:
    with Server(sends(reply(429, b"slow", retry_after="60"))) as server:
        async with aask(server.url, total=0.1) as answer:
            assert [text async for text in answer] == []
        assert len(server.requests) == 1
    assert answer.outcome == "cut"
    assert answer.ending is not None
    assert "(timeout)" in answer.ending.message


async def test_what_a_limit_leaves_over_is_delivered() -> None:
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "now", "arguments": "{}"}}

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, event({"id": "c1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}))
        connection.wait_closed()

    with Server(script) as server:
        async with aask(server.url, idle=0.1) as answer:
            calls = [delta async for delta in answer.deltas() if type(delta) is ToolCall]
    assert [one.name for one in calls] == ["now"]
    assert answer.outcome == "cut"


async def test_an_error_is_raised_after_the_last_piece() -> None:
    with Server(sends(SSE_HEAD, piece("Hel"))) as server:
        seen = []
        async with aask(server.url, check=True) as answer:
            with pytest.raises(StreamCut):
                async for text in answer:
                    seen.append(text)
    assert seen == ["Hel"]


async def test_fifty_streams_run_at_once() -> None:
    together = threading.Barrier(50)

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        together.wait(PATIENCE)  # nobody goes on before all are here
        connection.send(piece("lo"), DONE)

    async def one() -> str:
        async with aask(server.url) as answer:
            return "".join([text async for text in answer])

    with Server(script) as server:
        assert await asyncio.gather(*(one() for _ in range(50))) == ["Hello"] * 50


async def test_the_loop_runs_on_while_a_stream_waits() -> None:
    released = threading.Event()

    def script(connection: Connection) -> None:
        assert released.wait(PATIENCE)
        connection.send(SSE_HEAD, WHOLE)

    with Server(script) as server:
        asyncio.get_running_loop().call_later(0.01, released.set)
        async with aask(server.url) as answer:
            assert "".join([text async for text in answer]) == "Hello"


def test_one_event_loop_after_another_streams() -> None:
    async def one() -> str:
        async with aask(server.url) as answer:
            return "".join([text async for text in answer])

    with Server(sends(SSE_HEAD, WHOLE)) as server:
        assert [asyncio.run(one()) for _ in range(3)] == ["Hello"] * 3


def test_a_loop_may_end_without_the_stream_being_closed() -> None:
    async def one() -> None:
        answer = aask(server.url)
        async for _ in answer:
            break

    with Server(sends(SSE_HEAD, WHOLE)) as server:
        asyncio.run(one())
        asyncio.run(one())


@pytest.fixture
def crowded() -> Iterator[None]:
    """A process that has 1,100 descriptors open already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2000:
        pytest.skip(f"this system allows {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
    crowd = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        yield
    finally:
        for fd in crowd:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("crowded")
def test_descriptors_above_1023_are_waited_for() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).text == "Hello"


@pytest.mark.usefixtures("crowded")
def test_descriptors_above_1023_are_waited_for_in_asyncio() -> None:
    async def one() -> str:
        async with aask(server.url) as answer:
            return "".join([text async for text in answer])

    with Server(sends(SSE_HEAD, WHOLE)) as server:
        assert asyncio.run(one()) == "Hello"
