"""Markdown on a terminal, and the exact text everywhere else."""

from __future__ import annotations

import re

import pytest

from support.server import then_silence
from support.wire import APIS, end, head, piece, start, stream

_TEXT = "# Title\n\nSome **bold** words and `code`.\n\n- one\n- two\n"
_PIECES = [_TEXT[at : at + 5] for at in range(0, len(_TEXT), 5)]
_SHOWN = ["Title", "", "Some bold words and code.", "", "• one", "• two"]


def _asked(server, *arguments, api="chat"):
    return ["--base-url", server.url, "--api", api, "-m", "m", "--retries", "0", *arguments, "hi"]


def _shown(terminal):
    return "\n".join(terminal.lines).rstrip("\n").split("\n")


@pytest.fixture
def unspool(unspool):
    unspool.env["TERM"] = "xterm-256color"
    return unspool


@pytest.mark.parametrize("api", APIS)
def test_a_terminal_shows_markdown(unspool, serve, api):
    terminal = unspool.on_terminal(*_asked(serve(stream(api, *_PIECES)), api=api))
    assert terminal.code == 0
    assert _shown(terminal) == _SHOWN
    assert b"\x1b[1" in terminal.output


@pytest.mark.parametrize("command", [["last"], ["attach", "{id}"], ["show", "{id}"], ["resume", "{id}"]])
def test_a_kept_answer_looks_the_same_again(unspool, serve, command):
    unspool.on_terminal(*_asked(serve(stream("chat", *_PIECES))))
    [path] = unspool.journals()
    terminal = unspool.on_terminal(*[word.format(id=path.stem) for word in command], "-q")
    assert terminal.code == 0
    assert _shown(terminal) == _SHOWN


@pytest.mark.parametrize("arguments", [["--raw"], ["-r"]])
def test_raw_is_the_text_as_it_is(unspool, serve, arguments):
    terminal = unspool.on_terminal(*_asked(serve(stream("chat", *_PIECES)), *arguments, "-q"))
    assert terminal.output == _TEXT.replace("\n", "\r\n").encode()


def test_a_dumb_terminal_gets_the_text(unspool, serve):
    unspool.env["TERM"] = "dumb"
    terminal = unspool.on_terminal(*_asked(serve(stream("chat", *_PIECES))))
    assert terminal.output == _TEXT.replace("\n", "\r\n").encode()


def test_a_pipe_gets_the_exact_text(unspool, serve):
    assert unspool(*_asked(serve(stream("chat", *_PIECES)))).stdout == _TEXT.encode()


def test_the_renderer_is_not_imported_for_a_pipe(unspool, serve):
    unspool.env["PYTHONPROFILEIMPORTTIME"] = "1"
    done = unspool(*_asked(serve(stream("chat", *_PIECES))))
    imported = set(re.findall(rb"\| +([\w.]+)\n", done.stderr))
    assert b"unspool.terminal.output" in imported
    assert not imported & {
        b"pyromark",
        b"unspool.terminal.markdown.document",
        b"unspool.terminal.page",
        b"unspool.terminal.abilities",
    }


def test_a_pipe_can_be_given_markdown(unspool, serve):
    server = serve(stream("chat", *_PIECES))
    assert unspool(*_asked(server, "--markdown")).stdout.decode().splitlines() == _SHOWN


@pytest.mark.parametrize(
    ("arguments", "environment", "coloured"),
    [
        (["--color", "always"], {}, True),
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--color", "never"], {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_can_be_forced_into_a_pipe(unspool, serve, arguments, environment, coloured):
    unspool.env.update(environment)
    output = unspool(*_asked(serve(stream("chat", *_PIECES)), *arguments)).stdout
    assert output.startswith(b"\x1b[1;4;95mTitle") is coloured
    assert (output == _TEXT.encode()) is not coloured
    assert not re.search(rb"\x1b\[[\d?]*[A-Za-ln-z]", output)


def test_no_color_leaves_bold(unspool, serve):
    unspool.env["NO_COLOR"] = "1"
    output = unspool.on_terminal(*_asked(serve(stream("chat", *_PIECES)))).output
    assert set(re.findall(rb"\x1b\[([\d;]+)m", output)) == {b"1;4", b"1", b"0"}


def test_all_choices_are_shown(unspool, serve):
    answer = head() + start("chat") + piece("chat", "**a**") + piece("chat", "**b**", 1) + end("chat", choices=2)
    terminal = unspool.on_terminal(*_asked(serve(answer)))
    assert [line for line in _shown(terminal) if line and "─" not in line] == ["a", "choice 2", "b"]


def test_a_line_is_shown_before_it_ends_and_ctrl_c_leaves_it_there(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "# Title\n\nHalf of a **li")))
    terminal = unspool.on_terminal(*_asked(server), typed=[("Half of a ", "\x03")])
    assert terminal.code == 130
    shown = _shown(terminal)
    assert shown[:2] == ["Title", ""]
    assert shown[2].startswith("Half of a ")
    assert shown[-1].startswith("unspool: cancelled")


def test_a_cut_answer_is_told_below_what_is_shown_of_it(unspool, serve):
    terminal = unspool.on_terminal(*_asked(serve(head() + start("chat") + piece("chat", "- one\n- tw"))))
    assert terminal.code == 7
    assert _shown(terminal)[:2] == ["• one", "• tw"]
    assert _shown(terminal)[2].startswith("unspool: cut: ")
