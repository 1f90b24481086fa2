"""Reasoning that a server sends in ``<think>…</think>`` is no part of the answer, wherever that goes."""

from __future__ import annotations

import json

import pytest

from support.wire import APIS, end, head, piece, start, stream

_PIECES = ("<th", "ink>\nLet me ", "see.\n</thi", 'nk>\n\n```json\n{"a": 1}', "\n```\n")
_THOUGHT, _SAID = "Let me see.\n", '```json\n{"a": 1}\n```\n'


def _asked(server, api="chat"):
    return ["--base-url", server.url, "--api", api, "-m", "m", "hi"]


@pytest.mark.parametrize("api", APIS)
def test_a_pipe_gets_the_answer_without_the_reasoning(unspool, serve, api):
    server = serve(stream(api, *_PIECES))
    assert unspool(*_asked(server, api)).stdout.decode() == _SAID
    assert unspool("last").stdout.decode() == _SAID
    [path] = unspool.journals()
    assert "<th" in path.read_text()
    done = unspool("last", "--json")
    deltas = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(one["text"] for one in deltas if one["type"] == "reasoning") == _THOUGHT


def test_extracted_code_and_objects_have_none_of_it(unspool, serve):
    server = serve(stream("chat", *_PIECES))
    assert unspool(*_asked(server), "-x").stdout.decode() == '{"a": 1}\n'
    server = serve(stream("chat", "<think>{}</think>", '{"a": 1}'))
    done = unspool(*_asked(server), "--schema", "a int")
    assert (done.returncode, done.stdout) == (0, b'{"a": 1}\n')


def test_a_tag_that_is_never_closed_is_text_in_the_end(unspool, serve):
    server = serve(head() + start("chat") + piece("chat", "<think>All of ") + piece("chat", "it") + end("chat"))
    assert unspool(*_asked(server)).stdout == b"<think>All of it\n"
    assert unspool("last").stdout == b"<think>All of it\n"


def test_the_configuration_can_leave_the_text_as_it_is(unspool, serve):
    folder = unspool.home / "config" / "unspool"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("think_tags = false\n")
    server = serve(stream("chat", *_PIECES))
    assert unspool(*_asked(server)).stdout.decode() == "".join(_PIECES)
    assert unspool("last").stdout.decode() == "".join(_PIECES)


def test_an_answer_in_one_piece_is_read_alike(unspool, serve):
    message = {"index": 0, "message": {"content": "".join(_PIECES)}, "finish_reason": "stop"}
    body = json.dumps({"id": "r1", "model": "m-1", "choices": [message]}).encode()
    server = serve(head(type="application/json") + body)
    assert unspool(*_asked(server)).stdout.decode() == _SAID
