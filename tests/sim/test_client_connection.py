"""The short way of events to a connection: the same bytes as by the long one."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim import running
from unspool.sim.connection import ClientConnection
from unspool.sim.frames import Frame
from unspool.sim.pace import Pace
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sim.streaming import PacedFrames, chunk

from . import asking
from .conftest import NOON

BODY = json.dumps({"model": "m", "stream": True, "prompt": "a story in 40 tokens", "max_tokens": 100})


def raw(url, version="1.1", faults="", path="/completions", body=None):
    """The head and the body that are sent for one request, to the byte."""
    body = BODY if body is None else json.dumps(body)
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connected:
        head = (
            f"POST /v1{path} HTTP/{version}\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        )
        connected.sendall(f"{head}X-Unspool-Fault: {faults}\r\n\r\n{body}".encode())
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


@pytest.fixture(scope="module")
def plain():
    """A simulator without a way past ASGI, as it is with an HTTP server that it does not know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_protocol", lambda connections: None)
        with Simulator(SimulatorSettings(clock=lambda: NOON)) as simulator:
            yield simulator


@pytest.mark.parametrize(("name", "path", "body"), asking.ALL, ids=[name for name, _, _ in asking.ALL])
def test_every_stream_has_the_bytes_that_it_has_by_the_plain_way(name, path, body, simulator, plain):
    first, other = (raw(url, path=path, body={**body, "stream": True}) for url in (simulator.url, plain.url))
    assert other[0].startswith(b"HTTP/1.1 200 ")
    assert first[1] == other[1]


def test_the_plain_way_ends_streams_and_servers_too(plain):
    _, body = raw(plain.url, faults="cut=2")
    assert body.count(b"data: ") == 2
    assert not body.endswith(b"0\r\n\r\n")


def test_the_oldest_uvicorn_that_is_supported_has_the_short_way_too():
    folder = Path(sys.prefix, "oldest")
    if not folder.exists():
        pytest.skip("make .venv/.tools installs it")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    check = (
        "import uvicorn; from unspool.sim import running; print(uvicorn.__version__, running._protocol({}) is not None)"
    )
    found = subprocess.run([sys.executable, "-c", check], env=environment, capture_output=True, text=True, check=False)
    assert found.stdout == "0.34.0 True\n", found.stderr
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not oldest", __file__]
    done = subprocess.run(tests, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


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


def test_nothing_is_written_to_a_client_that_has_gone():
    transport = Transport()
    wire = ClientConnection(transport)
    assert wire.write(b"one")
    transport.closing = True
    assert wire.write(b"two")
    assert transport.written == [b"one"]


class OneAtATime(Transport):
    """Is full after each write, until the next turn of the event loop."""

    def write(self, data):
        super().write(data)
        self.client.pause()
        asyncio.get_running_loop().call_soon(self.client.resume)


def test_frames_are_pumped_in_order_each_once_and_wait_for_a_client_that_takes_slowly():
    frames = [Frame(f"{number}", tokens=number % 3) for number in range(100)]

    async def scenario(transport, pace):
        transport.client = ClientConnection(transport)
        await PacedFrames(frames, pace.of("")).pump(transport.client, with_ids=False)
        return transport.written

    expected = b"".join(chunk(frame.encode()) for frame in frames)
    for pace in (Pace(), Pace(itl=0.001), Pace(ttft="1ms±1", itl="1ms±1")):
        together, apart = asyncio.run(scenario(Transport(), pace)), asyncio.run(scenario(OneAtATime(), pace))
        assert b"".join(together) == b"".join(apart) == expected
    assert len(asyncio.run(scenario(Transport(), Pace()))) == 7


def test_a_frame_that_cannot_be_made_ends_the_pump_with_its_error():
    def frames():
        yield Frame("one")
        raise KeyError("two")

    async def scenario():
        await PacedFrames(frames(), Pace(itl=0.001).of("")).pump(ClientConnection(Transport()), with_ids=False)

    with pytest.raises(KeyError, match="two"):
        asyncio.run(scenario())
