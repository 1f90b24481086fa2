"""Streams in programs that fork, have signal handlers, and share an answer between tasks and threads."""

from __future__ import annotations

import asyncio
import collections
import gc
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pycurl
import pytest

import unspool
from support.effort import rounds
from support.server import Connection, Server, sends
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, LAST_CHUNK, SSE_HEAD, chunk
from unspool.client.http.transport import Reactor
from unspool.config import paths

from .reading import KEY, WHOLE, aask, ask, finish, piece

pytestmark = pytest.mark.usefixtures("home")


class Gate:
    """A server's script that sends a piece, waits for `open`, and sends the rest."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def __call__(self, connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        assert self.opened.wait(PATIENCE)
        connection.send(piece("lo"), finish(), b"data: [DONE]\n\n")


def asked(server: Server) -> dict[str, Any]:
    return {"base_url": server.url, "model": "m", "key": KEY, "api": "chat"}


def in_child(work: Any) -> int:
    """Run this in a fork, which then exits as programs do; returns its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("way", ["close", "collect", "cancel"])
def test_a_forked_child_leaves_its_parents_stream_alone(way: str) -> None:
    gate = Gate()
    with Server(gate) as server:
        answer = unspool.stream("hi", **asked(server))
        pieces = iter(answer)
        held = [answer, pieces]
        text = next(pieces)

        def child() -> None:
            if way == "collect":
                nonlocal answer, pieces
                held.clear()
                del answer, pieces
            else:
                getattr(answer, way)()

        assert in_child(child) == 0
        gate.opened.set()
        text += "".join(pieces)
    assert (text, answer.outcome) == ("Hello", "complete")
    kept = Path(paths.streams_dir(), f"{answer.id}.sse").read_text()
    assert kept.count("event: unspool.end") == 1
    assert unspool.follow(answer.id or "").read() == "Hello"


FORKING = """
import os, sys, unspool
url = sys.argv[1]
client = unspool.Client(base_url=url, model="m", key="x", api="chat")
assert client.stream("one").read() == "Hello"  # its connection is kept
answer = client.stream("two")
pieces = iter(answer)
text = next(pieces)
if os.fork() == 0:
    sys.exit()  # as a worker of multiprocessing or a daemon does: everything is collected
os.wait()
text += "".join(pieces)
assert text == "Hello", text
assert answer.outcome == "complete"
assert unspool.follow(answer.id).read() == "Hello"
assert client.stream("three").read() == "Hello"
"""


def test_a_child_that_exits_ends_none_of_its_parents_streams_and_connections(tmp_path: Path) -> None:
    def script(connection: Connection) -> None:
        while True:
            connection.send(CHUNKED_HEAD, chunk(piece("Hel")))
            connection.send(chunk(piece("lo") + finish() + b"data: [DONE]\n\n"), LAST_CHUNK)
            if not connection.read_request():
                return

    with Server(script) as server:
        subprocess.run([sys.executable, "-c", FORKING, server.url], check=True, timeout=PATIENCE)
        assert server.connections <= 2


def test_reading_an_answer_in_a_child_is_an_error_at_once() -> None:
    gate = Gate()
    with Server(gate) as server, unspool.stream("hi", **asked(server)) as answer:
        pieces = iter(answer)
        next(pieces)

        def child() -> None:
            with pytest.raises(RuntimeError, match="belongs to the process"):
                answer.read()

        assert in_child(child) == 0
        gate.opened.set()
        assert answer.read() == "Hello"


# Signals


class Soft(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("error", [Soft, KeyboardInterrupt, SystemExit])
def test_what_a_signal_handler_raises_arrives_as_itself_wherever_it_strikes(error: type[BaseException]) -> None:
    def handler(*_: object) -> None:
        raise error

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        burst = piece("word ") * 50
        while True:  # until the client has closed the connection
            connection.send(burst)

    before = signal.signal(signal.SIGALRM, handler)
    how: collections.Counter[str] = collections.Counter()
    try:
        with Server(script) as server:
            for number in range(40):
                answer = unspool.stream("hi", **asked(server))
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.005 + number * 0.0005)
                    answer.read()
                except BaseException as raised:
                    how[type(raised).__name__] += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                answer.close()
                assert answer.outcome == "cancelled"
                kept = unspool.follow(answer.id or "", check=False)
                kept.read()
                assert kept.outcome == "cancelled"
                assert kept.text.startswith(answer.text)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert how == {error.__name__: 40}


def test_what_a_signal_handler_raises_before_anything_is_sent_arrives_as_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = Reactor._call

    def struck(*_: object) -> None:
        monkeypatch.setattr(Reactor, "_call", call)
        raise Soft

    with Server(sends(SSE_HEAD, WHOLE)) as server:
        answer = unspool.stream("hi", **asked(server), journal=False)
        monkeypatch.setattr(Reactor, "_call", struck)
        with pytest.raises(Soft):
            answer.read()
        answer.close()
        assert answer.outcome == "cancelled"
        assert unspool.stream("hi", **asked(server), journal=False).read() == "Hello"


@pytest.mark.parametrize("place", ["the journal", "libcurl's timer", "libcurl's socket"])
async def test_what_a_signal_handler_raises_in_asyncio_is_never_a_cut_and_damages_no_journal(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Struck at the places where it did harm: a signal itself strikes asyncio's own code too, which loses or logs what it raises."""
    armed = False

    def struck(call: Any) -> Any:
        def wrapper(*arguments: Any) -> Any:
            nonlocal armed
            result = call(*arguments)
            if armed:
                armed = False
                raise Soft
            return result

        return wrapper

    if place == "the journal":  # written, and not counted yet
        monkeypatch.setattr(os, "write", struck(os.write))
    else:
        name = "_schedule_timer" if "timer" in place else "_unregister_watchers"
        monkeypatch.setattr(pycurl.AsyncCurlMulti, name, struck(getattr(pycurl.AsyncCurlMulti, name)))
    gate = Gate()
    with Server(gate) as server:
        async with unspool.astream("hi", **asked(server)) as answer:
            if place != "the journal":
                armed = True
                gate.opened.set()
                with pytest.raises(Soft):
                    await answer.read()
            else:
                assert await anext(aiter(answer)) == "Hel"
                armed = True
                gate.opened.set()
                with pytest.raises(Soft):
                    await answer.read()
    assert not armed
    kept = unspool.follow(answer.id or "", check=False)
    kept.read()
    assert (answer.outcome, kept.outcome) == ("cancelled", "cancelled")


def test_a_client_survives_what_signal_handlers_raise_anywhere_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    in_finalizers: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda one: in_finalizers.append(one.exc_type))

    def handler(*_: object) -> None:
        raise Soft

    def script(connection: Connection) -> None:
        while True:
            connection.send(CHUNKED_HEAD, chunk(WHOLE), LAST_CHUNK)
            if not connection.read_request():
                return

    before = signal.signal(signal.SIGALRM, handler)
    how: collections.Counter[str] = collections.Counter()
    try:
        with Server(script) as server, unspool.Client(**asked(server), journal=False) as client:
            for number in range(rounds(2000)):
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0002 + number % 30 * 0.0002)
                    for _ in range(100):
                        assert client.stream("hi").read() == "Hello"
                    how["lost"] += 1
                except Soft:
                    how["raised"] += 1
                except Exception as error:
                    how[repr(error)] += 1
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            assert client.stream("hi").read() == "Hello"
    finally:
        signal.signal(signal.SIGALRM, before)
    # Python itself does not let an exception out of a finalizer.
    assert how.pop("lost", 0) <= len(in_finalizers)
    assert set(how) == {"raised"}


# Tasks and threads


async def test_a_second_task_that_reads_an_answer_gets_an_error_and_the_first_the_answer() -> None:
    gate = Gate()
    with Server(gate) as server:
        async with aask(server.url) as answer:
            pieces = aiter(answer)
            assert await anext(pieces) == "Hel"
            first = asyncio.ensure_future(answer.read())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                await answer.read()
            gate.opened.set()
            assert await first == "Hello"


async def test_waiting_for_one_piece_may_be_given_up_and_tried_again() -> None:
    gate = Gate()
    heartbeats = 0
    async with asyncio.timeout(10):
        with Server(gate) as server:
            async with aask(server.url, check=True) as answer:
                pieces, text = aiter(answer), ""
                while True:
                    try:
                        text += await asyncio.wait_for(anext(pieces), 0.02)
                    except TimeoutError:
                        heartbeats += 1
                        if heartbeats == 3:
                            gate.opened.set()
                    except StopAsyncIteration:
                        break
    assert (text, answer.outcome) == ("Hello", "complete")
    assert heartbeats >= 3


def test_an_answer_can_be_stopped_from_another_thread() -> None:
    gate = Gate()
    with Server(gate) as server, ask(server.url) as answer:
        pieces = iter(answer)
        assert next(pieces) == "Hel"
        timer = threading.Timer(0.05, answer.cancel)
        timer.start()
        assert list(pieces) == []
        assert answer.outcome == "cancelled"
        timer.join()
        gate.opened.set()


async def test_an_async_answer_can_be_stopped_from_another_thread() -> None:
    gate = Gate()
    with Server(gate) as server:
        async with asyncio.timeout(10), aask(server.url) as answer:
            pieces = aiter(answer)
            assert await anext(pieces) == "Hel"
            timer = threading.Timer(0.05, answer.cancel)
            timer.start()
            assert [piece async for piece in pieces] == []
        assert answer.outcome == "cancelled"
        timer.join()
        gate.opened.set()


def test_a_second_thread_that_reads_an_answer_gets_an_error_at_once() -> None:
    gate = Gate()
    errors: list[BaseException] = []
    with Server(gate) as server, ask(server.url) as answer:
        pieces = iter(answer)
        next(pieces)
        reading = threading.Thread(target=lambda: answer.read())
        reading.start()
        while not answer._reading:
            pass
        with pytest.raises(RuntimeError, match="already being read"):
            answer.read()
        gate.opened.set()
        reading.join()
    assert not errors
    assert answer.text == "Hello"


def test_a_signal_handler_may_cancel_the_answer_that_is_read() -> None:
    gate = Gate()
    with Server(gate) as server, ask(server.url) as answer:
        pieces = iter(answer)
        next(pieces)
        before = signal.signal(signal.SIGALRM, lambda *_: answer.cancel() and None)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            assert list(pieces) == []
        finally:
            signal.signal(signal.SIGALRM, before)
        gate.opened.set()
    assert answer.outcome == "cancelled"
