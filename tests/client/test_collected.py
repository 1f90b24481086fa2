"""Answers that the garbage collector finds: their streams are ended and what they took is given back, in whatever cycle they are."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unspool
from support.server import Server, sends, then_silence
from support.wire import SSE_HEAD
from unspool.config import paths

from .reading import KEY, WHOLE, piece

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Leave collecting to the test."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def ends(id: str | None) -> int:
    return Path(paths.streams_dir(), f"{id}.sse").read_text().count("event: unspool.end")


def begin_in_a_cycle(asking: unspool.Client) -> str | None:
    answer = asking.stream("hi")
    assert next(iter(answer)) == "Hel"
    answer.itself = answer  # type: ignore[attr-defined]
    return answer.id


def client(server: Server, **more: Any) -> unspool.Client:
    return unspool.Client(base_url=server.url, model="m", key=KEY, api="chat", **more)


def test_an_answer_in_a_cycle_is_ended_by_the_collector_and_its_client_works_on(no_collector: None) -> None:
    with (
        Server(*[then_silence(SSE_HEAD, piece("Hel"))] * 3, sends(SSE_HEAD, WHOLE)) as server,
        client(server) as asking,
    ):
        ids = [begin_in_a_cycle(asking) for _ in range(3)]
        assert [ends(id) for id in ids] == [0, 0, 0]
        gc.collect()
        assert [ends(id) for id in ids] == [1, 1, 1]
        assert asking.stream("hi").read() == "Hello"
        # What is left in the client can be used, however many it takes back.
        for one in [asking.stream("hi") for _ in range(5)]:
            assert one.read() == "Hello"


async def test_an_async_answer_in_a_cycle_is_ended_by_the_collector(no_collector: None) -> None:
    with Server(then_silence(SSE_HEAD, piece("Hel"))) as server:
        answer = unspool.astream("hi", base_url=server.url, model="m", key=KEY, api="chat")
        assert await anext(aiter(answer)) == "Hel"
        answer.itself = answer  # type: ignore[attr-defined]
        id = answer.id
        del answer
        gc.collect()
        assert ends(id) == 1
        assert server.requests[0].wait_closed()


def test_a_failed_answer_is_free_as_soon_as_its_error_is(no_collector: None) -> None:
    with Server(sends(SSE_HEAD, piece("Hel"))) as server, client(server) as asking:
        answer = asking.stream("hi")
        dead = weakref.ref(answer)
        try:
            answer.read()
        except unspool.StreamCut:
            raised = True
        del answer
        assert raised
        assert dead() is None


def test_a_client_that_is_dropped_closes_its_connections(no_collector: None) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        asking = client(server)
        asking.itself = asking  # type: ignore[attr-defined]
        assert asking.stream("hi").read() == "Hello"
        del asking
        gc.collect()
        server.close()
        after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        assert after <= before


@pytest.mark.parametrize("turns", [20, pytest.param(1000, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(
    "kept", ["a client that outlives its loops", "a client of each loop", "no client", "answers that are never closed"]
)
def test_one_loop_after_another_keeps_descriptors_and_objects_flat(kept: str, turns: int) -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        options: Any = {"base_url": server.url, "model": "m", "key": KEY, "api": "chat", "journal": False}
        shared = unspool.AsyncClient(**options)

        unclosed: list[unspool.AsyncAnswer[Any]] = []

        async def turn() -> None:
            if kept == "a client that outlives its loops":
                assert await shared.stream("hi").read() == "Hello"
            elif kept == "answers that are never closed":
                unclosed[:] = [unspool.astream("hi", **options)]
                assert await anext(aiter(unclosed[0])) == "Hel"
            elif kept == "no client":
                assert await unspool.astream("hi", **options).read() == "Hello"
            else:
                async with unspool.AsyncClient(**options) as own:
                    assert await own.stream("hi").read() == "Hello"

        def measure() -> tuple[int, int]:
            gc.collect()
            server._sockets, server._threads[1:], server.requests[:] = [], [], []
            return len(os.listdir("/dev/fd")), len(gc.get_objects())

        for _ in range(5):
            asyncio.run(turn())
        descriptors, objects = measure()
        for _ in range(turns):
            asyncio.run(turn())
        more_descriptors, more_objects = measure()
        assert more_descriptors <= descriptors + 2
        assert more_objects - objects < 10 * turns + 200
