"""Answers served on: each viewer gets every event once, whenever it comes and however often it goes away."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

import unspool
from support.waiting import PATIENCE
from unspool.serve.relay import EventStream, Relay
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

from .browser import CHROMIUM, Browser, with_chromium

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "browser" / "app.py"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "UNSPOOL_"))]:
        monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "UNSPOOL_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    monkeypatch.setenv("UNSPOOL_MODEL", "sim-1")


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        yield running


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A model of 200 tokens a second."""
    with Simulator(SimulatorSettings(itl=0.005)) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        yield running


async def all_of(response: EventStream) -> list[tuple[str, Any]]:
    """The events of a response, each its id and what its data says."""
    decoder = Decoder()
    events = []
    async for piece in response.body:
        events += decoder.feed(piece)
    return [(event.id, json.loads(event.data)) for event in events]


def text_of(events: list[tuple[str, Any]]) -> str:
    return "".join(one["text"] for _, one in events if one["type"] == "text")


def test_a_viewer_gets_the_answer_and_its_end(simulator: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        answer = unspool.astream("Hi in 20 tokens")
        id = relay.start(answer)
        response = await relay.response(id)
        events = await all_of(response)
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert text_of(events) == answer.text != ""
        assert [one["type"] for _, one in events][0 :: len(events) - 1] == ["start", "end"]
        assert (events[-1][1]["outcome"], events[-1][1]["id"]) == ("complete", id)
        await relay.aclose()

    asyncio.run(main())


def test_from_every_event_on_the_rest_comes_once(simulator: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        answer = unspool.astream("Hi in 20 tokens")
        id = relay.start(answer)
        whole = await all_of(await relay.response(id))
        again = await all_of(await relay.response(id))
        assert text_of(again) == text_of(whole)
        for events in (whole, again):
            for at, (last_id, _) in enumerate(events[:-1]):
                rest = await all_of(await relay.response(id, last_id))
                assert text_of(events[: at + 1]) + text_of(rest) == text_of(whole)
                kinds = [one["type"] for _, one in [*events[: at + 1], *rest] if one["type"] != "text"]
                assert kinds == [one["type"] for _, one in whole if one["type"] != "text"]
        assert (await relay.response(id, whole[-1][0])).status == 204

    asyncio.run(main())


@pytest.mark.parametrize("nonsense", ["x", "-1", "1.x", "9" * 30, "1e3", "\u0661"])
def test_an_id_that_no_event_has_begins_at_the_beginning(nonsense: str, simulator: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        answer = unspool.astream("Hi")
        id = relay.start(answer)
        assert text_of(await all_of(await relay.response(id, nonsense))) == answer.text

    asyncio.run(main())


def test_a_piece_of_an_id_opens_nothing(simulator: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        id = relay.start(unspool.astream("Hi"))
        for wrong in (id[-6:], id.lower(), "", "../" + id, "7" + "Z" * 25):
            assert (await relay.response(wrong)).status == 404
        await relay.aclose()

    asyncio.run(main())


def test_an_answer_without_a_journal_is_refused(simulator: Simulator) -> None:
    async def main() -> None:
        async with unspool.astream("Hi", journal=False) as answer:
            with pytest.raises(ValueError, match="journal"):
                Relay().start(answer)

    asyncio.run(main())


def test_the_answer_goes_on_when_its_viewer_leaves(slow: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        answer = unspool.astream("Hi in 60 tokens")
        id = relay.start(answer)
        response = await relay.response(id)
        async for _ in response.body:
            break
        await response.body.aclose()
        events = await all_of(await relay.response(id))
        assert events[-1][1]["outcome"] == "complete"

    asyncio.run(main())


def test_an_answer_that_nobody_looks_at_any_more_is_cancelled_where_that_is_wanted(slow: Simulator) -> None:
    async def main() -> None:
        relay = Relay(abandon_after=0.01)
        answer = unspool.astream("Hi in 4000 tokens")
        response = await relay.response(relay.start(answer))
        async for _ in response.body:
            break
        await response.body.aclose()
        while relay._running:
            await asyncio.sleep(0.001)
        assert answer.outcome == "cancelled"

    asyncio.run(main())


def test_closing_the_relay_ends_what_streams_and_says_so_to_its_viewers(slow: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        response = await relay.response(relay.start(unspool.astream("Hi in 4000 tokens")))
        watching = asyncio.create_task(all_of(response))
        await asyncio.sleep(0)
        await relay.aclose()
        assert (await watching)[-1][1]["outcome"] == "interrupted"

    asyncio.run(main())


def test_silence_is_broken_by_comments(slow: Simulator) -> None:
    async def main() -> None:
        slow.script("stall=2")
        relay = Relay(heartbeat=0.01)
        response = await relay.response(relay.start(unspool.astream("Hi")))
        pieces: list[bytes] = []
        async for piece in response.body:
            pieces.append(piece)
            if pieces.count(b":\n\n") + pieces.count(b": \n\n") >= 2:
                break
        await response.body.aclose()
        await relay.aclose()
        assert pieces[0].startswith(b"retry: 1000\n\n")

    asyncio.run(main())


# What several processes share.


class Elsewhere:
    """Another process that has a relay of its own, and answers the lines it is sent."""

    PROGRAM = """
import asyncio, json, sys
import unspool

async def main():
    relay = unspool.Relay(abandon_after=float(sys.argv[1]) or None)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what, *rest = json.loads(line)
        if what == "start":
            said = relay.start(unspool.astream(rest[0]), owner="ann")
        elif what == "read":
            body = b"".join([piece async for piece in (await relay.response(rest[0])).body]).decode()
            values = [json.loads(one[6:]) for one in body.split("\\n") if one.startswith("data: ")]
            said = ["".join(one["text"] for one in values if one["type"] == "text"), values[-1]["outcome"], values[-1]["message"]]
        elif what == "cancel":
            said = await relay.cancel(rest[0], "by a colleague")
        elif what == "delete":
            said = await relay.delete(rest[0])
        elif what == "list":
            said = [[one.id, one.state] for one in await relay.list("ann")]
        elif what == "close":
            said = await relay.aclose()
        print(json.dumps(said), flush=True)

asyncio.run(main())
"""

    def __init__(self, abandon_after: float = 0.0) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, str(abandon_after)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.send_signal(signal.SIGCONT)
        self.child.kill()
        self.child.communicate()

    def ask(self, *said: Any) -> Any:
        self.begin(*said)
        return self.answer()

    def begin(self, *said: Any) -> None:
        assert self.child.stdin is not None
        print(json.dumps(said), file=self.child.stdin, flush=True)

    def answer(self) -> Any:
        assert self.child.stdout is not None
        return json.loads(self.child.stdout.readline())


def test_a_viewer_in_another_process_keeps_an_answer_from_being_abandoned(slow: Simulator) -> None:
    with Elsewhere(abandon_after=0.3) as reading, Elsewhere() as viewing:
        id = reading.ask("start", "Hi in 400 tokens")
        text, outcome, _ = viewing.ask("read", id)
        assert (len(text) > 400, outcome) == (True, "complete")


def test_every_process_lists_cancels_and_deletes_the_streams_of_another(slow: Simulator) -> None:
    with Elsewhere() as one, Elsewhere() as other:
        id = one.ask("start", "Hi in 100000 tokens")
        while other.ask("list") != [[id, "running"]]:
            pass
        assert other.ask("delete", id) is False
        assert other.ask("cancel", id) is True
        _, outcome, message = other.ask("read", id)
        assert (outcome, message) == ("cancelled", "by a colleague")
        while other.ask("list") != [[id, "cancelled"]]:
            pass
        assert other.ask("cancel", id) is False
        assert other.ask("delete", id) is True
        assert other.ask("list") == []
        with pytest.raises(LookupError):
            unspool.follow(id)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_streams_of_a_process_that_dies_or_stops_end_as_interrupted(slow: Simulator, how: signal.Signals) -> None:
    with Elsewhere() as dying, Elsewhere() as viewing:
        id = dying.ask("start", "Hi in 100000 tokens")
        while viewing.ask("list") != [[id, "running"]]:
            pass
        viewing.begin("read", id)
        dying.child.send_signal(how)
        text, outcome, _ = viewing.answer()
        assert outcome == "interrupted"
        while viewing.ask("list") != [[id, "interrupted"]]:
            pass
        if how == signal.SIGSTOP:
            dying.child.send_signal(signal.SIGCONT)
            # What it reads from now on is in no journal.
            assert viewing.ask("read", id)[:2] == [text, "interrupted"]


def test_a_server_that_stops_is_no_cancel_of_its_user(slow: Simulator) -> None:
    with Elsewhere() as stopping:
        id = stopping.ask("start", "Hi in 100000 tokens")
        stopping.ask("close")
        with unspool.follow(id, check=False) as answer:
            answer.read()
        assert answer.outcome == "interrupted"


def test_without_locks_a_lease_says_that_an_answer_is_alive(slow: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    from unspool.journal import reader

    with Elsewhere() as reading:
        id = reading.ask("start", "Hi in 300 tokens")
        while reading.ask("list") != [[id, "running"]]:
            pass
        monkeypatch.setattr(reader, "is_alive", lambda path: False)

        async def main() -> None:
            relay = Relay()
            events = await all_of(await relay.response(id))
            assert events[-1][1]["outcome"] == "complete"
            await relay.aclose()

        asyncio.run(main())


# What is started.


@pytest.mark.parametrize("api", ["responses", "chat", "completions"])
def test_an_answer_that_was_resumed_is_served_from_its_beginning(slow: Simulator, api: str) -> None:
    async def main() -> None:
        cut = unspool.astream("Hi in 60 tokens", api=api, retries=0, check=False)
        async for _ in cut:
            if len(cut.text) > 60:
                break
        await cut.aclose()
        relay = Relay()
        answer = unspool.aresume(cut.id or "")
        id = relay.start(answer)
        whole = await all_of(await relay.response(id))
        assert text_of(whole).startswith(cut.text)
        assert text_of(whole) == answer.text
        for at, (last_id, _) in enumerate(whole[:-1]):
            if last_id:
                rest = await all_of(await relay.response(id, last_id))
                assert text_of(whole[: at + 1]) + text_of(rest) == answer.text
        await relay.aclose()

    asyncio.run(main())


def test_what_is_already_read_or_followed_or_started_is_served_all_the_same(simulator: Simulator) -> None:
    async def main() -> None:
        relay = Relay()
        answer = unspool.astream("Hi")
        id = relay.start(answer)
        assert relay.start(answer) == id
        await all_of(await relay.response(id))
        done = unspool.astream("Hi")
        text = await done.read()
        for again in (done, unspool.aresume(done.id or ""), unspool.afollow(done.id or "")):
            assert text_of(await all_of(await relay.response(relay.start(again)))) == text
        with pytest.raises(TypeError, match="Answer"):
            relay.start(unspool.stream("Hi"))  # type: ignore[arg-type]
        await relay.aclose()

    asyncio.run(main())


# As an application, behind a real server.


class Running:
    """An application on uvicorn, in a thread."""

    def __init__(self, app: Any) -> None:
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._listener.close()


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("browser_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


beside_the_tests = pytest.mark.skipif(not EXAMPLE.exists(), reason="the example is not beside the tests")
with_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-sSN", "--max-time", "30", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@beside_the_tests
@with_curl
def test_curl_reads_the_answer_and_goes_on_from_any_event(slow: Simulator) -> None:
    with Running(example().app) as server:
        id = json.loads(curl(server.url + "/ask", "-d", '{"question": "Hi in 30 tokens"}'))["id"]
        whole = curl("-i", f"{server.url}/streams/{id}")
        head, _, body = whole.partition("\n\n")
        assert "content-type: text/event-stream" in head
        assert "cache-control: no-cache" in head
        assert "x-accel-buffering: no" in head
        events = Decoder().feed(body.encode())
        middle = events[len(events) // 2]
        rest = curl("-H", f"Last-Event-ID: {middle.id}", f"{server.url}/streams/{id}")
        texts = [
            "".join(json.loads(one.data).get("text", "") for one in some)
            for some in (events, events[: len(events) // 2 + 1], Decoder().feed(rest.encode()))
        ]
        assert texts[0] == texts[1] + texts[2] != ""
        last = curl("-i", "-H", f"Last-Event-ID: {events[-1].id}", f"{server.url}/streams/{id}")
        assert last.startswith("HTTP/1.1 204")
        assert curl("-i", f"{server.url}/streams/nothing").startswith("HTTP/1.1 404")


def test_starlette_takes_a_response_as_it_is(simulator: Simulator) -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.routing import Route

    relay = Relay()

    async def watch(request: Request) -> EventStream:
        id = relay.start(unspool.astream("Hi"))
        return await relay.response(id, request.headers.get("last-event-id"))

    with Running(Starlette(routes=[Route("/", watch)])) as server:
        if shutil.which("curl"):
            assert '"outcome":"complete"' in curl(server.url)


def test_fastapi_streams_a_responses_body(simulator: Simulator) -> None:
    fastapi = pytest.importorskip("fastapi")
    from starlette.responses import StreamingResponse

    relay = Relay()
    app = fastapi.FastAPI()

    @app.get("/")
    async def watch() -> StreamingResponse:
        one = await relay.response(relay.start(unspool.astream("Hi")))
        return StreamingResponse(one.body, one.status, one.headers)

    watch.__annotations__.clear()
    with Running(app) as server:
        if shutil.which("curl"):
            assert '"outcome":"complete"' in curl(server.url)


# In a browser.


class Dropping:
    """A proxy of one port that cuts its connections when it is told to. ``requests`` are the heads that came."""

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[str] = []
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Dropping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        self._listener.close()
        self.drop()

    def drop(self) -> None:
        """Cut what is open."""
        for pair in self._pairs:
            for one in pair:
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def _run(self) -> None:
        others: dict[socket.socket, socket.socket] = {}
        while not self._closing:
            for one in select.select([self._listener, *others], [], [], 0.02)[0]:
                if one is self._listener:
                    pair = one.accept()[0], socket.create_connection(self._target)
                    self._pairs.append(pair)
                    others[pair[0]], others[pair[1]] = pair[1], pair[0]
                    continue
                if one not in others:
                    continue
                try:
                    data = one.recv(65536)
                    others[one].sendall(data)
                except OSError:
                    data = b""
                if data.startswith((b"GET ", b"POST ")):
                    self.requests.append(data.partition(b"\r\n\r\n")[0].decode("latin-1").lower())
                if not data:
                    other = others.pop(one)
                    others.pop(other, None)
                    one.close()
                    other.close()


ANSWER = "document.getElementById('answer')?.textContent"
STATE = "document.getElementById('state')?.textContent"


@beside_the_tests
@with_chromium
def test_a_browser_shows_the_answer_and_has_it_again_after_a_reload_and_goes_on_after_a_lost_connection(
    slow: Simulator,
) -> None:
    with Running(example().app) as server, Dropping(server.url) as proxy, Browser(CHROMIUM or "") as browser:
        browser.go(proxy.url)
        browser.until("!!document.querySelector('form')?.onsubmit")
        browser.run(
            "document.querySelector('input').value = 'Hi in 900 tokens'; document.querySelector('form').requestSubmit()"
        )
        before = browser.until(ANSWER)
        assert browser.run(STATE) == "streaming"

        browser.reload()
        browser.until(ANSWER, lambda text: text is not None and len(text) > len(before))
        assert browser.run(STATE) == "streaming"
        assert browser.run(ANSWER).startswith(before)

        proxy.drop()
        browser.until(STATE, lambda state: state == "complete")
        shown = browser.run(ANSWER)
        id = browser.run("location.hash.slice(1)")
        assert unspool.follow(id).read() == shown
    resumed = [head for head in proxy.requests if "\r\nlast-event-id: " in head]
    assert len(resumed) == 1
    assert len([head for head in proxy.requests if head.startswith("get /streams/")]) == 3
