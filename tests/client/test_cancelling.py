"""Whoever has enough closes the connection at once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import unspool
from support.server import Connection, Server, sends, then_silence
from support.waiting import PATIENCE
from support.wire import SSE_HEAD, error, event, reply
from unspool.client.answer import Answer
from unspool.client.errors import Cancelled

from .reading import KEY, WHOLE, aask, ask, exchange, piece


class Watching:
    """A script that sends something and then waits for the client to close the connection."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.sent = threading.Event()
        self.closed = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.send(*self.parts)
        self.sent.set()
        if connection.wait_closed():
            self.closed.set()


STAGES = {"before the head": (), "after the head": (SSE_HEAD,), "in the stream": (SSE_HEAD, piece("Hel"))}
stages = pytest.mark.parametrize("parts", STAGES.values(), ids=STAGES)


def reach(answer: Answer, script: Watching) -> None:
    """Drive the stream until the server has sent what it has, and all of it has been taken."""
    while not script.sent.is_set() or len(answer.text) < 3 * (len(script.parts) == 2):
        answer.step(0.01)


@stages
def test_cancelling_closes_the_connection_while_the_answer_is_still_held(parts: tuple[bytes, ...]) -> None:
    script = Watching(*parts)
    with Server(script) as server, ask(server.url) as answer:
        reach(answer, script)
        answer.cancel()
        assert script.closed.wait(PATIENCE)
    assert answer.outcome == "cancelled"


@stages
def test_leaving_the_block_closes_the_connection(parts: tuple[bytes, ...]) -> None:
    script = Watching(*parts)
    with Server(script) as server:
        with ask(server.url) as answer:
            reach(answer, script)
        assert script.closed.wait(PATIENCE)
    assert answer.outcome == "cancelled"


def test_an_exception_in_the_block_closes_the_connection_and_passes() -> None:
    script = Watching(SSE_HEAD, piece("Hel"))
    with Server(script) as server:
        with pytest.raises(KeyError), ask(server.url) as answer:
            for _ in answer:
                raise KeyError
        assert script.closed.wait(PATIENCE)


def test_cancelling_while_a_retry_is_waited_for_ends_the_stream() -> None:
    with Server(sends(reply(429, b"slow", retry_after="60"))) as server, ask(server.url) as answer:
        while answer.retry_at is None:
            answer.step()
        answer.cancel("enough")
        assert answer.step() == []
        assert answer.outcome == "cancelled"
        assert len(server.requests) == 1


def test_cancelling_twice_or_after_the_end_changes_nothing() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server, ask(server.url) as answer:
        list(answer)
        assert answer.cancel() == []
        answer.close()
        answer.close()
    assert answer.outcome == "complete"
    assert answer.exchange.journal is not None
    assert answer.exchange.journal.contents().count(b"unspool.end") == 1


def test_a_stream_cancelled_while_it_is_read_raises_cancelled() -> None:
    with Server(Watching(SSE_HEAD, piece("Hel"))) as server, ask(server.url, check=True) as answer:
        texts = []
        with pytest.raises(Cancelled):
            for text in answer:
                texts.append(text)
                answer.cancel()
    assert texts == ["Hel"]


def test_a_descriptor_that_is_watched_ends_the_wait() -> None:
    reader, writer = os.pipe()
    try:
        with Server(Watching()) as server, ask(server.url) as answer:
            os.write(writer, b"x")
            while not answer.woken:
                assert answer.step(None, [reader]) == []
            assert answer.woken == {reader}
    finally:
        os.close(reader)
        os.close(writer)


@stages
async def test_leaving_the_async_block_closes_the_connection(parts: tuple[bytes, ...]) -> None:
    script = Watching(*parts)
    with Server(script) as server:
        async with aask(server.url) as answer:
            await asyncio.to_thread(script.sent.wait, 5)
        assert await asyncio.to_thread(script.closed.wait, 5)
    assert answer.outcome == "cancelled"


@stages
async def test_cancelling_the_task_closes_the_connection(parts: tuple[bytes, ...]) -> None:
    async def run() -> None:
        async with aask(server.url) as answer:
            answers.append(answer)
            async for _ in answer:
                pass

    answers: list[object] = []
    script = Watching(*parts)
    with Server(script) as server:
        task = asyncio.create_task(run())
        await asyncio.to_thread(script.sent.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(script.closed.wait, 5)
    assert answers[0].outcome == "cancelled"  # type: ignore[attr-defined]


async def test_cancelling_from_another_task_ends_the_iteration() -> None:
    script = Watching(SSE_HEAD, piece("Hel"))
    with Server(script) as server:
        async with aask(server.url) as answer:
            texts = []
            async for text in answer:
                texts.append(text)
                asyncio.get_running_loop().call_soon(answer.cancel)
        assert await asyncio.to_thread(script.closed.wait, 5)
    assert (texts, answer.outcome) == (["Hel"], "cancelled")


async def test_what_had_come_when_it_was_cancelled_is_kept_and_given() -> None:
    more = threading.Event()

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        more.wait(PATIENCE)
        connection.send(piece("lo"))
        connection.wait_closed()

    with Server(script) as server:
        async with aask(server.url) as answer:
            texts = []
            async for text in answer:
                texts.append(text)
                more.set()
                while len(texts) == 1 and not (answer._transfer and answer._transfer.held):
                    await asyncio.sleep(0.01)
                answer.cancel()
    assert texts == ["Hel", "lo"]
    assert answer.text == "Hello"
    assert answer.outcome == "cancelled"


async def test_cancelling_from_another_task_ends_the_wait_for_a_retry() -> None:
    with Server(sends(reply(429, b"slow", retry_after="60"))) as server:
        async with aask(server.url) as answer:
            asyncio.get_running_loop().call_later(0.05, answer.cancel)
            async with asyncio.timeout(PATIENCE):
                assert [text async for text in answer] == []
        assert len(server.requests) == 1
    assert answer.outcome == "cancelled"


async def test_closing_twice_or_without_asking_is_harmless() -> None:
    answer = aask("http://127.0.0.1:9/v1")
    await answer.aclose()
    await answer.aclose()
    assert answer.outcome == "cancelled"


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))


def sync_stream(url: str, folder: str) -> None:
    from unspool.journal.writer import Writer

    with ask(url, journal=Writer(folder)) as answer:
        next(iter(answer), None)


def sync_without_block(url: str, folder: str) -> None:
    from unspool.journal.writer import Writer

    list(ask(url, journal=Writer(folder)))


def async_stream(url: str, folder: str) -> None:
    from unspool.journal.writer import Writer

    async def run() -> None:
        async with aask(url, journal=Writer(folder)) as answer:
            async for _ in answer:
                break

    asyncio.run(run())


def async_without_block(url: str, folder: str) -> None:
    from unspool.journal.writer import Writer

    async def run() -> None:
        async for _ in aask(url, journal=Writer(folder)):
            pass

    asyncio.run(run())


@pytest.mark.parametrize("use", [sync_stream, sync_without_block, async_stream, async_without_block])
def test_fifty_streams_leave_no_descriptor_open(use: Callable[[str, str], None], tmp_path: Path) -> None:
    scripts = [sends(SSE_HEAD, WHOLE), sends(SSE_HEAD, piece("Hel")), sends(error(400)), sends(b"")] * 13
    with Server(*scripts) as server:
        use(server.url, str(tmp_path / "streams"))
        gc.collect()
        for thread in server._threads[1:]:
            thread.join(PATIENCE)
        before = descriptors()
        for _ in range(50):
            use(server.url, str(tmp_path / "streams"))
        gc.collect()
        for thread in server._threads[1:]:
            thread.join(PATIENCE)
        assert descriptors() == before


def test_an_exchange_that_was_stopped_cannot_be_ended_otherwise() -> None:
    one = exchange("http://127.0.0.1:9/v1")
    one.stop()
    assert one.stop("closed") == []
    assert one.ending is not None
    assert one.ending.outcome == "cancelled"


@pytest.mark.usefixtures("home")
async def test_a_background_response_is_cancelled_at_its_server_though_the_scope_is_cancelled_again() -> None:
    created = {"id": "resp_1", "model": "m", "status": "in_progress", "output": []}
    first = event({"type": "response.created", "sequence_number": 0, "response": created})
    text = event({"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hel"})
    cancelling, asked_again = threading.Event(), threading.Event()

    def cancel(connection: Connection) -> None:
        cancelling.set()
        assert asked_again.wait(PATIENCE)
        connection.reply(200, {**created, "status": "cancelled"})

    with Server(then_silence(SSE_HEAD, first, text), cancel) as server:
        started = asyncio.Event()

        async def read() -> None:
            async with unspool.astream(
                "hi",
                base_url=server.url,
                model="m",
                key=KEY,
                api="responses",
                options={"background": True, "store": True},
            ) as answer:
                async for _ in answer:
                    started.set()

        task = asyncio.create_task(read())
        await started.wait()
        task.cancel()
        await asyncio.to_thread(cancelling.wait, PATIENCE)
        task.cancel()
        asked_again.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [(one.method, one.path) for one in server.requests] == [
            ("POST", "/v1/responses"),
            ("POST", "/v1/responses/resp_1/cancel"),
        ]
