"""HTTP/2 over TLS, and how its streams break."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable

import pytest

from support.server import Connection, Server
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, DONE, LAST_CHUNK, chunk

from .reading import WHOLE, ask, finish, piece, read

h2_connection = pytest.importorskip("h2.connection")
h2_config = pytest.importorskip("h2.config")
h2_events = pytest.importorskip("h2.events")
h2_errors = pytest.importorskip("h2.errors")

pytestmark = pytest.mark.usefixtures("trusted")


class Stream:
    """One stream of an HTTP/2 connection, seen from the server."""

    def __init__(self, connection: Connection) -> None:
        self._sock = connection.socket
        self.h2 = h2_connection.H2Connection(h2_config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        self.flush()
        self.id = 0
        self.events: list[object] = []

    def wait_for(self, kind: type) -> bool:
        """Read until an event of this kind has come; False when the connection closes first."""
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    self.events.remove(event)
                    self.id = getattr(event, "stream_id", 0) or self.id
                    return True
            data = self._sock.recv(65536)
            if not data:
                return False
            self.events += self.h2.receive_data(data)
            self.flush()

    def head(self, status: str = "200") -> None:
        self.h2.send_headers(self.id, [(":status", status), ("content-type", "text/event-stream")])
        self.flush()

    def send(self, data: bytes, end: bool = False) -> None:
        self.h2.send_data(self.id, data, end_stream=end)
        self.flush()

    def flush(self) -> None:
        self._sock.sendall(self.h2.data_to_send())


def serving(tls: ssl.SSLContext, *scripts: Callable[[Stream], object]) -> Server:
    tls.set_alpn_protocols(["h2", "http/1.1"])

    def run(script: Callable[[Stream], object]) -> Callable[[Connection], object]:
        def each(connection: Connection) -> None:
            stream = Stream(connection)
            if stream.wait_for(h2_events.StreamEnded):
                script(stream)

        return each

    return Server(*map(run, scripts), tls=tls, raw=True)


def whole(stream: Stream) -> None:
    stream.head()
    stream.send(WHOLE, end=True)
    stream.wait_for(h2_events.ConnectionTerminated)


@pytest.fixture
def h2_tls(authority: object) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)  # type: ignore[attr-defined]
    return context


def test_http_2_is_spoken_where_the_server_offers_it(h2_tls: ssl.SSLContext) -> None:
    with serving(h2_tls, whole) as server:
        ended = read(server.url)
    assert (ended.outcome, ended.text) == ("complete", "Hello")
    assert '"http":"2"' in ended.journal


def test_a_stream_that_ends_without_its_end_mark_is_cut(h2_tls: ssl.SSLContext) -> None:
    def script(stream: Stream) -> None:
        stream.head()
        stream.send(piece("Hel"), end=True)
        stream.wait_for(h2_events.ConnectionTerminated)

    with serving(h2_tls, script) as server:
        ended = read(server.url)
    assert (ended.outcome, ended.text) == ("cut", "Hel")


def breaking(stop: Callable[[Stream], object]) -> Callable[[Stream], object]:
    """The script that breaks a stream once its first event was taken."""

    def script(stream: Stream) -> None:
        stream.head()
        stream.send(piece("Hel"))
        # The ping's answer shows that what was sent before it has been read.
        stream.h2.ping(b"12345678")
        stream.flush()
        stream.wait_for(h2_events.PingAckReceived)
        stop(stream)
        stream.flush()
        stream.wait_for(h2_events.ConnectionTerminated)

    return script


@pytest.mark.parametrize(
    "stop",
    [
        lambda stream: stream.h2.reset_stream(stream.id, h2_errors.ErrorCodes.INTERNAL_ERROR),
        lambda stream: stream.h2.reset_stream(stream.id, h2_errors.ErrorCodes.NO_ERROR),
        lambda stream: stream._sock.sendall(b"\0\0\0\x03\0\0\0\0\x01"),  # a frame of the wrong size
    ],
    ids=["RST_STREAM", "RST_STREAM without an error", "a broken frame"],
)
def test_a_stream_that_is_reset_is_cut(stop: Callable[[Stream], object], h2_tls: ssl.SSLContext) -> None:
    with serving(h2_tls, breaking(stop)) as server:
        ended = read(server.url)
        assert server.connections == 1
    assert (ended.outcome, ended.text) == ("cut", "Hel")
    assert ended.message


def test_a_connection_that_goes_away_in_the_middle_is_cut(h2_tls: ssl.SSLContext) -> None:
    def script(stream: Stream) -> None:
        stream.head()
        stream.send(piece("Hel"))
        stream.h2.close_connection(last_stream_id=0)
        stream.flush()

    with serving(h2_tls, script) as server:
        ended = read(server.url)
        assert server.connections == 1
    assert (ended.outcome, ended.text) == ("cut", "Hel")


def test_a_stream_that_is_refused_before_its_head_is_tried_again(h2_tls: ssl.SSLContext) -> None:
    def script(stream: Stream) -> None:
        stream.h2.close_connection(h2_errors.ErrorCodes.ENHANCE_YOUR_CALM, last_stream_id=0)
        stream.flush()

    with serving(h2_tls, script, whole) as server:
        assert read(server.url).outcome == "complete"
        assert server.connections == 2


def test_cancelling_tells_the_server(h2_tls: ssl.SSLContext) -> None:
    def script(stream: Stream) -> None:
        stream.head()
        stream.send(piece("Hel"))
        told.append(stream.wait_for(h2_events.StreamReset) or "closed")

    told: list[object] = []
    with serving(h2_tls, script) as server:
        with ask(server.url) as answer:
            assert next(iter(answer)) == "Hel"
        server._threads[-1].join(PATIENCE)
        assert told


FORKING = """
import gc, os, sys, unspool
way, url = sys.argv[1:]
client = unspool.Client(base_url=url, model="m", key="x", api="chat")
assert client.stream("one").read() == "Hello"  # its connection is kept
answer = client.stream("two")
pieces = iter(answer)
text = next(pieces)
pid = os.fork()
if pid == 0:
    if way == "exit":
        sys.exit()
    if way == "close":
        answer.close()
        client.close()
    del answer, pieces, client
    gc.collect()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
text += "".join(pieces)
assert (text, answer.outcome) == ("Hello", "complete"), text
assert client.stream("three").read() == "Hello"
"""


@pytest.mark.parametrize("way", ["exit", "close", "collect"])
@pytest.mark.parametrize("version", ["HTTP/2", "HTTP/1.1"])
def test_a_forked_child_does_not_end_its_parents_tls_connection(
    version: str, way: str, h2_tls: ssl.SSLContext, tls: ssl.SSLContext
) -> None:
    def two(stream: Stream) -> None:
        while True:
            stream.head()
            stream.send(piece("Hel"))
            stream.send(piece("lo") + finish() + DONE, end=True)
            if not stream.wait_for(h2_events.StreamEnded):
                return

    def one(connection: Connection) -> None:
        while True:
            connection.send(CHUNKED_HEAD, chunk(piece("Hel")))
            connection.send(chunk(piece("lo") + finish() + DONE), LAST_CHUNK)
            if not connection.read_request():
                return

    with serving(h2_tls, two) if version == "HTTP/2" else Server(one, tls=tls) as server:
        command = [sys.executable, "-c", FORKING, way, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stderr) == (0, "")
        assert server.connections <= 2
