"""Errors in every shape: inside a stream that began well, in the body of an HTTP error, around a key."""

import json

import pytest

from unspool.api import chat, completions, failure, responses
from unspool.api.deltas import Failure, Finish

from .feeding import DONE, Decoded, chunk, created, data, ended, message, piece, typed, whole

ERROR = {"message": "Overloaded", "type": "server_error", "param": None, "code": "overloaded"}


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
@pytest.mark.parametrize(
    "event",
    [
        {"error": ERROR},
        {"error": "Overloaded"},
        {"object": "error", "message": "Overloaded", "type": "BadRequestError", "param": None, "code": 400},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"type": "error", "code": "overloaded", "message": "Overloaded", "param": None, "sequence_number": 3},
        {"error": {"message": "Overloaded"}, "error_type": "x"},
        {"error": True, "message": "Overloaded"},
        {"detail": "Overloaded"},
        {"detail": [{"msg": "Overloaded"}]},
        [{"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}],
    ],
)
def test_an_error_object_of_any_shape_inside_a_stream_is_a_failure(api, event):
    assert Decoded(api, data(event) + DONE).message == "Overloaded"


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"code":500,"details":"Guardrail broke"}', "Guardrail broke"),
        ('{"type":"error","error":{"message":"Overloaded"}}', "Overloaded"),
        ("upstream went away", "upstream went away"),
        ('"quoted"', "quoted"),
        ("{}", failure.UNEXPLAINED),
        ("[1", "[1"),
    ],
)
def test_an_event_named_error_is_a_failure_whatever_its_data(api, text, said):
    assert Decoded(api, f"event: error\ndata: {text}\n\n".encode()).message == said


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
@pytest.mark.parametrize(
    "block",
    [
        "event: ping\n\n",
        "event: ping\ndata: {}\n\n",
        'event: ping\ndata: {"type":"ping"}\n\n',
        "data:\n\n",
        "data: \n\n",
    ],
)
def test_a_sign_of_life_is_no_failure_and_no_delta(api, block):
    decoded = Decoded(api, block.encode())
    assert decoded.deltas == []
    assert decoded.decoder.failure is None


def test_a_ping_whose_data_is_not_json_is_no_failure():
    assert Decoded("chat", b"event: ping\ndata: 2026-11-22T14:00:00Z\n\n").decoder.failure is None


def test_comments_and_retry_fields_are_no_events_for_the_endpoint():
    stream = b"retry: 3000\n\n: OPENROUTER PROCESSING\n\nid: 4\n\n:\n\n" + data(chunk({"content": "x"})) + DONE
    assert Decoded("chat", stream).text() == "x"


@pytest.mark.parametrize("nothing", [None, False, "", {}, []])
def test_an_error_field_that_holds_nothing_is_no_failure(nothing):
    decoded = Decoded("chat", data(chunk({"content": "x"}, error=nothing)))
    assert decoded.decoder.failure is None
    assert decoded.text() == "x"


def test_an_error_number_is_kept_as_its_code():
    assert Decoded("chat", data({"error": {"message": "m", "code": 503}})).decoder.failure == Failure("m", code="503")


def test_an_error_that_shares_its_chunk_with_text_and_a_finish_hides_neither():
    both = chunk({"content": "last"}, "error", error={"code": 502, "message": "Provider disconnected"})
    decoded = Decoded("chat", data(chunk({"content": "x "}), both))
    assert decoded.text() == "x last"
    assert decoded.of(Finish) == [Finish("error")]
    assert decoded.message == "Provider disconnected"


def test_an_error_on_a_choice_is_a_failure():
    event = chunk({}, "error")
    event["choices"][0]["error"] = {"code": 502, "message": "Provider disconnected"}
    assert Decoded("chat", data(event)).message == "Provider disconnected"


def test_text_after_an_error_is_still_decoded():
    assert Decoded("chat", data(chunk({"content": "a"}), {"error": ERROR}, chunk({"content": "b"}))).text() == "ab"


# Events that are not JSON


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
@pytest.mark.parametrize(
    "broken", ['{"choices":[{"delta"', "Internal Server Error", '{"a":1}data: {"b":2}', "[[" * 5000]
)
def test_an_event_that_is_not_json_is_a_failure_and_what_follows_is_decoded(api, broken):
    after = {"chat": chunk({"content": "y"}), "completions": {"choices": [{"text": "y"}]}, "responses": piece("y")}[api]
    decoded = Decoded(api, data(broken, after))
    assert decoded.decoder.failure.type == "malformed_event"
    assert decoded.text() == "y"


def test_an_error_of_the_server_outranks_an_event_that_is_not_json():
    for values in (("{", {"error": ERROR}), ({"error": ERROR}, "{")):
        assert Decoded("chat", data(*values)).message == "Overloaded"


def test_an_event_that_was_framed_twice_is_decoded():
    assert Decoded("chat", b"data: " + data(chunk({"content": "x"}))).text() == "x"


# Responses: errors and terminal events


def flat(text="Shed", **more):
    return {"type": "error", "code": "overloaded", "message": text, "param": None, **more}


def nested(text="Shed"):
    return {"type": "error", "error": {"type": "server_error", "code": "overloaded", "message": text, "param": None}}


@pytest.mark.parametrize("event", [flat(), nested()])
def test_an_error_event_does_not_end_the_stream_but_stands_if_nothing_follows(event):
    decoded = Decoded("responses", typed(created(), piece("x"), event))
    assert not decoded.decoder.done
    assert (decoded.message, decoded.decoder.failure.code) == ("Shed", "overloaded")


def test_a_failed_response_does_not_hide_what_the_error_event_said():
    stream = typed(
        created(), {"type": "keepalive"}, nested(), ended("failed", error={"code": "server_error", "message": "?"})
    )
    assert Decoded("responses", stream).message == "Shed"


def test_a_failed_response_explains_an_error_event_that_said_nothing():
    stream = typed(
        created(), {"type": "error"}, ended("failed", error={"code": "server_error", "message": "Out of memory"})
    )
    decoded = Decoded("responses", stream)
    assert (decoded.message, decoded.decoder.failure.code) == ("Out of memory", "server_error")


def test_a_completed_response_overrules_an_error_event_before_it():
    decoded = Decoded("responses", typed(created(), flat(), piece("x"), ended(output=[message("x")])))
    assert decoded.decoder.failure is None
    assert decoded.of(Finish) == [Finish("stop")]


def test_a_completed_response_overrules_an_unreadable_event_only_if_no_text_is_missing():
    lost = typed(created(), piece("a")) + data('{"type":"response.outp') + typed(piece("c"))
    assert Decoded("responses", lost + typed(ended(output=[message("abc")]))).decoder.failure.type == "malformed_event"
    assert Decoded("responses", lost + typed(ended(output=[message("ac")]))).decoder.failure is None


def test_an_unreadable_last_piece_is_healed_by_the_whole_text():
    stream = typed(created(), piece("a")) + data("{") + typed(whole("ab"), ended(output=[message("ab")]))
    decoded = Decoded("responses", stream)
    assert decoded.text() == "ab"
    assert decoded.decoder.failure is None


def test_a_done_mark_does_not_overrule_an_error_event():
    assert Decoded("responses", typed(created(), flat()) + DONE).message == "Shed"


def test_an_error_frame_of_the_websocket_mode_is_understood():
    frame = {"type": "error", "status": 400, "error": {"code": "previous_response_not_found", "message": "Gone"}}
    assert Decoded("responses", data(frame)).decoder.failure == Failure("Gone", code="previous_response_not_found")


# Bodies that came in place of a stream


@pytest.mark.parametrize("endpoint", [chat, completions, responses])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": ERROR}, "Overloaded"),
        ({"detail": "Not Found"}, "Not Found"),
        ([{"error": {"message": "Bad"}}], "Bad"),
    ],
)
def test_an_error_in_place_of_an_answer_is_a_failure(endpoint, body, said):
    decoder = endpoint.Decoder()
    assert decoder.decode_body(body) + decoder.close() == []
    assert decoder.failure.message == said


@pytest.mark.parametrize("body", [None, 1, "text", [], {}, {"object": "list", "data": []}])
def test_a_body_that_is_no_answer_is_a_failure(body):
    decoder = chat.Decoder()
    assert decoder.decode_body(body) == []
    assert decoder.failure.type == "unrecognised_body"


# HTTP errors


def failed(body, status=400, now=None, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure.from_response(status, names, raw, now=now)


def test_the_documented_error_body_keeps_all_four_fields_and_the_status():
    error = {"message": "Unknown model", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}
    got = failed({"error": error}, 404, x_request_id="req_1")
    assert got == Failure("Unknown model", 404, "invalid_request_error", "model_not_found", "model", "req_1")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"object": "error", "message": "Bad"}, "Bad"),
        ({"object": "error", "message": {"detail": [{"loc": ["body", "n"], "msg": "too big"}]}}, "body.n: too big"),
        ({"detail": "Not Found"}, "Not Found"),
        (
            {"detail": [{"loc": ["body", "messages", 0], "msg": "Field required", "type": "missing"}]},
            "body.messages.0: Field required",
        ),
        ({"message": "no Route matched"}, "no Route matched"),
        ({"msg": "odd"}, "odd"),
        ([{"error": {"code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT"}}], "API key not valid"),
        ("just a string", "just a string"),
        (b"upstream connect error", "upstream connect error"),
        (b"two\r\n  lines\n", "two lines"),
        (b"", "HTTP 400 Bad Request"),
        ({}, "HTTP 400 Bad Request"),
        (None, "HTTP 400 Bad Request"),
        ({"odd": 1}, 'HTTP 400 Bad Request: {"odd": 1}'),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_an_error_body_of_any_shape_has_a_message_in_one_line(body, said):
    assert failed(body).message == said


def test_a_web_page_is_named_as_one_with_its_title():
    page = b"<!DOCTYPE html>\n<html><head><title>502 Bad\n Gateway &amp; co</title></head><body>nginx</body></html>"
    message = failed(page, 502, content_type="text/html").message
    assert "web page" in message
    assert '"502 Bad Gateway & co"' in message
    assert "nginx" not in message


def test_a_web_page_without_a_title_is_still_named_as_one():
    assert "web page" in failed(b"<html><body>no</body></html>", 404).message


def test_a_status_nobody_knows_still_has_a_message():
    assert failed(b"", 599).message == "HTTP 599"


def test_a_message_of_megabytes_is_shortened():
    assert len(failed(b"x" * 5_000_000).message) == 1000
    assert len(failed({"error": {"message": "x" * 5_000_000}}).message) == 1000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "2"}, 2.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "300"}, 0.3),
        ({"retry_after_ms": "300", "retry_after": "1"}, 0.3),
        ({"retry_after_ms": "soon", "retry_after": "1"}, 1.0),
        ({"retry_after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 37.0),
        ({"retry_after": "Sun, 06 Nov 1994 08:48:00 GMT"}, 0.0),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "tomorrow"}, None),
        ({"retry_after": ""}, None),
        ({}, None),
    ],
)
def test_the_wait_asked_for_is_read_in_seconds(headers, seconds):
    assert failed(b"", 429, now=784111740.0, **headers).retry_after == seconds


def test_an_error_status_whose_body_is_an_event_stream_gives_the_events_error():
    body = b'data: {"error": {"message": "no such deployment", "type": "x", "param": null, "code": "500"}}\n\ndata: [DONE]\n\n'
    told = failure.from_response(500, {"content-type": "text/event-stream"}, body)
    assert (told.message, told.type, told.code) == ("no such deployment", "x", "500")
    assert failure.from_response(500, {}, b"event: error\ndata: busy").message == "busy"


def test_the_explicit_word_on_retrying_is_kept():
    words = {"true": True, "False": False, "maybe": None}
    assert {word: failed(b"", 500, x_should_retry=word).should_retry for word in words} == words
    assert failed(b"", 500).should_retry is None
