"""unspool's own client notices a gateway: a connection that breaks costs nothing, and the model is asked once."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

import unspool
from support.server import Server, sends
from support.wire import SSE_HEAD, head, piece, start
from unspool.api.prompt import Prompt
from unspool.client import retry
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.config.paths import streams_dir
from unspool.config.target import Target
from unspool.journal import folder, summary
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .cutting import Cutter
from .gateways import Running

APIS = ("chat", "responses", "completions")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.001)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "UNSPOOL_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def asked(url: str, api: str, **more: Any) -> dict[str, Any]:
    return {"base_url": url, "api": api, "model": "m", "key": "sk-alice", **more}


def one_answer(url: str, *, stream: bool) -> Answer[Any]:
    prompt = Prompt("What is Python?", "m", stream=stream)
    return Answer(Exchange(Target("gateway", url, "chat", key="sk-alice"), prompt, journal=None))


def journal(id: str | None) -> summary.Summary:
    assert id is not None
    return summary.read(folder.path_of(streams_dir(), id))


def asks(simulator: Simulator) -> int:
    return sum(one.method == "POST" for one in simulator.requests)


@pytest.mark.parametrize("api", APIS)
def test_an_answer_cut_after_every_event_is_the_uncut_one(api: str, gateway: Running, simulator: Simulator) -> None:
    uncut = unspool.stream("What is Python?", **asked(gateway.url, api))
    text = uncut.read()
    before = asks(simulator)
    # One event a connection, then some: nearly 500 connections would take a while.
    with Cutter(gateway.url, lambda number, _: 1 if number < 40 else 40) as way:
        answer = unspool.stream("What is Python?", **asked(way.url, api))
        pieces = list(answer)
        count = len(way.requests)
    assert "".join(pieces) == text
    assert answer.outcome == uncut.outcome
    assert asks(simulator) == before + 1
    assert count > 5
    kept, whole = journal(answer.id), journal(uncut.id)
    assert (kept.text, kept.outcome, kept.usage) == (text, uncut.outcome, whole.usage)


@pytest.mark.exhaustive
@pytest.mark.parametrize("api", APIS)
def test_an_answer_cut_once_at_any_event_is_the_uncut_one(api: str, gateway: Running, simulator: Simulator) -> None:
    uncut = unspool.stream("Hi in 40 tokens", **asked(gateway.url, api))
    uncut.read()
    events = 0

    def once(number: int, line: str) -> int | None:
        return None if number else events

    while events < 1000:
        with Cutter(gateway.url, once) as way:
            answer = unspool.stream("Hi in 40 tokens", **asked(way.url, api))
            assert (answer.read(), answer.outcome) == (uncut.text, uncut.outcome), events
            if len(way.requests) == 1:
                break
        events += 1
    assert 10 < events < 1000


def test_asyncio_continues_as_well(gateway: Running, simulator: Simulator) -> None:
    async def read(url: str) -> str:
        async with unspool.astream("What is Python?", **asked(url, "chat")) as answer:
            return await answer.read()

    text = asyncio.run(read(gateway.url))
    with Cutter(gateway.url, lambda number, _: 2 if number < 20 else 50) as way:
        assert asyncio.run(read(way.url)) == text
    assert asks(simulator) == 2


@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_before_the_head_asks_the_model_once(stream: bool, gateway: Running, simulator: Simulator) -> None:
    with Cutter(gateway.url, lambda number, _: None) as way:
        direct = one_answer(gateway.url, stream=stream).read()
        before = asks(simulator)
        lost = threading.Event()

        def once(server: socket.socket, client: socket.socket, left: int | None) -> None:
            if lost.is_set():
                Cutter._pass(server, client, left)
            else:  # the request reaches the gateway, and the answer is lost
                server.recv(1)
                lost.set()

        way._pass = once  # type: ignore[method-assign]
        answer = one_answer(way.url, stream=stream)
        assert answer.read() == direct
        assert len(way.requests) == 2
    assert asks(simulator) == before + 1


def test_the_gateways_word_for_an_end_is_told(tmp_path: Path) -> None:
    with (
        Simulator(SimulatorSettings(itl=0.05)) as simulator,
        Running(simulator.url, tmp_path / "gateway", drain=0.01) as gateway,
    ):
        answer = unspool.stream("What is Python?", **asked(gateway.url, "chat", check=False))
        pieces = iter(answer)
        text = next(pieces)
        gateway.loop.call_soon_threadsafe(gateway._stop.set)
        text += "".join(pieces)
    assert answer.outcome == "interrupted"
    assert "restarted" in answer.ending.message
    assert (journal(answer.id).outcome, journal(answer.id).text) == ("interrupted", text)


def test_leaving_early_stops_the_stream_at_the_gateway(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(itl=0.05)) as simulator, Running(simulator.url, tmp_path / "gateway") as gateway:
        with unspool.stream("What is Python?", **asked(gateway.url, "chat")) as answer:
            next(iter(answer))
        [one] = gateway.get("/streams").json()["data"]
        gateway.get(f"/streams/{one['id']}").content  # noqa: B018
        assert gateway.get("/streams").json()["data"][0]["state"] == "cancelled"


def test_a_killed_reader_is_resumed_as_the_same_stream(gateway: Running, simulator: Simulator) -> None:
    text = unspool.stream("What is Python?", **asked(gateway.url, "chat")).read()
    with Cutter(gateway.url, lambda number, line: 3 if line.startswith("POST") else None) as way:
        answer = unspool.stream("What is Python?", **asked(way.url, "chat"))
        next(iter(answer))
        exchange = answer.exchange
        assert exchange.journal is not None
        exchange.journal.close()  # as if killed: no end is written
        answer._closed = True
        assert journal(answer.id).outcome == "interrupted"
        again = unspool.resume(answer.id, key="sk-alice")
        assert again.read() == text
        assert again.id == answer.id
    assert journal(answer.id).text == text
    assert asks(simulator) == 2


def test_a_stream_that_the_gateway_no_longer_has_is_cut_and_asked_again_next_time(gateway: Running) -> None:
    def refuse(number: int, line: str) -> int | None:
        if number == 1:
            id = gateway.get("/streams").json()["data"][0]["id"]
            gateway.loop.call_soon_threadsafe(lambda: gateway.loop.create_task(gateway.worker.gateway.store.delete(id)))
        return 3 if number == 0 else None

    with Cutter(gateway.url, refuse) as way:
        answer = unspool.stream("What is Python?", **asked(way.url, "chat", check=False))
        answer.read()
        assert answer.outcome == "cut"
        assert "cannot be resumed" in answer.ending.message
        again = unspool.resume(answer.id, key="sk-alice")
        again.read()
        assert again.id != answer.id


def test_a_page_of_a_proxy_between_is_not_taken_for_the_stream() -> None:
    first = [
        SSE_HEAD.replace(b"Connection", b"X-Unspool-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV\r\nConnection"),
        b"id: a-1\n" + start("chat"),
        b"id: a-2\n" + piece("chat", "Hel"),
    ]
    other = [head(), b"id: a-1\n" + piece("chat", "Hel")]
    with Server(sends(*first), sends(*other)) as server:
        answer = unspool.stream("hi", **asked(server.url, "chat", check=False))
        assert answer.read() == "Hel"
        assert answer.outcome == "cut"
        assert [one.path for one in server.requests][1].endswith("/streams/01ARZ3NDEKTSV4RRFFQ69G5FAV?after=a-2")


def test_an_event_that_was_cut_is_not_shown_twice() -> None:
    id = b"X-Unspool-Id: 01ARZ3NDEKTSV4RRFFQ69G5FAV\r\nConnection"
    begin = SSE_HEAD.replace(b"Connection", id)
    cut = b"id: a-2\n" + piece("chat", "Hel")
    rest = b"id: a-2\n" + piece("chat", "Hel") + b"id: a-3\n" + piece("chat", "lo") + b"id: a-4\ndata: [DONE]\n\n"
    # JSON that is complete, without the blank line after it: its id did not count yet.
    with Server(sends(begin, b"id: a-1\n" + start("chat"), cut[:-1]), sends(begin, rest)) as server:
        answer = unspool.stream("hi", **asked(server.url, "chat"))
        assert answer.read() == "Hello"
        assert server.requests[1].path.endswith("?after=a-1")


def test_without_a_gateway_nothing_is_taken_up() -> None:
    with Server(sends(SSE_HEAD, b"id: a-1\n" + start("chat"), b"id: a-2\n" + piece("chat", "Hel"))) as server:
        answer = unspool.stream("hi", **asked(server.url, "chat", check=False))
        assert (answer.read(), answer.outcome) == ("Hel", "cut")
        assert len(server.requests) == 1
