"""What is told and kept of an answer: tokens and times, the clipboard, one code block."""

from __future__ import annotations

import base64
import json
import os
import re

import pytest

from support.wire import APIS, error, event, head, piece, start, stream

from .watching import Watched


def _asked(server, *arguments, api="chat"):
    return ["--base-url", server.url, "--api", api, "-m", "m-0", "--retries", "0", *arguments, "hi"]


_COUNTED = {
    "prompt_tokens": 1200,
    "completion_tokens": 30,
    "total_tokens": 1230,
    "prompt_tokens_details": {"cached_tokens": 1000},
    "completion_tokens_details": {"reasoning_tokens": 6},
}


def _counted(*texts, usage=_COUNTED):
    pieces = b"".join(piece("chat", text) for text in texts)
    ended = event({"id": "r1", "model": "m-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return head() + start("chat") + pieces + ended + event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n"


# Tokens and times


@pytest.mark.parametrize("option", ["-u", "--usage"])
def test_usage_is_one_line_on_stderr(unspool, serve, option):
    done = unspool(*_asked(serve(_counted("one", "two")), option))
    assert done.stdout == b"onetwo\n"
    words = rb"unspool: m-1, 1,200 tokens in \(1,000 cached\), 30 tokens out \(6 reasoning\), \d+\.\d\d s(, [\d,.]+ tokens/s)?\n"
    assert re.fullmatch(words, done.stderr)


@pytest.mark.parametrize("api", APIS)
def test_statistics_are_a_line(unspool, serve, api):
    done = unspool(*_asked(serve(stream(api, "one", "two")), "--stats", "line", api=api))
    assert done.stderr.startswith(b"unspool: m-1, 3 tokens in, 2 tokens out, ")
    assert re.search(
        rb"; first event after [\d.]+ s, first text after [\d.]+ s, longest stall [\d.]+ s, 1 attempt, complete, \w{6}\n$",
        done.stderr,
    )
    assert done.stderr.count(b"\n") == 1


def test_statistics_are_json(unspool, serve):
    server = serve(error(503, "Busy.", retry_after_ms="1"), _counted("one", "two"))
    done = unspool(*_asked(server, "--retries", "1", "--stats", "json"))
    stats = json.loads(done.stderr)
    assert set(stats) == {
        *("type", "version", "id", "outcome", "model", "attempts", "input_tokens", "output_tokens", "cached_tokens"),
        *(
            "reasoning_tokens",
            "first_event",
            "first_reasoning",
            "first_text",
            "total",
            "pieces",
            "longest_stall",
            "rate",
        ),
        "rate_unit",
    }
    assert (stats["type"], stats["version"], stats["outcome"], stats["model"]) == ("stats", 1, "complete", "m-1")
    assert (stats["attempts"], stats["pieces"], stats["cached_tokens"], stats["reasoning_tokens"]) == (2, 2, 1000, 6)
    assert stats["first_event"] <= stats["first_text"] <= stats["total"]


def test_a_kept_answer_has_the_statistics_it_had(unspool, serve):
    live = json.loads(unspool(*_asked(serve(_counted("one", "two")), "--stats", "json")).stderr)
    for command in (["last"], ["show", live["id"]], ["attach", live["id"]], ["replay", live["id"]]):
        kept = json.loads(unspool(*command, "--stats", "json").stderr)
        assert kept == {
            **live,
            "rate": kept["rate"],
            "rate_unit": kept["rate_unit"],
            "longest_stall": kept["longest_stall"],
        }
        assert kept["longest_stall"] == pytest.approx(live["longest_stall"], abs=0.002)


def test_pieces_are_counted_where_the_server_counts_no_tokens(unspool, serve):
    done = unspool(*_asked(serve(_counted("one", "two", usage={})), "-u"))
    assert done.stderr.startswith(b"unspool: m-1, tokens not counted by the server, ")


@pytest.mark.parametrize(
    ("answer", "code", "outcome", "pieces"),
    [
        (head() + start("chat") + piece("chat", "Py"), 7, "cut", 1),
        (error(400, "No."), 10, "bad_request", 0),
        (stream("chat", "a", "b", reason="length"), 8, "length", 2),
    ],
)
def test_a_failure_has_statistics_too(unspool, serve, answer, code, outcome, pieces):
    done = unspool(*_asked(serve(answer), "-q", "--stats", "json"))
    stats = json.loads(next(line for line in done.stderr.splitlines() if line.startswith(b"{")))
    assert (done.returncode, stats["outcome"], stats["pieces"]) == (code, outcome, pieces)


def test_statistics_of_the_rest_of_an_answer_are_a_part_of_json_output_too(unspool, serve):
    server = serve(head() + start("chat") + piece("chat", "Half an ans"), _counted("Half an answer"))
    assert unspool(*_asked(server)).returncode == 7
    done = unspool("resume", "--json", "--stats", "line")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines][-2:] == ["stats", "end"]
    assert "".join(line["text"] for line in lines if line["type"] == "text") == "Half an answer"
    assert b"tokens" not in done.stderr


def test_statistics_are_a_part_of_json_output(unspool, serve):
    server = serve(_counted("one"))
    lines = [json.loads(line) for line in unspool(*_asked(server, "--json", "--stats", "line")).stdout.splitlines()]
    assert [line["type"] for line in lines][-2:] == ["stats", "end"]
    done = unspool(*_asked(server, "--format", "json", "--stats", "json"))
    whole = json.loads(done.stdout)
    assert done.stderr == b""
    assert whole["stats"]["output_tokens"] == 30
    assert "stats" not in json.loads(unspool(*_asked(server, "--format", "json")).stdout)


# The clipboard


@pytest.fixture
def tools(unspool, tmp_path):
    """Makes tools of the clipboard, which keep what they are given in a file of their name."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def make(*names, code=0):
        for name in names:
            tool = folder / name
            tool.write_text(f'#!/bin/sh\ncat > "{folder}/$(basename "$0").got"\nexit {code}\n')
            tool.chmod(0o755)
        unspool.env["PATH"] = f"{folder}:/usr/bin:/bin"
        return lambda name: (folder / f"{name}.got").read_text("utf-8")

    return make


@pytest.mark.parametrize(
    ("variable", "tool"), [("WAYLAND_DISPLAY", "wl-copy"), ("DISPLAY", "xclip"), ("DISPLAY", "xsel"), ("TMUX", "tmux")]
)
def test_the_answer_is_copied_by_the_tool_that_is_here(unspool, serve, tools, variable, tool):
    got = tools(tool)
    unspool.env[variable] = ":0"
    done = unspool(*_asked(serve(stream("chat", "ünï ", "🙂\n")), "--copy"))
    assert (done.returncode, got(tool)) == (0, "ünï 🙂\n")
    assert done.stderr.decode() == f"unspool: copied the answer, 6 characters, by {tool}\n"


def test_a_tool_that_fails_gives_way_to_the_next(unspool, serve, tools):
    tools("xclip", code=1)
    got = tools("xsel")
    unspool.env["DISPLAY"] = ":0"
    unspool(*_asked(serve(stream("chat", "one")), "--copy"))
    assert got("xsel") == "one"


@pytest.mark.parametrize("command", [["last"], ["show", "{id}"], ["attach", "{id}"], ["replay", "{id}"]])
def test_a_kept_answer_can_be_copied(unspool, serve, tools, command):
    got = tools("wl-copy")
    unspool.env["WAYLAND_DISPLAY"] = "w"
    unspool(*_asked(serve(stream("chat", "one ```\n", "```\ncode\n```\n"))))
    [path] = unspool.journals()
    unspool(*[word.format(id=path.stem) for word in command], "--copy", "-x")
    assert got("wl-copy") == "code\n"


def test_half_an_answer_is_not_copied(unspool, serve, tools, tmp_path):
    tools("wl-copy")
    unspool.env["WAYLAND_DISPLAY"] = "w"
    done = unspool(*_asked(serve(head() + start("chat") + piece("chat", "Py")), "--copy"))
    assert done.returncode == 7
    assert b"unspool: nothing was copied, because the answer is not complete" in done.stderr
    assert not list(tmp_path.rglob("*.got"))


def test_where_there_is_no_tool_the_terminal_is_given_base64(unspool, serve, tools):
    tools()
    unspool.env["TERM"] = "xterm-256color"
    hostile = "one\x1b]52;c;cm0=\x07 \x1b\\"
    watched = Watched(unspool, *_asked(serve(stream("chat", hostile)), "--copy", "--raw"))
    assert watched.end() == 0
    [data] = re.findall(rb"\x1b\]52;c;([^\x1b]*)\x1b\\", watched.output)
    assert base64.b64decode(data).decode() == hostile
    watched.close()


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": "linux"}, {"TERM": "screen"}, {"STY": "1"}])
def test_no_clipboard_is_an_error_that_says_so(unspool, serve, tools, environment):
    tools()
    unspool.env.update({"TERM": "xterm", **environment})
    watched = Watched(unspool, *_asked(serve(stream("chat", "one")), "--copy"), columns=200)
    assert watched.end() == 1
    assert b"]52;" not in watched.output
    assert watched.screen[-1].startswith("unspool: error: not copied: there is no clipboard here")
    watched.close()


def test_more_than_a_terminal_takes_is_not_sent(unspool, serve, tools):
    tools()
    unspool.env["TERM"] = "xterm-256color"
    with open(os.devnull, "wb") as nothing:
        watched = Watched(unspool, *_asked(serve(stream("chat", "x" * 60_000)), "--copy"), columns=200, stdout=nothing)
        assert watched.end() == 1
    assert b"]52;" not in watched.output
    assert b"60,000 bytes are more than a terminal takes" in watched.output
    watched.close()


# One code block

_CODE = "Try:\n\n```sh\nls -l\n```\n\nor\n\n~~~sh\nls\n~~~\n"


@pytest.mark.parametrize(("option", "code"), [("-x", b"ls -l\n"), ("--extract", b"ls -l\n"), ("--xl", b"ls\n")])
def test_one_code_block_is_printed_alone(unspool, serve, option, code):
    done = unspool(*_asked(serve(stream("chat", *_CODE)), option))
    assert (done.returncode, done.stdout, done.stderr) == (0, code, b"")
    assert unspool("last", option).stdout == code
    [path] = unspool.journals()
    for command in ("attach", "replay"):
        assert unspool(command, path.stem, option).stdout == code


@pytest.mark.parametrize("option", ["-x", "--xl"])
def test_no_code_block_is_an_error(unspool, serve, option):
    done = unspool(*_asked(serve(stream("chat", "rm -rf is dangerous")), option))
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"unspool: error: the answer has no fenced code block\n"
    assert '"outcome":"complete"' in unspool.journal()
    [path] = unspool.journals()
    for command in ("show", "attach", "replay"):
        again = unspool(command, path.stem, option)
        assert (again.returncode, again.stdout) == (1, b"")
        assert again.stderr == b"unspool: the answer has no fenced code block\n"


def test_a_cut_answer_keeps_its_own_exit_code(unspool, serve):
    answer = head() + start("chat") + piece("chat", "```\nls")
    done = unspool(*_asked(serve(answer), "-x"))
    assert (done.returncode, done.stdout) == (7, b"ls")
    assert unspool(*_asked(serve(head() + start("chat") + piece("chat", "ls")), "-x")).returncode == 7


def test_code_is_out_while_the_answer_still_comes(unspool, serve):
    server = serve(
        lambda connection: (
            connection.send(head() + start("chat") + piece("chat", "```\nls")),
            connection.wait_closed(),
        )
    )
    child = unspool.start(*_asked(server, "-x"))
    assert child.stdout.read(2) == b"ls"
    child.kill()


def test_code_cannot_instruct_the_terminal(unspool, serve):
    unspool.env["TERM"] = "xterm-256color"
    server = serve(stream("chat", "```\necho \x1b]52;c;cm0=\x07\n```\n"))
    watched = Watched(unspool, *_asked(server, "-x", "-q"))
    watched.end()
    assert watched.output == "echo ␛]52;c;cm0=␇\r\n".encode()
    watched.close()


# Standard input


@pytest.mark.parametrize(("words", "prompt"), [(["-"], "piped"), (["-", "Sum up."], "piped\n\nSum up.")])
def test_a_lone_dash_is_standard_input(unspool, serve, words, prompt):
    server = serve(stream("chat", "ok"))
    unspool("--base-url", server.url, "--api", "chat", "-m", "m", *words, input=b"piped\n")
    assert server.requests[0].json["messages"][-1]["content"] == prompt


def test_a_dash_within_words_is_one(unspool, serve):
    server = serve(stream("chat", "ok"))
    unspool("--base-url", server.url, "--api", "chat", "-m", "m", "a - b")
    assert server.requests[0].json["messages"][-1]["content"] == "a - b"
