"""When a request is sent again, and after how long."""

from __future__ import annotations

import socket
import time
from email.utils import formatdate

import pytest

from support.server import Connection, Script, Server, sends
from support.wire import SSE_HEAD, error, reply
from unspool.api.deltas import Failure
from unspool.client import limits, retry
from unspool.client.http.transport import Transfer
from unspool.outcome import CUT, UNREACHABLE, Fault

from .reading import WHOLE, ask, piece, read


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_a_status_that_may_pass_is_tried_again(status: int) -> None:
    with Server(sends(error(status)), sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).text == "Hello"
        first, second = server.requests
    assert first.body == second.body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
def test_a_status_that_will_not_pass_is_not_tried_again(status: int) -> None:
    with Server(sends(error(status))) as server:
        read(server.url)
        assert len(server.requests) == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_there_is_one_attempt_more_than_retries(retries: int) -> None:
    with Server(sends(error(503, "busy"))) as server:
        ended = read(server.url, retries=retries)
        assert len(server.requests) == retries + 1
    assert (ended.outcome, ended.message) == ("server_error", "busy")
    assert ended.journal.count("event: unspool.attempt") == retries
    if retries:
        assert '"attempt":2' in ended.journal
        assert '"reason":"busy"' in ended.journal


def test_two_retries_are_made_by_default() -> None:
    assert limits.DEFAULT_RETRIES == 2


def test_a_refused_connection_is_tried_again_and_then_unreachable() -> None:
    ended = read(f"http://127.0.0.1:{free_port()}/v1")
    assert ended.outcome == "unreachable"
    assert "cannot connect to 127.0.0.1:" in ended.message
    assert ended.message.endswith("Connection refused; check that the server runs, and the base URL")
    assert ended.journal.count("event: unspool.attempt") == 2


@pytest.mark.parametrize("end", [lambda connection: None, Connection.reset, sends(b"HTTP/1.1 200 OK\r\nA:")])
def test_a_connection_that_ends_before_the_head_is_tried_again(end: Script) -> None:
    with Server(end, sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).outcome == "complete"
        assert len(server.requests) == 2


def test_an_answer_that_was_cut_after_one_event_is_never_asked_for_again() -> None:
    with Server(sends(SSE_HEAD, piece("Hel"))) as server:
        assert read(server.url, retries=5).outcome == "cut"
        assert len(server.requests) == 1


def test_an_answer_that_was_reset_after_its_head_is_not_asked_for_again() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD)
        connection.reset()

    with Server(script) as server:
        assert read(server.url).outcome == "cut"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("code", "outcome", "requests"), [(503, "server_error", 3), (429, "rate_limited", 3), (400, "bad_request", 1)]
)
def test_an_error_event_first_in_the_stream_is_retried_as_its_status_would_be(
    code: int, outcome: str, requests: int
) -> None:
    event = b'data: {"error":{"message":"busy","code":%d}}\n\n' % code
    with Server(sends(SSE_HEAD, event)) as server:
        assert read(server.url).outcome == outcome
        assert len(server.requests) == requests


def test_an_error_event_after_a_token_is_not_asked_for_again() -> None:
    text = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    with Server(sends(SSE_HEAD, text, b'data: {"error":{"message":"busy","code":503}}\n\n')) as server:
        assert read(server.url).outcome == "server_error"
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    ],
)
@pytest.mark.parametrize("field", ["code", "type"])
def test_a_quota_that_is_used_up_is_not_asked_again(code: str, field: str) -> None:
    with Server(sends(error(429, "used up", **{field: code}))) as server:
        assert read(server.url).outcome == "rate_limited"
        assert len(server.requests) == 1


def test_the_server_may_forbid_a_retry() -> None:
    with Server(sends(reply(503, b"no", x_should_retry="false"))) as server:
        read(server.url)
        assert len(server.requests) == 1


def test_the_server_may_ask_for_a_retry() -> None:
    again = reply(400, b"no", x_should_retry="true", retry_after_ms="1")
    with Server(sends(again), sends(SSE_HEAD, WHOLE)) as server:
        assert read(server.url).outcome == "complete"


def test_a_wait_of_over_two_minutes_is_left_to_the_person_at_once() -> None:
    with Server(sends(reply(429, b'{"error":{"message":"slow down"}}', retry_after="121"))) as server:
        ended = read(server.url)
        assert len(server.requests) == 1
    assert ended.outcome == "rate_limited"
    assert "121 s" in ended.message
    assert ended.ending.failure is not None
    assert ended.ending.failure.retry_after == 121


@pytest.mark.parametrize(
    "headers",
    [{"retry_after": "1"}, {"retry_after_ms": "1000"}, {"retry_after": "1", "retry_after_ms": "1000"}],
)
def test_the_server_says_how_long_to_wait(headers: dict[str, str]) -> None:
    with Server(sends(reply(429, b"slow", **headers))) as server, ask(server.url) as answer:
        while answer.retry_at is None:
            answer.step()
        assert 0.5 < answer.retry_at - time.monotonic() <= 1.0


def test_the_server_may_name_the_time_to_come_back() -> None:
    date = formatdate(time.time() + 60, usegmt=True)
    with Server(sends(reply(503, b"slow", retry_after=date))) as server, ask(server.url) as answer:
        while answer.retry_at is None:
            answer.step()
        assert 50 < answer.retry_at - time.monotonic() <= 60


def test_waits_double_from_half_a_second_to_eight_less_a_quarter_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.5)
    for attempt, most in [(2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0), (6, 8.0), (7, 8.0), (1000, 8.0)]:
        waits = [retry.wait_before(attempt, Failure("x", status=503), None) for _ in range(200)]
        assert all(wait is not None and most * 0.75 <= wait <= most for wait in waits)
        assert len(set(waits)) > 10


@pytest.mark.parametrize(("asked", "waited"), [(0.001, 0.001), (5, 5), (120, 120), (120.5, None)])
def test_a_wait_that_is_asked_for_is_kept_to_up_to_two_minutes(asked: float, waited: float | None) -> None:
    assert retry.wait_before(2, Failure("x", status=429, retry_after=asked), None) == waited


def test_a_wait_of_nothing_is_the_usual_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_WAIT", 0.5)
    wait = retry.wait_before(2, Failure("x", status=429, retry_after=0), None)
    assert wait is not None
    assert wait >= 0.375


def test_a_fault_is_tried_again_only_when_it_says_so() -> None:
    assert retry.wait_before(2, None, Fault(UNREACHABLE, "x", True)) is not None
    assert retry.wait_before(2, None, Fault(CUT, "x")) is None
    assert retry.wait_before(2, None, None) is None


def test_each_attempt_is_a_new_transfer() -> None:
    seen: list[Transfer | None] = []
    with Server(sends(error(503))) as server, ask(server.url) as answer:
        while answer.ending is None:
            answer.step()
            if answer._transfer not in seen:
                seen.append(answer._transfer)
    assert len(seen) == 3
