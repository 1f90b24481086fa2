"""How a stream ends, as the command tells it: an exit code, and one line on stderr."""

from __future__ import annotations

import re
import socket

import pytest

from support.server import then_reset, then_silence
from support.waiting import PATIENCE
from support.wire import APIS, end, error, event, head, piece, refusal, start, stream

each_api = pytest.mark.parametrize("api", APIS)


def _ask(unspool, server, *arguments, api="chat"):
    return unspool("--base-url", server.url, "--api", api, "-m", "m-1", "--retries", "0", *arguments, "hi")


def _one_line(done):
    """The only line on stderr, without its prefix."""
    text = done.stderr.decode()
    assert text.startswith("unspool: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    return text[len("unspool: ") : -1]


@each_api
def test_a_whole_answer_is_printed_to_the_letter_without_a_word_beside_it(unspool, serve, api):
    done = _ask(unspool, serve(stream(api, "Py", "thon.")), api=api)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Python.\n", b"")


@each_api
def test_a_stream_without_its_end_is_cut_and_what_came_is_printed(unspool, serve, api):
    done = _ask(unspool, serve(head() + start(api) + piece(api, "Py")), api=api)
    assert (done.returncode, done.stdout) == (7, b"Py")
    assert _one_line(done).startswith("cut: the server closed the stream before its end; unspool resume ")


def test_a_cut_answer_can_be_resumed_though_a_web_page_came_instead_of_its_rest(unspool, serve):
    page = head(200, "text/html") + b"<html><title>Log in</title></html>"
    server = serve(head() + start("chat") + piece("chat", "Half an ans"), page, stream("chat", "Half an answer"))
    unspool("--base-url", server.url, "--api", "chat", "-m", "m", "hi")
    [cut] = unspool.journals()
    done = unspool("resume")
    assert (done.returncode, done.stdout) == (6, b"Half an ans")
    words = f"unspool: nothing arrived; the saved part is unchanged; to try again: unspool resume {cut.stem[-6:]}"
    assert done.stderr.decode().splitlines()[-1] == words
    assert unspool("resume", cut.stem[-6:]).stdout == b"Half an answer\n"


@each_api
def test_a_reset_is_cut(unspool, serve, api):
    done = _ask(unspool, serve(then_reset(head() + start(api) + piece(api, "Py"))), api=api)
    assert done.returncode == 7
    assert _one_line(done).startswith("cut: ")


@each_api
def test_the_token_limit_is_told_with_what_allows_more(unspool, serve, api):
    done = _ask(unspool, serve(stream(api, "Py", reason="length")), api=api)
    assert (done.returncode, done.stdout) == (8, b"Py\n")
    assert _one_line(done).startswith("stopped at the token limit")
    assert "--max-tokens" in _one_line(done)


@each_api
def test_the_content_filter_is_told(unspool, serve, api):
    done = _ask(unspool, serve(stream(api, "Py", reason="content_filter")), api=api)
    assert (done.returncode, done.stdout) == (9, b"Py")
    assert "content filter" in _one_line(done)


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_a_refusal_is_printed_and_complete(unspool, serve, api):
    answer = head() + start(api) + refusal(api, "I cannot.") + end(api)
    done = _ask(unspool, serve(answer), api=api)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"I cannot.\n", b"")


@each_api
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_with_how_to_give_another(unspool, serve, api, status):
    done = _ask(unspool, serve(error(status, "No such key: sk-12345678.")), "--key", "sk-12345678", api=api)
    assert done.returncode == 3
    assert _one_line(done).startswith("unauthorized: No such key: ***; to use another key, ")
    assert "unspool keys set 127.0.0.1:" in _one_line(done)


def test_without_a_key_three_ways_to_go_on_are_named(unspool):
    done = unspool("hi")
    assert done.returncode == 3
    line = _one_line(done)
    assert line.startswith("no API key for openai: ")
    assert all(way in line for way in ("OPENAI_API_KEY", "unspool keys set openai", "--sim"))
    assert unspool.journals() == []


def test_a_rate_limit_is_retried_and_then_told(unspool, serve):
    server = serve(error(429, "Slow down.", "rate_limit_exceeded", retry_after_ms="1"))
    done = unspool("--base-url", server.url, "-m", "m", "--retries", "2", "hi")
    assert (done.returncode, len(server.requests)) == (4, 3)
    assert _one_line(done) == "rate limited: Slow down; try again later, or with --retries N"


def test_a_quota_that_is_used_up_is_never_retried(unspool, serve):
    server = serve(error(429, "You exceeded your current quota.", "insufficient_quota", retry_after_ms="1"))
    done = unspool("--base-url", server.url, "-m", "m", "--retries", "5", "hi")
    assert (done.returncode, len(server.requests)) == (4, 1)
    assert "waiting does not help" in _one_line(done)


def test_a_rate_limit_that_passes_is_not_told(unspool, serve):
    server = serve(error(429, "Slow down.", retry_after_ms="1"), stream("chat", "Hello"))
    done = unspool("--base-url", server.url, "-m", "m", "hi")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello\n", b"")


def test_a_failing_server_is_tried_again_and_then_told(unspool, serve):
    server = serve(error(500, "It broke.", retry_after_ms="1"))
    done = unspool("--base-url", server.url, "-m", "m", "--retries", "1", "hi")
    assert (done.returncode, len(server.requests)) == (5, 2)
    assert re.fullmatch(r"server error: It broke; unspool resume \w{6} asks again", _one_line(done))


@each_api
def test_an_error_event_after_text_is_a_server_error(unspool, serve, api):
    broken = event({"error": {"message": "Out of memory.", "type": "server_error", "code": None}})
    done = _ask(unspool, serve(head() + start(api) + piece(api, "Py") + b"event: error\n" + broken), api=api)
    assert (done.returncode, done.stdout) == (5, b"Py")
    assert re.fullmatch(r"server error: Out of memory; unspool resume \w{6} asks again", _one_line(done))


def test_response_failed_is_a_server_error(unspool, serve):
    failed = {"id": "r1", "status": "failed", "error": {"code": "server_error", "message": "The model crashed."}}
    answer = head() + start("responses") + event({"type": "response.failed", "response": failed})
    done = _ask(unspool, serve(answer), api="responses")
    assert done.returncode == 5
    assert re.fullmatch(r"server error: The model crashed; unspool resume \w{6} asks again", _one_line(done))


def test_a_refused_connection_is_unreachable(unspool):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        done = unspool("--base-url", url, "-m", "m", "--retries", "0", "hi")
    assert done.returncode == 6
    assert _one_line(done).startswith("unreachable: cannot connect to 127.0.0.1:")
    assert _one_line(done).endswith("; check that the server runs, and the base URL")


def test_a_host_that_does_not_exist_is_unreachable(unspool):
    done = unspool("--base-url", "http://nowhere.invalid/v1", "-m", "m", "--retries", "0", "hi")
    assert done.returncode == 6
    assert _one_line(done) == "unreachable: no such host: nowhere.invalid; check the base URL"


def test_a_web_page_is_unreachable_and_the_base_url_is_suspected(unspool, serve):
    page = head(200, "text/html") + b"<!DOCTYPE html><html><title>Welcome</title></html>"
    done = _ask(unspool, serve(page))
    assert (done.returncode, done.stdout) == (6, b"")
    assert "Welcome" in _one_line(done)
    assert "base URL" in _one_line(done)


def test_silence_longer_than_the_idle_timeout_is_cut(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    done = _ask(unspool, server, "--idle-timeout", "50ms")
    assert (done.returncode, done.stdout) == (7, b"Py")
    assert _one_line(done).startswith("cut: nothing arrived for 0.05 s (idle timeout)")
    assert server.requests[0].hung_up.wait(PATIENCE)


def test_an_answer_longer_than_the_whole_timeout_is_cut(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    done = _ask(unspool, server, "--timeout", "300ms")
    assert (done.returncode, done.stdout) == (7, b"Py")
    assert "(timeout)" in _one_line(done)


def test_a_model_that_does_not_exist_is_a_bad_request(unspool, serve):
    done = _ask(unspool, serve(error(404, "The model `m-1` does not exist", "model_not_found")))
    assert done.returncode == 10
    words = re.fullmatch(
        r"bad request: The model `m-1` does not exist; unspool (models --base-url \S+) lists the server's models",
        _one_line(done),
    )
    # The command works as the hint has it.
    assert unspool(*words[1].split()).returncode != 2


@pytest.mark.parametrize(
    ("answer", "path", "words"),
    [
        (error(404, "Not Found"), "", "(most base URLs end in /v1: is it http://127.0.0.1:"),
        (head(404, "text/html") + b"<title>404</title>", "", "finds the URL that works"),
        (
            error(404, "Not Found"),
            "/v1",
            "the server may not have this endpoint: try --api responses or --api completions",
        ),
        (error(404, 'model "m-1" not found, try pulling it first'), "/v1", "unspool models --base-url"),
        (error(400, "Unrecognized request argument: stream_options"), "/v1", "-o stream_options null"),
        (error(400, "Your organization must be verified to stream this model."), "/v1", "try --no-stream"),
        (error(400, "The plain HTTP request was sent to HTTPS port"), "/v1", "try --base-url https://127.0.0.1:"),
    ],
)
def test_an_error_that_an_option_helps_against_names_it(unspool, serve, answer, path, words):
    url = serve(answer).url.removesuffix("/v1") + path
    done = unspool("--base-url", url, "--api", "chat", "-m", "m-1", "--retries", "0", "hi")
    assert done.returncode not in (0, 2)
    assert words in _one_line(done)


@each_api
def test_a_context_that_is_too_long_is_a_bad_request(unspool, serve, api):
    done = _ask(unspool, serve(error(400, "Too many tokens.", "context_length_exceeded")), api=api)
    assert (done.returncode, _one_line(done)) == (10, "bad request: Too many tokens")


def test_a_finish_reason_nobody_can_place_among_the_others_is_an_error(unspool, serve):
    done = _ask(unspool, serve(stream("chat", "Py", reason="repetition")))
    assert (done.returncode, done.stdout) == (1, b"Py")
    assert _one_line(done) == "error: the server stopped the answer: repetition"


def test_a_chat_model_asked_at_the_legacy_endpoint_is_explained(unspool, serve):
    message = "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?"
    done = _ask(unspool, serve(error(404, message, type="invalid_request_error")), api="completions")
    assert done.returncode == 10
    assert "use --api chat or --api responses" in _one_line(done)


def test_quiet_still_tells_of_a_failure(unspool, serve):
    done = _ask(unspool, serve(error(400, "No.")), "-q")
    assert (done.returncode, _one_line(done)) == (10, "bad request: No")


@pytest.mark.parametrize("format", ["text", "stream-json", "sse"])
def test_a_complete_answer_without_text_is_reported(unspool, serve, format):
    server = serve(head() + start("chat") + end("chat"))
    done = unspool("--base-url", server.url, "-m", "m", "--format", format, "hi")
    assert (done.returncode, done.stderr) == (0, b"unspool: the answer is complete but empty\n")
    thought = event({"id": "r1", "choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]})
    server = serve(head() + start("chat") + thought + end("chat"))
    done = unspool("--base-url", server.url, "-m", "m", "--format", format, "hi")
    assert b"the answer has no text, only reasoning" in done.stderr


def test_a_finish_reason_that_nobody_knows_is_reported_and_is_no_failure(unspool, serve):
    done = _ask(unspool, serve(stream("chat", "Yes.", reason="because")))
    assert (done.returncode, done.stdout) == (0, b"Yes.\n")
    assert _one_line(done).endswith("for an unknown reason: because")


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        (400, "Unknown parameter: 'stream_options'.", "-o stream_options null"),
        (422, "Unsupported fields in the request: {'store'}", "-o store null"),
        (400, "Encrypted content is not supported with this model.", "-o include null"),
        (
            400,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "-o max_completion_tokens N",
        ),
        (400, "Your organization must be verified to stream this model.", "--no-stream"),
        (407, "Proxy Authentication Required", "HTTP_PROXY=http://USER:PASSWORD@"),
        (400, "Invalid model name passed in model=x", "unspool models"),
    ],
)
def test_a_refusal_of_what_unspool_sends_names_the_option_that_helps(unspool, serve, status, said, hint):
    assert hint in _one_line(_ask(unspool, serve(error(status, said)), api="responses"))


@each_api
def test_no_hint_is_given_twice(unspool, serve, api):
    words = _one_line(_ask(unspool, serve(error(404, "Not Found")), api=api))
    assert words.count("--api chat") <= 1
    assert words.count("/v1: ") <= 1
