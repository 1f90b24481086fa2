"""Cut a stream at every byte, in every way: what was delivered is a prefix, and a cut answer never passes for a whole one.

Exhaustive without a network, where a cut takes a fraction of a millisecond; sampled, with a fixed seed, over real sockets, where the
head of the answer and its chunks are cut too.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.effort import EXHAUSTIVE, rounds
from support.server import Connection, Server
from unspool.api.deltas import Text
from unspool.api.prompt import Prompt
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.limits import Limits
from unspool.config.target import Target
from unspool.outcome import COMPLETE, CUT, UNREACHABLE, Fault
from unspool.sim.running import Simulator

#: Each byte in an exhaustive run.
STEP = 1 if EXHAUSTIVE else 7
PROMPT = "Say it in 12 tokens"
APIS = ("responses", "chat", "completions")
#: How a stream may stop. A stall ends when the idle timeout says so.
WAYS: dict[str, Fault | None] = {
    "clean end": None,
    "missing last chunk": Fault(CUT, "the server closed the connection in the middle of the answer"),
    "reset": Fault(CUT, "the connection was reset in the middle of the answer"),
    "stall": Fault(CUT, "nothing arrived for 300 s (idle timeout)"),
}


@pytest.fixture(scope="module")
def recorded() -> dict[str, bytes]:
    """The bytes that the simulator sends for each endpoint, head and chunks included."""
    found = {}
    with Simulator() as simulator:
        host, port = simulator.url.split("/")[2].split(":")
        for api in APIS:
            exchange = Exchange(endpoint(simulator.url, api), prompt(), journal=None)
            request = exchange.request()
            with socket.create_connection((host, int(port))) as sock:
                path = request.url.partition(f":{port}")[2]
                head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(request.body)}\r\n"
                sock.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + request.body)
                found[api] = b"".join(iter(lambda sock=sock: sock.recv(65536), b""))
    return found


def endpoint(url: str, api: str) -> Target:
    return Target("test", url, api, key="sk-0123456789abcdef")


def prompt(**options: Any) -> Prompt:
    return Prompt(PROMPT, "sim-1", max_tokens=400, options=options)


def body_of(raw: bytes) -> bytes:
    """The event stream within a recorded answer: its chunks put together."""
    rest = raw.partition(b"\r\n\r\n")[2]
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


class Arrived:
    """A transfer that has ended, with what arrived before."""

    def __init__(self, body: bytes, fault: Fault | None, status: int = 200, type: str = "text/event-stream") -> None:
        self.status, self.http_version, self.headers = status, "1.1", {"content-type": type}
        self.fault, self._body = fault, body

    def take(self) -> bytes:
        body, self._body = self._body, b""
        return body


def text_of(deltas: list[Any]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def whole_events(api: str, body: bytes) -> int:
    """The first byte from which on the protocol's own end has been received."""
    if api == "responses":
        return body.index(b"event: response.completed") + len(body[body.index(b"event: response.completed") :].rstrip())
    end = (
        body.index(b'"finish_reason":"stop"') if b'"finish_reason":"stop"' in body else body.index(b'"finish_reason":"')
    )
    return end + body[end:].index(b"\n")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("api", APIS)
def test_what_is_cut_is_a_prefix_and_never_complete(recorded: dict[str, bytes], api: str, way: str) -> None:
    body = body_of(recorded[api])
    base = Exchange(endpoint("http://127.0.0.1:1/v1", api), prompt(), journal=None)
    base.request()
    whole = text_of(base.finish(Arrived(body, None))[0])
    assert base.ending is not None
    assert base.ending.outcome == COMPLETE
    assert len(whole) > 40
    ended_from = whole_events(api, body)
    lengths = set()
    for cut in range(0, len(body) + 1, STEP):
        exchange = Exchange(endpoint("http://127.0.0.1:1/v1", api), prompt(), journal=None, retries=0)
        exchange.request()
        deltas, wait = exchange.finish(Arrived(body[:cut], WAYS[way]))
        text = text_of(deltas)
        assert wait is None
        assert whole.startswith(text)
        assert exchange.ending is not None
        if cut >= ended_from:
            assert (exchange.ending.outcome, text) == (COMPLETE, whole), cut
        else:
            assert exchange.ending.outcome == CUT, (cut, body[:cut][-60:])
        lengths.add(len(text))
    assert len(lengths) > 10, "the answer came in few pieces, so the cuts prove little"


@pytest.mark.parametrize("way", WAYS)
def test_a_background_response_cut_anywhere_and_resumed_is_the_uncut_one(recorded: dict[str, bytes], way: str) -> None:
    blocks = body_of(recorded["responses"]).split(b"\n\n")[:-1]
    body = b"".join(block + b"\n\n" for block in blocks)
    uncut = Exchange(endpoint("http://127.0.0.1:1/v1", "responses"), prompt(), journal=None)
    uncut.request()
    whole = text_of(uncut.finish(Arrived(body, None))[0])
    created = body.index(b"\n\n") + 2
    for cut in range(created, len(body), STEP):
        exchange = Exchange(
            endpoint("http://127.0.0.1:1/v1", "responses"), prompt(background=True, store=True), journal=None
        )
        exchange.request()
        deltas, wait = exchange.finish(Arrived(body[:cut], WAYS[way]))
        events = list(exchange.events)
        if exchange.ending is None:
            assert wait == 0.0
            request = exchange.request()
            assert request.method == "GET"
            after = int(request.url.rpartition("starting_after=")[2])
            # A server may send again what was had already, and does here.
            resumed = b"".join(block + b"\n\n" for block in blocks[max(0, after - 1) :])
            more, wait = exchange.finish(Arrived(resumed, None))
            deltas += more
            events = exchange.events
        assert wait is None
        assert exchange.ending is not None
        assert exchange.ending.outcome == COMPLETE
        assert text_of(deltas) == whole
        numbers = [int(event.data.rpartition('"sequence_number":')[2].split(",")[0].strip("} ")) for event in events]
        assert numbers == sorted(set(numbers)) == list(range(len(blocks)))


def cut_at(raw: bytes, cut: int, way: str) -> Callable[[Connection], object]:
    def script(connection: Connection) -> None:
        connection.send(raw[:cut])
        if way == "reset":
            connection.reset()
        elif way == "stall":
            connection.wait_closed()

    return script


def samples(raw: bytes, rng: random.Random) -> Iterator[int]:
    head = raw.index(b"\r\n\r\n") + 4
    yield from sorted(rng.sample(range(head), rounds(6)))
    yield from sorted(rng.sample(range(head, len(raw)), rounds(18)))
    yield from (head, len(raw) - 5, len(raw))


@pytest.mark.parametrize("way", ["clean end", "reset", "stall"])
@pytest.mark.parametrize("api", APIS)
def test_over_real_sockets_too_the_head_and_the_chunks_included(recorded: dict[str, bytes], api: str, way: str) -> None:
    raw = recorded[api]
    body = body_of(raw)
    base = Exchange(endpoint("http://127.0.0.1:1/v1", api), prompt(), journal=None)
    base.request()
    whole = text_of(base.finish(Arrived(body, None))[0])
    ended_from = raw.index(body[whole_events(api, body) - 20 : whole_events(api, body)]) + 20
    for cut in samples(raw, random.Random(f"{api} {way}")):
        with Server(cut_at(raw, cut, way)) as server:
            exchange = Exchange(endpoint(server.url, api), prompt(), journal=None, retries=0)
            with Answer(exchange, Limits(idle=0.1), check=False) as answer:
                text = "".join(answer)
                assert whole.startswith(text)
                if answer.outcome == COMPLETE:
                    assert cut >= ended_from
                    assert text == whole
                else:
                    assert answer.outcome in (CUT, UNREACHABLE), (cut, answer.ending)
                    # A reset may take with it what had been sent just before; a close and a stall take nothing.
                    assert cut < len(raw) or way == "reset"
