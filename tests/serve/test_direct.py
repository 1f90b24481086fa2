"""Reading upstream past libcurl gives what libcurl gives, however the bytes arrive."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.waiting import PATIENCE
from unspool.config.target import Target
from unspool.serve import direct
from unspool.serve.direct import ChunkReader, NotHTTP
from unspool.serve.loop import run
from unspool.serve.upstream import Call, Upstream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
EVENTS = [b'data: {"a": %d}\n\n' % number for number in range(5)]
CHUNKS = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in EVENTS)


def frame(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(one), extension, one) for one in pieces)
    return b"%b0\r\n%b\r\n" % (body, trailer)


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.sampled_from([b"", b";x=y", b" "]),
    st.sampled_from([b"", b"X-T: 1\r\n"]),
    st.data(),
)
def test_chunks_are_undone_however_the_bytes_are_cut(
    pieces: list[bytes], extension: bytes, trailer: bytes, data: st.DataObject
) -> None:
    wire = frame(pieces, extension, trailer)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = ChunkReader()
    found = b""
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        if start < end:
            assert not reader.ended
            found += reader.feed(wire[start:end])
    assert found == b"".join(pieces)
    assert reader.ended


@pytest.mark.parametrize("wire", [b"x\r\n", b"-1\r\n", b"2\r\nabcd", b"\r\n\r\n", b"9" * 5000, b"f" * 16 + b"\r\n"])
def test_what_is_no_chunk_is_refused(wire: bytes) -> None:
    reader = ChunkReader()
    with pytest.raises(NotHTTP):
        reader.feed(wire)


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that answers each connection's requests with a function, until that closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=converse, args=(connection,), daemon=True).start()

        def converse(connection: socket.socket) -> None:
            with connection:
                while b"\r\n\r\n" in connection.recv(1 << 16):
                    try:
                        answer(connection)
                    except OSError:
                        return

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


def sends(*pieces: bytes, close: bool = False) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)
        if close:
            connection.shutdown(socket.SHUT_RDWR)

    return answer


def asked(url: str, *, direct: bool, runner: Callable[[Coroutine[Any, Any, Any]], Any] = run) -> tuple[object, ...]:
    """Status, content type, body and the fault's outcome of one GET."""

    async def ask() -> tuple[object, ...]:
        upstream = Upstream(Target("x", url, "chat", needs_key=False), use_proxy=False)
        upstream.open()
        if not direct:
            upstream._direct = None
        call = upstream.call("GET", upstream.url("/x"), {}, None)
        pieces: list[bytes] = []
        async with asyncio.timeout(PATIENCE):
            if await call.head():
                await call.pour(lambda data: bool(pieces.append(data)))
        call.leave()
        found = call.status, call.headers.get("content-type"), b"".join(pieces), call.fault and call.fault.outcome
        await asyncio.sleep(0)
        call.stop()
        upstream.close()
        return found

    result: tuple[object, ...] = runner(ask())
    return result


ANSWERS = {
    "a chunk each": (CHUNKED, CHUNKS, b"0\r\n\r\n"),
    "at once": (CHUNKED + CHUNKS + b"0\r\n\r\n",),
    "a byte each": tuple(bytes([one]) for one in CHUNKED + frame(EVENTS)),
    "an interim response": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", CHUNKED + frame(EVENTS)),
    "with its length": (HEAD + b"Content-Length: 4\r\n\r\n", b"data"),
    "until it closes": (HEAD + b"\r\n", *EVENTS, b"close"),
    "cut in a chunk": (CHUNKED, CHUNKS, b"5\r\nab", b"close"),
    "cut between chunks": (CHUNKED, CHUNKS, b"close"),
    "cut in its length": (HEAD + b"Content-Length: 9\r\n\r\nabc", b"close"),
    "no answer": (b"close",),
    "compressed unasked": (
        HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        frame([gzip.compress(b"".join(EVENTS))]),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_read_directly_is_the_one_that_libcurl_reads(name: str) -> None:
    pieces = [one for one in ANSWERS[name] if one != b"close"]
    with server(sends(*pieces, close=ANSWERS[name][-1] == b"close")) as url:
        expected = asked(url, direct=False)
        assert asked(url, direct=True) == expected
        # In a plain asyncio loop, as a program that embeds the gateway has it.
        assert asked(url, direct=True, runner=asyncio.run) == expected


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    assert asked(url, direct=True) == asked(url, direct=False) == (0, None, b"", "unreachable")


def test_connections_are_used_again_and_a_closed_one_is_replaced() -> None:
    seen: list[int] = []

    def answer(connection: socket.socket) -> None:
        seen.append(connection.getpeername()[1])
        connection.sendall(CHUNKED + frame(EVENTS))
        if len(seen) == 2:
            connection.shutdown(socket.SHUT_RDWR)

    async def ask(url: str) -> None:
        upstream = Upstream(Target("x", url, "chat", needs_key=False), use_proxy=False)
        upstream.open()
        for _ in range(3):
            call: Call = upstream.call("POST", upstream.url("/x"), {}, b"{}")
            async with asyncio.timeout(PATIENCE):
                assert await call.head()
                await call.pour(lambda data: False)
            call.leave()
        upstream.close()

    with server(answer) as url:
        run(ask(url))
    # The third request may have reached the closing connection before it was sent again on a new one.
    assert seen[0] == seen[1] != seen[-1]


@pytest.mark.parametrize("leaves_first", [True, False])
def test_a_connection_whose_answer_nobody_wants_is_closed_with_the_others(
    leaves_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "_LINGER", 3600.0)
    closed = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(CHUNKED + CHUNKS)
        if connection.recv(1) == b"":
            closed.set()

    async def ask(url: str) -> None:
        upstream = Upstream(Target("upstream", url, "chat"), use_proxy=False)
        upstream.open()
        call = upstream.call("GET", upstream.url("/x"), {}, None)
        async with asyncio.timeout(PATIENCE):
            assert await call.head()
        for step in (call.leave, upstream.close) if leaves_first else (upstream.close, call.leave):
            step()
        assert await asyncio.to_thread(closed.wait, PATIENCE)

    with server(answer) as url:
        run(ask(url))
