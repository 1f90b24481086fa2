"""The short way of events to a connection: the same bytes as by the long one."""

import asyncio
import json
import re
import socket
from urllib.parse import urlsplit

import pytest

from unspool.sim.running import Simulator
from unspool.sim.wire import Wire

BODY = json.dumps({"model": "m", "stream": True, "prompt": "a story in 40 tokens", "max_tokens": 100})


def raw(url, version="1.1", faults=""):
    """All that is sent for one request, to the byte."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connected:
        head = f"POST /v1/completions HTTP/{version}\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(BODY)}\r\n"
        connected.sendall(f"{head}X-Unspool-Fault: {faults}\r\n\r\n{BODY}".encode())
        received = b""
        while piece := connected.recv(65536):
            received += piece
    return received.partition(b"\r\n\r\n")[::2]


def chunks(body):
    """The chunks of a body, the last one included."""
    found = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        body = rest[int(size, 16) + 2 :]
    return found


def test_each_event_has_an_http_chunk_of_its_own_however_many_come_at_once():
    with Simulator() as simulator:
        head, body = raw(simulator.url)
    *events, last = chunks(body)
    assert b"transfer-encoding: chunked" in head.lower()
    assert last == b""
    assert len(events) >= 41
    assert all(event.startswith(b"data: ") and event.count(b"\n\n") == 1 for event in events)


def test_the_bytes_are_those_of_the_long_way():
    # A comment before each event is a fault, and what has faults goes the long way.
    with Simulator() as simulator:
        _, short = raw(simulator.url)
        _, long = raw(simulator.url, faults="comments=x")
    said = [b"".join(chunks(body)).replace(b": x\n\n", b"").replace(b": x\n", b"") for body in (short, long)]
    # A second may end between the two.
    first, other = (re.sub(rb'"created":\d+', b"", one) for one in said)
    assert first == other


def test_http_1_0_gets_the_events_without_chunks():
    with Simulator() as simulator:
        head, body = raw(simulator.url, "1.0")
    assert b"transfer-encoding" not in head.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


class Transport:
    """Takes notes of what is written."""

    def __init__(self):
        self.written = []
        self.closing = False

    def write(self, data):
        self.written.append(data)

    def is_closing(self):
        return self.closing


class Flow:
    write_paused = False


@pytest.mark.parametrize("closing", [False, True])
def test_what_is_written_in_one_turn_goes_out_in_one_piece_unless_the_client_has_gone(closing):
    async def scenario():
        transport = Transport()
        transport.closing = closing
        wire = Wire(transport, Flow())
        assert not wire.chunk(b"one")
        assert not wire.chunk(b"fourteen bytes")
        assert transport.written == []
        await asyncio.sleep(0)
        assert transport.written == ([] if closing else [b"3\r\none\r\ne\r\nfourteen bytes\r\n"])

    asyncio.run(scenario())


def test_a_client_that_takes_slowly_is_told_of():
    async def scenario():
        wire = Wire(Transport(), Flow())
        wire._flow.write_paused = True
        assert wire.chunk(b"x")
        wire.flush()

    asyncio.run(scenario())
