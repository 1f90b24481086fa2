"""What iterating raises, and when."""

from __future__ import annotations

import pytest

from support.server import Server, sends
from support.wire import SSE_HEAD, error, event, reply
from unspool.api.deltas import Delta
from unspool.client import errors

from .reading import WHOLE, ask, finish, piece

CASES = [
    (sends(SSE_HEAD, piece("Hel")), errors.StreamCut),
    (sends(b"SSH-2.0-x\r\n"), errors.Unreachable),
    (sends(error(401)), errors.Unauthorized),
    (sends(error(403)), errors.Unauthorized),
    (sends(error(429)), errors.RateLimited),
    (sends(error(404)), errors.BadRequest),
    (sends(error(500)), errors.ServerError),
    (sends(SSE_HEAD, event({"error": {"message": "busy"}})), errors.ServerError),
    (sends(SSE_HEAD, piece("Hel"), finish("repetition")), errors.StreamError),
]


@pytest.mark.parametrize(("script", "kind"), CASES)
def test_each_failure_has_its_class(script: object, kind: type[errors.StreamError]) -> None:
    with (
        Server(script) as server,  # type: ignore[arg-type]
        ask(server.url, check=True) as answer,
        pytest.raises(errors.StreamError) as raised,
    ):
        list(answer)
    assert type(raised.value) is kind
    assert raised.value.outcome == answer.outcome
    assert raised.value.id == answer.id
    assert raised.value.ending is answer.ending
    assert str(raised.value)


@pytest.mark.parametrize(("script", "kind"), CASES)
def test_without_check_the_outcome_is_all_that_tells(script: object, kind: type[errors.StreamError]) -> None:
    with Server(script) as server, ask(server.url, check=False) as answer:  # type: ignore[arg-type]
        list(answer)
    assert answer.outcome not in (None, "complete")


def test_the_error_comes_after_the_last_piece() -> None:
    with Server(sends(SSE_HEAD, piece("Hel"), piece("lo"))) as server, ask(server.url, check=True) as answer:
        seen: list[str] = []
        with pytest.raises(errors.StreamCut):
            seen.extend(answer)
    assert "".join(seen) == "Hello"


def test_the_error_comes_after_the_last_delta() -> None:
    with Server(sends(SSE_HEAD, piece("Hel"))) as server, ask(server.url, check=True) as answer:
        seen: list[Delta] = []
        with pytest.raises(errors.StreamCut):
            seen.extend(answer.deltas())
    assert [delta.text for delta in seen if hasattr(delta, "text")] == ["Hel"]


def test_an_error_tells_what_the_server_said() -> None:
    body = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
    answer = reply(429, body, retry_after="7", x_request_id="req_1")
    with (
        Server(sends(answer)) as server,
        ask(server.url, check=True, retries=0) as stream,
        pytest.raises(errors.RateLimited, match="slow down") as raised,
    ):
        list(stream)
    told = raised.value
    assert (told.status, told.code, told.request_id, told.retry_after) == (429, "rate_limit_exceeded", "req_1", 7.0)


def test_an_error_in_a_stream_carries_the_request_id_of_its_head() -> None:
    head = SSE_HEAD[:-2] + b"X-Request-Id: req_2\r\n\r\n"
    script = sends(head, piece("Hel"), event({"error": {"message": "busy", "code": "overloaded"}}))
    with (
        Server(script) as server,
        ask(server.url, check=True) as answer,
        pytest.raises(errors.ServerError) as raised,
    ):
        list(answer)
    assert (raised.value.code, raised.value.request_id) == ("overloaded", "req_2")


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_an_answer_that_stops_where_it_was_told_to_is_no_error(reason: str) -> None:
    with Server(sends(SSE_HEAD, piece("Hel"), finish(reason))) as server, ask(server.url, check=True) as answer:
        assert "".join(answer) == "Hel"


def test_iterating_again_after_the_end_yields_nothing_more() -> None:
    with Server(sends(SSE_HEAD, WHOLE)) as server, ask(server.url, check=True) as answer:
        assert "".join(answer) == "Hello"
        assert list(answer) == []
        assert answer.text == "Hello"
