"""What a 200 turns out to be when it is no event stream, and what other statuses say."""

from __future__ import annotations

import json
import socket
import threading

import pytest

import unspool
from support.server import Server, sends
from support.waiting import PATIENCE
from support.wire import DONE, SSE_HEAD, head, reply

from .reading import WHOLE, finish, piece, read, told

CHAT = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}
COMPLETION = {
    "id": "c1",
    "object": "text_completion",
    "model": "m",
    "choices": [{"index": 0, "text": "Hello", "finish_reason": "stop"}],
}
RESPONSE = {
    "id": "r1",
    "object": "response",
    "status": "completed",
    "model": "m",
    "output": [
        {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]}
    ],
}
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Hi</body></html>"


@pytest.mark.parametrize(("api", "body"), [("chat", CHAT), ("completions", COMPLETION), ("responses", RESPONSE)])
def test_a_whole_answer_in_json_is_an_answer(api: str, body: object) -> None:
    ended = told(reply(200, json.dumps(body).encode()), api=api)
    assert (ended.outcome, ended.text) == ("complete", "Hello")
    assert "event: unspool.body" in ended.journal


def test_a_whole_answer_in_json_is_an_answer_though_the_connection_broke_after_it() -> None:
    body = json.dumps(CHAT).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1)
    assert told(head, body).outcome == "complete"


def test_json_that_ends_too_early_is_cut() -> None:
    ended = told(reply(200, json.dumps(CHAT).encode()[:-5]))
    assert (ended.outcome, ended.text) == ("cut", "")


def test_indented_json_that_ends_too_early_is_cut() -> None:
    assert told(reply(200, json.dumps(CHAT, indent=2).encode()[:-5])).outcome == "cut"


def test_an_error_in_a_200_is_an_error() -> None:
    ended = told(reply(200, b'{"error": {"message": "The engine is overloaded", "type": "server_error"}}'))
    assert (ended.outcome, ended.message) == ("server_error", "The engine is overloaded")


def test_json_that_is_no_answer_is_an_error() -> None:
    assert told(reply(200, b'{"status": "ok"}')).outcome == "server_error"


@pytest.mark.parametrize("label", ["text/html; charset=utf-8", "text/event-stream", "application/json", ""])
def test_a_web_page_is_unreachable_whatever_its_label(label: str) -> None:
    ended = told(reply(200, PAGE, label))
    assert ended.outcome == "unreachable"
    assert "Sign in" in ended.message
    assert "/v1" in ended.message


def test_an_empty_answer_is_cut() -> None:
    ended = told(reply(200, b"", "text/event-stream"))
    assert (ended.outcome, ended.message) == ("cut", "the server sent an empty answer")


def test_an_empty_web_page_is_unreachable() -> None:
    assert told(reply(200, b"", "text/html")).outcome == "unreachable"


def test_blank_lines_alone_are_an_empty_answer() -> None:
    assert told(SSE_HEAD, b"\n\n\r\n").message == "the server sent an empty answer"


def test_comments_alone_are_a_stream_that_was_cut() -> None:
    assert told(SSE_HEAD, b": ping\n\n: ping\n\n").outcome == "cut"


@pytest.mark.parametrize("label", ["application/json", "text/plain", "", "application/octet-stream"])
@pytest.mark.parametrize("before", [b"", b": hello\n\n", b"\xef\xbb\xbf", b"\r\n", b"retry: 10\n\n"])
def test_an_event_stream_is_one_whatever_its_label(label: str, before: bytes) -> None:
    ended = told(reply(200, before + WHOLE, label))
    assert (ended.outcome, ended.text) == ("complete", "Hello")


def test_plain_text_is_unreachable_and_quoted() -> None:
    ended = told(reply(200, b"It works!", "text/plain"))
    assert ended.outcome == "unreachable"
    assert "It works!" in ended.message


def _lines(*events: bytes) -> bytes:
    """Events as JSON lines: without any framing."""
    return b"".join(one.replace(b"data: ", b"").replace(b"\n\n", b"\n") for one in events)


@pytest.mark.parametrize("label", ["application/x-ndjson", "text/event-stream", "application/json", ""])
@pytest.mark.parametrize("end", [b"", DONE, b"\n"])
def test_json_lines_from_the_first_byte_on_are_an_event_stream(label: str, end: bytes) -> None:
    ended = told(head(200, label), _lines(piece("Hel"), piece("lo"), finish(), end))
    assert (ended.outcome, ended.text) == ("complete", "Hello")


def test_json_lines_are_read_as_they_arrive() -> None:
    with Server() as server, unspool.stream("hi", base_url=server.url, model="m", api="chat", journal=False) as answer:
        pieces = iter(answer)
        taken = threading.Thread(target=lambda: told_so_far.append(next(pieces)))
        told_so_far: list[str] = []
        taken.start()
        connection = server.accept()
        connection.send(head(200, "application/x-ndjson") + _lines(piece("Hel"), piece("lo")))
        taken.join(PATIENCE)
        assert told_so_far
        connection.send(_lines(finish()))
        connection.close()
        assert "".join([*told_so_far, *pieces]) == "Hello"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_json_lines_that_are_cut_are_cut_wherever_that_is(cut: int) -> None:
    whole = _lines(piece("Hel"), piece("lo"), finish())
    ended = told(head(200, "application/x-ndjson"), whole[: -cut - len(_lines(finish()))])
    assert ended.outcome == "cut"


def test_an_error_among_json_lines_is_an_error() -> None:
    error = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}\n'
    ended = told(head(200, "application/x-ndjson"), _lines(piece("Hel")) + error)
    assert (ended.outcome, ended.message) == ("bad_request", "too long")


def test_a_complete_body_of_broken_json_is_no_cut_answer() -> None:
    body = b'{"choices": [{"message": {"content": tru}}]}'
    ended = told(reply(200, body))
    assert (ended.outcome, "does not speak this API" in ended.message) == ("unreachable", True)


def test_another_protocol_of_json_lines_is_unreachable_and_not_cut() -> None:
    lines = b'{"model":"m","response":"Hel","done":false}\n{"model":"m","response":"lo","done":true}\n'
    assert told(reply(200, lines, "application/x-ndjson")).outcome == "unreachable"


def test_a_204_is_unreachable() -> None:
    ended = told(reply(204))
    assert ended.outcome == "unreachable"
    assert "204" in ended.message


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, "bad_request"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "bad_request"),
        (407, "unreachable"),
        (413, "bad_request"),
        (422, "bad_request"),
        (429, "rate_limited"),
        (500, "server_error"),
        (503, "server_error"),
        (599, "server_error"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [b'{"error":{"message":"no"}}', b'{"error":"no"}', b'{"detail":"no"}', b"no", b"", PAGE, b"[]", b"null", b"\xff{"],
)
def test_a_status_decides_the_outcome_whatever_the_body(status: int, outcome: str, body: bytes) -> None:
    ended = told(reply(status, body), retries=0)
    assert ended.outcome == outcome
    assert ended.message


def test_an_error_in_event_stream_clothes_is_read_by_its_status() -> None:
    body = b'event: error\ndata: {"error":{"message":"bad model"}}\n\n'
    ended = told(reply(400, body, "text/event-stream"))
    assert ended.outcome == "bad_request"
    assert "bad model" in ended.message


@pytest.mark.parametrize("banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail ESMTP\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_a_server_that_speaks_no_http_is_unreachable(banner: bytes) -> None:
    ended = told(banner)
    assert ended.outcome == "unreachable"
    assert "does not speak HTTP" in ended.message


def test_a_server_on_ipv6_is_reached() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with Server(sends(SSE_HEAD, WHOLE), family=socket.AF_INET6) as server:
        assert read(server.url).text == "Hello"
