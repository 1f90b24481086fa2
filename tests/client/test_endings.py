"""How a body ends, and what that makes of the answer."""

from __future__ import annotations

import gzip
import threading
import zlib

import pytest

from support.server import Connection, Server
from support.waiting import PATIENCE
from support.wire import CHUNKED_HEAD, DONE, LAST_CHUNK, SSE_HEAD, chunk
from unspool.client.http import Request
from unspool.client.http.transport import Transfer

from .reading import WHOLE, Ended, ask, finish, piece, read, told


def with_length(body: bytes, length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (length, body)


def encoded(coding: bytes) -> bytes:
    return SSE_HEAD[:-2] + b"Content-Encoding: " + coding + b"\r\n\r\n"


def test_a_body_that_closes_without_an_end_is_cut() -> None:
    ended = told(SSE_HEAD, piece("Hel"))
    assert (ended.outcome, ended.text) == ("cut", "Hel")


def test_a_body_that_closes_after_the_end_mark_is_complete() -> None:
    assert told(SSE_HEAD, WHOLE).outcome == "complete"


def test_a_finish_reason_is_an_end_without_the_end_mark() -> None:
    assert told(SSE_HEAD, piece("Hel"), finish()).outcome == "complete"


def test_an_end_mark_alone_is_an_end_without_a_finish_reason() -> None:
    assert told(SSE_HEAD, piece("Hel"), DONE).outcome == "complete"


@pytest.mark.parametrize(
    "parts",
    [
        [b'error: {"code":400,"message":"too long"}\n\n'],
        [b'error: {"code":400,"message":"too long"}\n\n', DONE],
        [piece("Hel"), b'error: {"code":400,"message":"too long"}\n\n', DONE],
        [piece("Hel"), b'{"error":{"code":400,"message":"too long"}}\n\n'],
    ],
)
def test_an_error_that_is_no_event_is_still_read(parts: list[bytes]) -> None:
    ended = told(SSE_HEAD, *parts)
    assert (ended.outcome, ended.message) == ("bad_request", "too long")


def test_objects_without_blank_lines_between_are_all_read() -> None:
    body = (piece("Hel") + piece("lo") + finish() + DONE).replace(b"\n\n", b"\n")
    ended = told(SSE_HEAD, body)
    assert (ended.outcome, ended.text) == ("complete", "Hello")


def test_a_body_shorter_than_its_content_length_is_cut() -> None:
    body = piece("Hel")
    ended = told(with_length(body, len(body) + 10))
    assert (ended.outcome, ended.text) == ("cut", "Hel")
    assert "middle of the answer" in ended.message


def test_a_whole_answer_is_complete_though_its_content_length_promised_more() -> None:
    assert told(with_length(WHOLE, len(WHOLE) + 10)).outcome == "complete"


@pytest.mark.parametrize("rest", [b"", b"4", b"40\r\n", b"40\r\ndata: {"])
def test_a_chunked_body_without_its_last_chunk_is_cut(rest: bytes) -> None:
    ended = told(CHUNKED_HEAD, chunk(piece("Hel")), rest)
    assert (ended.outcome, ended.text) == ("cut", "Hel")


def test_a_chunked_body_with_its_last_chunk_but_no_end_is_cut() -> None:
    assert told(CHUNKED_HEAD, chunk(piece("Hel")), LAST_CHUNK).outcome == "cut"


def test_an_end_mark_makes_a_chunked_body_complete_without_its_last_chunk() -> None:
    assert told(CHUNKED_HEAD, chunk(WHOLE)).outcome == "complete"


def test_a_chunk_that_is_none_cuts_the_stream() -> None:
    assert told(CHUNKED_HEAD, chunk(piece("Hel")), b"no hexadecimal number\r\n").outcome == "cut"


def after_reading(*parts: bytes) -> Ended:
    """What comes of a server that resets the connection once its bytes were taken."""

    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, *parts)
        taken.wait(PATIENCE)  # a reset overtakes what was not read yet
        connection.reset()

    taken = threading.Event()
    with Server(script) as server, ask(server.url) as answer:
        while len(answer.text) < 3:
            answer.step()
        taken.set()
        return Ended(answer)


def test_a_reset_before_the_finish_reason_is_cut() -> None:
    ended = after_reading(piece("Hel"))
    assert ended.outcome == "cut"
    assert "reset" in ended.message


def test_a_reset_after_the_finish_reason_leaves_the_answer_complete() -> None:
    assert after_reading(piece("Hel") + finish()).outcome == "complete"


def test_a_limit_declared_before_a_reset_is_still_the_limit() -> None:
    assert after_reading(piece("Hel") + finish("length")).outcome == "length"


def test_the_last_event_counts_without_its_blank_line_when_it_is_whole() -> None:
    ended = told(SSE_HEAD, piece("Hel"), finish().rstrip())
    assert ended.outcome == "complete"
    assert '"finish_reason": "stop"}' in ended.journal


def test_the_end_mark_counts_without_its_blank_line() -> None:
    assert told(SSE_HEAD, piece("Hel"), DONE.rstrip()).outcome == "complete"


def test_a_last_event_that_is_half_is_dropped_and_the_stream_cut() -> None:
    ended = told(SSE_HEAD, piece("Hel"), piece("lo")[:-10])
    assert (ended.outcome, ended.text) == ("cut", "Hel")
    assert ended.journal.count("\nat: ") == 1


def test_a_last_event_without_its_blank_line_counts_also_when_the_server_falls_silent() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"), finish().rstrip())
        connection.wait_closed()

    with Server(script) as server:
        assert read(server.url, idle=0.1).outcome == "complete"


@pytest.mark.parametrize(("coding", "bits"), [(b"gzip", 31), (b"deflate", 15), (b"deflate", -15)])
def test_a_compressed_event_arrives_before_the_stream_ends(coding: bytes, bits: int) -> None:
    def script(connection: Connection) -> None:
        packer = zlib.compressobj(wbits=bits)
        connection.send(encoded(coding))
        connection.send(packer.compress(piece("Hel")) + packer.flush(zlib.Z_SYNC_FLUSH))
        assert arrived.wait(PATIENCE)
        connection.send(packer.compress(finish() + DONE) + packer.flush())

    arrived = threading.Event()
    with Server(script) as server, ask(server.url) as answer:
        texts = []
        for text in answer:
            texts.append(text)
            arrived.set()
    assert (answer.outcome, texts) == ("complete", ["Hel"])


def test_a_truncated_gzip_stream_is_cut() -> None:
    packed = gzip.compress(piece("Hel") * 50 + finish())
    assert told(encoded(b"gzip"), packed[:-20]).outcome == "cut"


def test_a_truncated_gzip_stream_in_whole_chunks_is_cut() -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(piece("Hel")) + packer.flush(zlib.Z_SYNC_FLUSH)
    head = CHUNKED_HEAD[:-2] + b"Content-Encoding: gzip\r\n\r\n"
    ended = told(head, chunk(packed), LAST_CHUNK)
    assert (ended.outcome, ended.text) == ("cut", "Hel")


def test_damaged_compression_is_cut() -> None:
    ended = told(encoded(b"gzip"), b"this is no gzip stream at all")
    assert ended.outcome == "cut"


def test_no_compression_is_asked_for() -> None:
    with Server(lambda connection: connection.send(SSE_HEAD, WHOLE)) as server:
        read(server.url)
        assert server.requests[0].headers["accept-encoding"] == "identity"


def test_trailers_after_the_last_chunk_do_not_change_the_answer() -> None:
    assert told(CHUNKED_HEAD, chunk(WHOLE), b"0\r\nHTTP/1.1 500 No\r\nX-Sum: 1\r\n\r\n").outcome == "complete"


def test_interim_heads_are_not_taken_for_the_answer() -> None:
    ended = told(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", SSE_HEAD, WHOLE)
    assert ended.outcome == "complete"
    assert '"status":200' in ended.journal
    assert "link" not in ended.journal


def test_the_answer_of_an_http_1_0_server_is_read() -> None:
    assert told(b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", WHOLE).text == "Hello"


def test_an_error_body_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def script(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 400 Bad\r\nContent-Type: text/plain\r\n\r\nThis will not do. ")
        while True:
            connection.send(b"x" * 65536)

    with Server(script) as server:
        ended = read(server.url)
    assert ended.outcome == "bad_request"
    assert ended.message.startswith("This will not do.")


def test_a_transfer_that_was_never_driven_has_no_status() -> None:
    transfer = Transfer(Request("GET", "http://127.0.0.1:9/", {}))
    assert (transfer.status, transfer.take(), transfer.over) == (0, b"", False)
    transfer.finish(0, "")
