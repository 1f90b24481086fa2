"""Time that is moved by hand, over real sockets: ten minutes pass at once, and only then."""

import json
import re
import socket
from urllib.parse import urlsplit

import pytest

from support.waiting import PATIENCE
from unspool.sim.clock import VirtualClock
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

ASK = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "a story in 10 tokens"}]})


class Stream:
    """One stream, read event by event, with nothing between the test and the socket."""

    def __init__(self, url, faults=""):
        address = urlsplit(url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Unspool-Fault: {faults}\r\nContent-Length: {len(ASK)}\r\n\r\n"
        self.socket.sendall((head + ASK).encode())
        self.received = b""
        self.read = 0

    def events(self, count):
        """The next so many events, waited for."""
        while len(found := self._found()) < self.read + count:
            arrived = self.socket.recv(65536)
            assert arrived, "the stream has ended"
            self.received += arrived
        self.read += count
        return found[self.read - count : self.read]

    def has_more(self):
        """Whether there are further events. What was sent over loopback is here at once, so none are waited for."""
        self.socket.setblocking(False)
        try:
            while arrived := self.socket.recv(65536):
                self.received += arrived
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(PATIENCE)
        return len(self._found()) > self.read

    def _found(self):
        return re.findall(rb"^data: (.*)\n\n", self.received, re.MULTILINE)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def stream(clock):
    """Starts a simulator and asks it once; it has the request when this returns."""
    running, streams = [], []

    def start(faults="", **settings):
        simulator = Simulator(SimulatorSettings(clock=clock, **settings))
        simulator.start()
        running.append(simulator)
        streams.append(Stream(simulator.url, faults))
        while not simulator.requests:
            pass
        return streams[-1]

    yield start
    for each in streams:
        each.socket.close()
    for simulator in running:
        simulator.stop()


def test_ten_minutes_to_the_first_token_pass_when_the_clock_is_moved_and_not_before(stream, clock):
    asked = stream(ttft=600)
    asked.events(1)  # the role, which the model need not compute
    clock.advance(599)
    assert not asked.has_more()
    clock.advance(1)
    assert b'"content"' in asked.events(1)[0]


def test_a_stall_of_an_hour_ends_when_the_clock_says_so(stream, clock):
    asked = stream("stall=5,3600s")
    asked.events(5)
    clock.advance(3599)
    assert not asked.has_more()
    clock.advance(1)
    assert asked.events(8)[-1] == b"[DONE]"


def test_each_token_comes_at_its_own_time(stream, clock):
    asked = stream(ttft=10, itl=5)
    clock.advance(10)
    asked.events(2)  # the role and the first token
    for _ in range(3):
        clock.advance(4)
        assert not asked.has_more()
        clock.advance(1)
        asked.events(1)


def test_everything_due_in_a_long_advance_has_been_sent_when_it_returns(stream, clock):
    asked = stream(ttft=10, itl=5)
    clock.advance(3600)
    assert asked.events(13)[-1] == b"[DONE]"


def test_slow_headers_wait_for_the_clock(stream, clock):
    asked = stream("slow-headers=600s")
    clock.advance(599.5)
    assert not asked.has_more()
    clock.advance(0.5)
    asked.events(1)


def test_all_streams_share_the_tokens_of_a_second(stream, clock):
    asked = stream(total_tps=2)
    clock.advance(2.5)
    assert b"".join(asked.events(6)).count(b'"content"') == 6  # the role, and five tokens
    assert not asked.has_more()
    clock.advance(0.5)
    asked.events(1)


def test_the_unix_time_moves_with_it(stream, clock):
    before = clock()
    clock.advance(86_400)
    assert clock() == before + 86_400
    assert json.loads(stream().events(1)[0])["created"] == int(before) + 86_400


def test_a_clock_does_not_go_back(clock):
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(-1)


def test_a_client_that_hangs_up_is_not_waited_for(stream, clock):
    asked = stream(ttft=600)
    asked.socket.close()
    clock.advance(1200)
    assert clock.now() == 1200


def test_a_simulator_that_has_stopped_does_not_hold_the_clock(clock):
    with Simulator(SimulatorSettings(clock=clock)) as simulator:
        asked = Stream(simulator.url)
        asked.events(1)
        asked.socket.close()
    clock.advance(60)
    assert clock.now() == 60
