"""Append before deliver, and no secret ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.server import Connection, Server, sends
from support.wire import SSE_HEAD, error, event, reply
from unspool.api.deltas import Text
from unspool.journal.writer import Writer

from .reading import KEY, WHOLE, aask, ask, finish, piece, read, told

TEAM = "team-secret-value"


def test_an_event_is_in_the_file_before_it_is_delivered(tmp_path: Path) -> None:
    script = sends(SSE_HEAD, *(piece(f"word{number} ") for number in range(100)), finish())
    with Server(script) as server, ask(server.url, journal=Writer(str(tmp_path / "streams"))) as answer:
        file = tmp_path / "streams" / f"{answer.id}.sse"
        for delta in answer.deltas():
            if type(delta) is Text:
                assert delta.text in file.read_text()
    assert file.read_text().count("\nat: ") == 101
    assert '"outcome":"complete"' in file.read_text()


async def test_an_event_is_in_the_file_before_it_is_delivered_in_asyncio(tmp_path: Path) -> None:
    script = sends(SSE_HEAD, *(piece(f"word{number} ") for number in range(100)), finish())
    with Server(script) as server:
        async with aask(server.url, journal=Writer(str(tmp_path / "streams"))) as answer:
            file = tmp_path / "streams" / f"{answer.id}.sse"
            async for text in answer:
                assert text in file.read_text()
    assert file.read_text().count("\nat: ") == 101


def test_a_whole_answer_is_in_the_file_before_it_is_delivered(tmp_path: Path) -> None:
    body = {"id": "c1", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
    with (
        Server(sends(reply(200, json.dumps(body).encode()))) as server,
        ask(server.url, journal=Writer(str(tmp_path / "streams"))) as answer,
    ):
        for text in answer:
            assert text in (tmp_path / "streams" / f"{answer.id}.sse").read_text()


def test_what_arrived_before_a_limit_is_in_the_journal() -> None:
    def script(connection: Connection) -> None:
        connection.send(SSE_HEAD, piece("Hel"))
        connection.wait_closed()

    with Server(script) as server:
        ended = read(server.url, idle=0.1)
    assert '"content": "Hel"' in ended.journal
    assert '"outcome":"cut"' in ended.journal


ECHO = f"Incorrect API key provided: {KEY} of {TEAM}."


@pytest.mark.parametrize(
    "answer",
    [
        error(401, ECHO),
        error(401, "no", code=KEY, type=KEY, param=KEY),
        error(503, ECHO),
        reply(401, ECHO.encode(), "text/plain"),
        reply(401, f"<html><title>{ECHO}</title></html>".encode(), "text/html"),
        reply(401, b"no", x_request_id=KEY, cf_ray=KEY, server=KEY),
        reply(429, b"no", x_ratelimit_limit_requests=KEY, retry_after=KEY),
        reply(200, ECHO.encode(), "text/plain"),
        reply(200, f"<html><title>{ECHO}</title></html>".encode(), "text/html", x_request_id=KEY),
        reply(200, json.dumps({"error": {"message": ECHO, "code": KEY}}).encode()),
        reply(302, location=f"http://{KEY}@127.0.0.1:9/{KEY}?{KEY}"),
        reply(302, location=f"ftp://{KEY}/"),
    ],
)
def test_a_key_that_the_server_echoes_is_not_in_the_journal_nor_in_the_message(answer: bytes) -> None:
    ended = told(answer, retries=1, headers={"X-Team": TEAM})
    assert ended.outcome != "complete"
    for secret in (KEY, TEAM):
        assert secret not in ended.journal
        assert secret not in ended.message
        assert secret not in repr(ended.ending)


def test_a_key_that_the_server_echoes_in_the_head_of_a_stream_is_not_in_the_journal() -> None:
    ended = told(reply(200, WHOLE, "text/event-stream", x_request_id=KEY, x_ratelimit_reset_tokens=KEY))
    assert ended.outcome == "complete"
    assert KEY not in ended.journal


def test_an_error_event_is_kept_exactly_but_the_end_repeats_no_key() -> None:
    ended = told(SSE_HEAD, piece("Hel"), event({"error": {"message": ECHO, "code": "invalid_api_key"}}))
    assert KEY not in ended.message
    stream, _, end = ended.journal.partition("event: unspool.end")
    assert KEY in stream
    assert KEY not in end


def test_a_key_in_the_text_of_an_answer_is_content() -> None:
    ended = told(SSE_HEAD, piece(f"Your key is {KEY}"), finish())
    assert ended.text.endswith(KEY)
    assert KEY in ended.journal


def test_neither_key_nor_headers_nor_query_are_in_the_request_record() -> None:
    ended = told(SSE_HEAD, WHOLE, headers={"X-Team": TEAM}, auth="api-key")
    assert KEY not in ended.journal
    assert TEAM not in ended.journal


def test_a_key_that_json_writes_otherwise_is_not_in_the_journal_either() -> None:
    key = 'sk-"quoted"-0123456789'
    ended = told(error(401, f"Incorrect API key: {key}"), key=key)
    assert "0123456789" not in ended.journal + ended.message


def test_the_prompt_is_kept_as_it_was_sent_even_with_a_key_in_it() -> None:
    # What continues the conversation asks what was asked.
    with Server(sends(SSE_HEAD, WHOLE)) as server:
        ended = read(server.url, prompt={"system": f"My key is {KEY}"})
        assert KEY in server.requests[0].body.decode()
    assert f"My key is {KEY}" in ended.journal
