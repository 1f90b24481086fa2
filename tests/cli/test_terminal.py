"""What reaches a terminal: everything that was said, and no instruction from a server."""

from __future__ import annotations

import json
import re

import pytest

from support.server import then_silence
from support.wire import APIS, error, event, head, piece, start, stream

# OSC 52 (clipboard), OSC 8 (link), clear screen, C1 without ESC, bidi, a lone CR, a sequence that never ends, BEL, DEL, BS.
HOSTILE = (
    "\x1b]52;c;cm0=\x07 \x1b]8;;http://x\x1b\\ \x1b[2J \x9b2J \u202eevil \rover \x07 \x7f \b \u2028 \x1b]0;never ends"
)
# What we write ourselves: the line end of the pty, and the line that is taken back.
_OURS = re.compile(rb"\r\n|\r\x1b\[K")


def _assert_harmless(output, said="over"):
    rest = _OURS.sub(b"", output).decode("utf-8")
    assert not [mark for mark in rest if ord(mark) < 0x20 or 0x7F <= ord(mark) < 0xA0 or mark in "\u202e\u2028"]
    assert said in rest


def _on_terminal(unspool, server, *arguments, api="chat"):
    return unspool.on_terminal("--base-url", server.url, "--api", api, "-m", "m", "--retries", "0", *arguments, "hi")


@pytest.mark.parametrize("api", APIS)
def test_an_answer_cannot_instruct_the_terminal(unspool, serve, api):
    terminal = _on_terminal(unspool, serve(stream(api, *HOSTILE)), api=api)
    assert terminal.code == 0
    _assert_harmless(terminal.output)
    again = unspool.on_terminal("last")
    assert again.output == terminal.output


@pytest.mark.parametrize("format", ["json", "stream-json", "sse"])
def test_no_format_can_instruct_the_terminal(unspool, serve, format):
    raw = f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'content': HOSTILE}}]}, ensure_ascii=False)}\n\n: \x1b[2J\n\n"
    terminal = _on_terminal(unspool, serve(head() + start("chat") + raw.encode()), "--format", format)
    assert terminal.code == 7
    _assert_harmless(terminal.output)


@pytest.mark.parametrize(
    "answer",
    [
        error(400, HOSTILE, HOSTILE),
        error(429, HOSTILE, retry_after="2"),
        head(418, "text/plain") + HOSTILE.encode(),
        head(500, "text/html") + f"<html><title>{HOSTILE}</title></html>".encode(),
        head() + start("chat", HOSTILE) + event({"choices": [{"index": 0, "delta": {}, "finish_reason": HOSTILE}]}),
        head() + event({"error": {"message": HOSTILE, "type": HOSTILE}}),
        head() + f"event: error\ndata: {HOSTILE}\n\n".replace("\r", "").encode(),
    ],
    ids=["error", "retry", "text", "page", "model", "error event", "not json"],
)
def test_no_message_of_a_server_can_instruct_the_terminal(unspool, serve, answer):
    terminal = _on_terminal(unspool, serve(answer), "-v", "--timeout", "3s")
    _assert_harmless(terminal.output)


def test_no_tool_call_can_instruct_the_terminal(unspool, serve):
    call = {"index": 0, "id": "c", "function": {"name": HOSTILE, "arguments": HOSTILE}}
    answer = (
        head()
        + start("chat")
        + event({"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    )
    _assert_harmless(_on_terminal(unspool, serve(answer)).output)


@pytest.mark.parametrize("host", ["over\x1b\x07", "over\x9b2J", "over\x1b[2J"])
def test_no_redirect_can_instruct_the_terminal(unspool, serve, host):
    answer = head(307, location=f"http://{host}.invalid/")
    _assert_harmless(_on_terminal(unspool, serve(answer), "-v").output, "unspool: unreachable: ")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_list_of_models_can_instruct_the_terminal(unspool, serve, arguments):
    listed = head(type="application/json") + json.dumps({"data": [{"id": HOSTILE}]}, ensure_ascii=False).encode()
    _assert_harmless(unspool.on_terminal("models", "--base-url", serve(listed).url, *arguments).output)


def test_a_terminal_shows_the_text_and_ends_the_line(unspool, serve):
    terminal = _on_terminal(unspool, serve(stream("chat", "one\ntwo ", "ünï 🙂")))
    assert terminal.lines[:3] == ["one", "two ünï 🙂", ""]
    assert terminal.output.endswith("🙂\r\n".encode())


def test_a_line_that_has_ended_is_not_ended_again(unspool, serve):
    assert _on_terminal(unspool, serve(stream("chat", "one\n"))).output == b"one\r\n"


def test_what_is_wrong_is_said_below_the_text(unspool, serve):
    terminal = _on_terminal(unspool, serve(head() + start("chat") + piece("chat", "Py")))
    assert terminal.lines[0] == "Py"
    assert terminal.lines[1].startswith("unspool: cut: the server closed the stream")


def test_ctrl_c_at_a_terminal_ends_the_line_and_says_so(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Python")))
    terminal = unspool.on_terminal("--base-url", server.url, "-m", "m", "hi", typed=[("Python", "\x03")])
    assert terminal.code == 130
    assert [line for line in terminal.lines if line][-1].startswith("unspool: cancelled; unspool show ")
    assert terminal.lines[0].startswith("Python")
    assert "unspool" not in terminal.lines[0]


def test_alone_at_a_terminal_it_asks_for_the_prompt(unspool, serve):
    server = serve(stream("completions", "ok"))
    unspool.env.update(OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k", UNSPOOL_API="completions")
    terminal = unspool.on_terminal(typed=[("type the prompt, then press Ctrl-D", "What is Python?\n\x04")])
    assert (terminal.code, server.requests[0].json["prompt"]) == (0, "What is Python?")


def test_alone_at_a_terminal_without_a_key_it_says_so_at_once(unspool):
    terminal = unspool.on_terminal()
    assert (terminal.code, b"no API key for openai" in terminal.output) == (3, True)
