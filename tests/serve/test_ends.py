"""What callers may use, how streams end, and what is kept of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support import wire
from support.server import Connection, Server, then_silence
from support.waiting import PATIENCE, until
from unspool.serve import gateway as gateway_module
from unspool.serve import ingest as ingest_module
from unspool.serve.channel import Channel, Viewer
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .gateways import CHAT, Running, bearer, each_event, events, write_tokens
from .test_gateway_life import children, workers

RESPONSES = {"model": "gpt-5.4-mini", "stream": True, "input": "What is Python?"}


@pytest.fixture
def silent() -> Iterator[Server]:
    """An upstream that begins an answer and says nothing more."""
    with Server(then_silence(wire.SSE_HEAD + wire.start("chat") + wire.piece("chat", "Hi"))) as server:
        yield server


# Tokens


def test_a_token_is_refused_after_its_expiry(simulator: Simulator, tmp_path: Path) -> None:
    past, future = write_tokens(tmp_path / "t", 'name = "a"\nexpires = 2020-01-31', 'name = "b"\nexpires = 2999-01-31')
    with Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        for answer in (gateway.ask(headers=bearer(past)), gateway.get("/streams", headers=bearer(past))):
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_expired")
        assert gateway.ask(headers=bearer(future)).status_code == 200
        assert len(simulator.requests) == 1


def test_two_tokens_of_a_name_are_one_owner_and_one_can_go(silent: Server, tmp_path: Path) -> None:
    file = tmp_path / "t"
    old, new = write_tokens(file, 'name = "app"', 'name = "app"')
    with Running(silent.url, tmp_path / "g", key="sk-gateway", tokens=file) as gateway:
        asked = gateway.ask(headers=bearer(old))
        id = asked.headers["X-Unspool-Id"]
        watched = gateway.get(f"/streams/{id}", headers=bearer(new))
        [first, second] = file.read_text().split("[[token]]")[1:]
        file.write_text("[[token]]" + second)
        gateway.loop.call_soon_threadsafe(gateway.worker.reload)
        with pytest.raises(requests.RequestException):
            events(asked)
        assert gateway.get(f"/streams/{id}", headers=bearer(old)).status_code == 401
        # The stream is the name's, which still has a token.
        [one] = gateway.get("/streams", headers=bearer(new)).json()["data"]
        assert one["state"] == "running"
        file.write_text("")
        gateway.loop.call_soon_threadsafe(gateway.worker.reload)
        with pytest.raises(requests.RequestException):
            events(watched)
        assert first != second


def test_a_token_runs_so_many_streams_at_once_and_then_others(silent: Server, tmp_path: Path) -> None:
    limited, other = write_tokens(tmp_path / "t", 'name = "app"\nstreams = 2', 'name = "other"')
    with Running(silent.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        statuses: list[int] = []
        asked: list[requests.Response] = []

        def ask() -> None:
            answer = gateway.ask(headers=bearer(limited))
            asked.append(answer)
            statuses.append(answer.status_code)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(statuses) == [200] * 2 + [429] * 6
        assert gateway.ask(headers=bearer(other)).status_code == 200
        running = next(one for one in asked if one.status_code == 200).headers["X-Unspool-Id"]
        assert gateway.ask({}, f"/streams/{running}/cancel", headers=bearer(limited)).status_code == 202
        until(lambda: gateway.ask(headers=bearer(limited)).status_code == 200)


def test_the_users_of_a_trusted_token_share_its_limit_of_streams(silent: Server, tmp_path: Path) -> None:
    [token] = write_tokens(tmp_path / "t", 'name = "app"\nstreams = 2\ntrusted = true')
    with Running(silent.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        asked = [gateway.ask(headers={**bearer(token), "X-Unspool-User": user}) for user in ("a", "b", "c")]
        assert [one.status_code for one in asked] == [200, 200, 429]


def test_a_token_uses_so_many_tokens_a_day(simulator: Simulator, tmp_path: Path) -> None:
    limited, other = write_tokens(tmp_path / "t", 'name = "app"\ntokens_per_day = 1', 'name = "other"')
    with Running(simulator.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway:
        events(gateway.ask(RESPONSES, "/responses", headers=bearer(limited)))
        until(lambda: gateway.ask(RESPONSES, "/responses", headers=bearer(limited)).status_code == 429)
        refused = gateway.ask(headers=bearer(limited))
        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert gateway.ask(headers=bearer(other)).status_code == 200


# Silence


def test_a_stream_whose_upstream_is_silent_gets_its_head_and_comments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gateway_module, "_HEAD_PATIENCE", 0.05)
    monkeypatch.setattr(ingest_module, "HEARTBEAT_SECONDS", 0.05)
    with Server() as server, Running(server.url, tmp_path / "g") as gateway:
        answer = gateway.ask()
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        upstream = server.accept()
        pieces = answer.iter_content(None)
        held = b""
        while held.count(b":\n") < 3:
            held += next(pieces)
        assert b"data:" not in held
        upstream.send(wire.stream("chat", "Hi"))
        upstream.close()
        assert b"".join(pieces).rstrip().endswith(b"data: [DONE]")


def test_a_refusal_after_the_head_is_an_error_event(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gateway_module, "_HEAD_PATIENCE", 0.0)
    with Server(wire.error(500, "broken")) as server, Running(server.url, tmp_path / "g") as gateway:
        found = events(gateway.ask())
        assert "broken" in found[-1].data
        assert "[DONE]" not in [one.data for one in found]


def test_a_viewer_that_comes_after_a_failure_is_sent_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gateway_module, "_HEAD_PATIENCE", 0.0)
    ended, watched = threading.Event(), threading.Event()
    detach = Channel.detach

    async def slow_detach(channel: Channel, viewer: Viewer) -> None:
        # Until the last one has left, those who come are viewers of this channel.
        ended.set()
        while not watched.is_set():
            await asyncio.sleep(0.01)
        await detach(channel, viewer)

    monkeypatch.setattr(Channel, "detach", slow_detach)
    [token] = write_tokens(tmp_path / "t", 'name = "app"')
    with (
        Server(wire.error(401, "no")) as server,
        Running(server.url, tmp_path / "g", key="sk-gateway", tokens=tmp_path / "t") as gateway,
    ):
        id = gateway.ask(headers=bearer(token)).headers["X-Unspool-Id"]
        assert ended.wait(PATIENCE)
        for format in ("upstream", "unspool", "ai-sdk"):
            path = f"/streams/{id}?format={format}"
            found = events(gateway.get(path, headers=bearer(token)))
            assert any("rejects the gateway's key" in one.data for one in found), format
        watched.set()


# Background responses


BACKGROUND = {**RESPONSES, "background": True}


def test_a_background_response_is_read_on_where_upstreams_connection_broke(
    simulator: Simulator, tmp_path: Path
) -> None:
    with Running(simulator.url, tmp_path / "g") as gateway:
        simulator.script("cut=7")
        found = [json.loads(one.data) for one in events(gateway.ask(BACKGROUND, "/responses"))]
        assert [one["sequence_number"] for one in found] == list(range(len(found)))
        assert found[-1]["type"] == "response.completed"
        said = "".join(one["delta"] for one in found if one["type"] == "response.output_text.delta")
        assert said == found[-1]["response"]["output"][-1]["content"][0]["text"]
        [asked, again] = simulator.requests
        assert (asked.method, again.method) == ("POST", "GET")
        assert again.headers["authorization"] == "Bearer sk-alice"


def test_a_background_response_that_upstream_streams_no_more_ends_as_cut(tmp_path: Path) -> None:
    created = {"type": "response.created", "sequence_number": 0, "response": {"id": "r1", "background": True}}
    begun = wire.SSE_HEAD + wire.event(created)
    with (
        Server(begun, wire.error(400, "more than 5 minutes old")) as server,
        Running(server.url, tmp_path / "g") as gateway,
    ):
        found = events(gateway.ask(BACKGROUND, "/responses"))
        assert json.loads(found[-1].data)["code"] == "cut"
        assert [one.method for one in server.requests] == ["POST", "GET"]


def test_a_background_response_whose_worker_was_lost_is_upstreams_again(tmp_path: Path) -> None:
    with (
        Simulator(SimulatorSettings(itl=0.02)) as simulator,
        workers(simulator.url, tmp_path / "g", 2) as (url, parent),
    ):
        asked = requests.post(
            f"{url}/responses", json=BACKGROUND, headers=bearer("sk-alice"), stream=True, timeout=PATIENCE
        )
        reading = each_event(asked)
        seen = [json.loads(next(reading).data) for _ in range(4)]
        for worker in children(parent.pid):
            os.kill(worker, signal.SIGKILL)
        id, last = seen[0]["response"]["id"], seen[-1]["sequence_number"]

        def interrupted() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                listed = requests.get(f"{url}/streams", headers=bearer("sk-alice"), timeout=PATIENCE).json()["data"]
                return [one["state"] for one in listed] == ["interrupted"]
            return False

        until(interrupted)
        path = f"{url}/responses/{id}?stream=true&starting_after={last}"
        rest = requests.get(path, headers=bearer("sk-alice"), stream=True, timeout=PATIENCE)
        numbers = [json.loads(one.data)["sequence_number"] for one in each_event(rest)]
        assert numbers == list(range(last + 1, last + 1 + len(numbers)))


# Clients that leave


@pytest.mark.parametrize("begun", [False, True])
def test_a_request_that_is_not_streamed_stops_when_its_client_leaves(begun: bool, tmp_path: Path) -> None:
    with Server() as server, Running(server.url, tmp_path / "g") as gateway:
        upstream = leave(
            server, gateway, {**CHAT, "stream": False}, wire.head(type="application/json") if begun else b""
        )
        assert upstream.wait_closed()
        until(lambda: [one["state"] for one in gateway.get("/streams").json()["data"]] == ["cancelled"])


def test_a_client_that_leaves_before_the_head_is_counted_as_gone(tmp_path: Path) -> None:
    with Server() as server, Running(server.url, tmp_path / "g") as gateway:
        upstream = leave(server, gateway, CHAT, b"", "X-Unspool-Abandon: 0")
        assert upstream.wait_closed()


def test_with_an_idempotency_key_a_request_that_is_not_streamed_goes_on(tmp_path: Path) -> None:
    body = {**CHAT, "stream": False}
    with Server() as server, Running(server.url, tmp_path / "g") as gateway:
        upstream = leave(server, gateway, body, b"", "Idempotency-Key: k")
        upstream.reply(
            200, {"id": "c", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "stop"}]}
        )
        again = requests.post(
            f"{gateway.url}/chat/completions",
            data=json.dumps(body),
            headers={**bearer("sk-alice"), "Idempotency-Key": "k"},
            timeout=PATIENCE,
        )
        assert again.json()["id"] == "c"
        assert len(server.requests) == 1


def leave(server: Server, gateway: Running, body: object, begins: bytes, *headers: str) -> Connection:
    """Ask, and leave as soon as upstream has the request and has sent this; returns upstream's connection."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(gateway.url)
    data = json.dumps(body)
    lines = ["POST /v1/chat/completions HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(data)}", *headers]
    with socket.create_connection((parts.hostname or "", parts.port or 80), PATIENCE) as client:
        client.sendall("\r\n".join([*lines, "Authorization: Bearer sk-alice", "", data]).encode())
        upstream = server.accept()
        upstream.send(begins)
    return upstream


# Restarts


def test_while_draining_new_streams_are_503_and_running_ones_are_read_on(tmp_path: Path) -> None:
    with (
        Simulator(SimulatorSettings(itl=0.05)) as simulator,
        Running(simulator.url, tmp_path / "g", drain=60.0) as gateway,
    ):
        asked = gateway.ask()
        reading = each_event(asked)
        begun = next(reading)
        gateway.loop.call_soon_threadsafe(gateway._stop.set)
        ready = gateway.url.removesuffix("/v1") + "/readyz"
        until(lambda: requests.get(ready, timeout=PATIENCE).status_code == 503)
        refused = gateway.ask()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        again = gateway.get(f"/streams/{asked.headers['X-Unspool-Id']}?after={begun.id}")
        rest = [one.data for one in reading]
        assert rest[-1] == "[DONE]"
        assert [one.data for one in events(again)] == rest


def test_a_stream_that_outlasts_the_drain_ends_as_interrupted(silent: Server, tmp_path: Path) -> None:
    with Running(silent.url, tmp_path / "g", drain=0.0) as gateway:
        asked = gateway.ask()
        reading = each_event(asked)
        next(reading)
        gateway.loop.call_soon_threadsafe(gateway._stop.set)
        last = json.loads([one.data for one in reading][-1])
        assert last["error"]["code"] == "interrupted"
        assert "restarted" in last["error"]["message"]


def test_what_is_asked_again_is_a_stream_of_its_own(tmp_path: Path) -> None:
    cut = wire.SSE_HEAD + wire.start("chat") + wire.piece("chat", "Hi")
    with Server(cut, wire.stream("chat", "Ho")) as server, Running(server.url, tmp_path / "g") as gateway:
        first, second = gateway.ask(), gateway.ask()
        assert first.headers["X-Unspool-Id"] != second.headers["X-Unspool-Id"]
        assert "Ho" not in first.text
        assert "Hi" not in second.text
        assert (
            json.loads(events(gateway.get(f"/streams/{first.headers['X-Unspool-Id']}"))[-1].data)["error"]["code"]
            == "cut"
        )
        assert len(server.requests) == 2


# Keeping


def test_what_is_not_to_be_stored_is_never_listed_and_gone_soon_after(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Running(simulator.url, tmp_path / "g") as gateway:
        asked = gateway.ask({**RESPONSES, "store": False}, "/responses")
        id = asked.headers["X-Unspool-Id"]
        assert gateway.get("/streams").json()["data"] == []
        complete = events(asked)
        assert [one.data for one in events(gateway.get(f"/streams/{id}"))] == [one.data for one in complete]
        assert gateway.get("/streams").json()["data"] == []
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 590.0)
        assert gateway.get(f"/streams/{id}").status_code == 200
        monkeypatch.setattr(time, "time", lambda: real() + 610.0)
        until(lambda: gateway.get(f"/streams/{id}").status_code == 404)
        assert not (tmp_path / "g/streams" / f"{id}.sse").exists()


@pytest.mark.parametrize(
    ("path", "body", "there"),
    [("/responses", RESPONSES, "/v1/responses/r1"), ("/chat/completions", CHAT, "/v1/chat/completions/r1")],
)
def test_what_is_deleted_here_is_deleted_upstream_too(
    path: str, body: dict[str, object], there: str, tmp_path: Path
) -> None:
    api = "responses" if path == "/responses" else "chat"
    with (
        Server(wire.stream(api, "Hi"), wire.reply(200, b"{}")) as server,
        Running(server.url, tmp_path / "g") as gateway,
    ):
        asked = gateway.ask(body, path)
        events(asked)
        id = asked.headers["X-Unspool-Id"]
        deleted = requests.delete(f"{gateway.url}/streams/{id}", headers=bearer("sk-alice"), timeout=PATIENCE)
        assert deleted.json() == {"id": id, "object": "stream", "deleted": True}
        [_, last] = server.requests
        assert (last.method, last.path, last.headers["authorization"]) == ("DELETE", there, "Bearer sk-alice")
        assert gateway.get(f"/streams/{id}").status_code == 404
        assert not list((tmp_path / "g/streams").iterdir())


def test_a_running_stream_that_is_deleted_stops_upstream(tmp_path: Path) -> None:
    with Server() as server, Running(server.url, tmp_path / "g") as gateway:
        found: list[requests.Response] = []
        asking = threading.Thread(target=lambda: found.append(gateway.ask()))
        asking.start()
        upstream = server.accept()
        upstream.send(wire.SSE_HEAD + wire.event({"id": None, "choices": []}))
        asking.join(PATIENCE)
        path = f"{gateway.url}/streams/{found[0].headers['X-Unspool-Id']}"
        assert requests.delete(path, headers=bearer("sk-alice"), timeout=PATIENCE).status_code == 200
        assert upstream.wait_closed()
        assert requests.get(path, headers=bearer("sk-alice"), timeout=PATIENCE).status_code == 404


# Storage that fails


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Server, str, int]]:
    """An upstream that a test plays, and a gateway in a process of its own: its URL, and the id of the process that writes."""
    with Server() as server, workers(server.url, tmp_path / "g", 1) as (url, parent):
        [worker] = children(parent.pid)
        yield server, url, worker


def limit_files(pid: int, size: int) -> None:
    """Let a process write no file beyond this size, as on a disk that is full."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def ask(url: str, **headers: str) -> requests.Response:
    return requests.post(
        f"{url}/chat/completions", json=CHAT, headers={**bearer("sk-alice"), **headers}, stream=True, timeout=PATIENCE
    )


def test_where_nothing_can_be_kept_a_request_is_503_before_its_head(full: tuple[Server, str, int]) -> None:
    server, url, worker = full
    limit_files(worker, 0)
    refused = ask(url)
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.json()["error"]["code"] == "store_unavailable"
    assert not server.requests


def test_a_stream_that_can_no_longer_be_kept_ends_as_interrupted(full: tuple[Server, str, int]) -> None:
    server, url, worker = full
    found: list[requests.Response] = []
    asking = threading.Thread(target=lambda: found.append(ask(url)))
    asking.start()
    upstream = server.accept()
    upstream.send(wire.SSE_HEAD + wire.start("chat") + wire.piece("chat", "kept"))
    asking.join(PATIENCE)
    reading = each_event(found[0])
    seen = [next(reading), next(reading)]
    limit_files(worker, 1024)
    upstream.send(wire.piece("chat", "x" * 4096))
    rest = list(reading)
    assert "xxx" not in "".join(one.data for one in rest)
    assert json.loads(rest[-1].data)["error"]["code"] == "interrupted"
    assert "kept" in seen[-1].data
    assert upstream.wait_closed()
    limit_files(worker, resource.RLIM_INFINITY)

    def states() -> list[str]:
        listed = requests.get(f"{url}/streams", headers=bearer("sk-alice"), timeout=PATIENCE)
        return [one["state"] for one in listed.json()["data"]]

    until(lambda: states() == ["interrupted"])
