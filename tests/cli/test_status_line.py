"""What a person sees around an answer: what is waited for, progress, and the model's reasoning."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading

import pytest

from support.wire import end, error, event, head, piece, start, stream
from unspool.terminal import progress
from unspool.terminal.sequences import OURS

from .watching import Watched


@pytest.fixture
def unspool(unspool):
    unspool.env["TERM"] = "xterm-256color"
    return unspool


@pytest.fixture
def watch(unspool):
    watched = []

    def begin(server, *arguments, api="chat", **options):
        command = ["--base-url", server.url, "--api", api, "-m", "m-0", *arguments, "hi"]
        watched.append(Watched(unspool, *command, **options))
        return watched[-1]

    yield begin
    for one in watched:
        one.close()


class FaultMiddleware:
    """An answer in parts, each of which is sent when the test says `go`."""

    def __init__(self, *parts):
        self._parts = parts
        self._may = threading.Semaphore(0)

    def __call__(self, connection):
        for part in self._parts:
            # Some tests end without it, and then nobody waits for the rest.
            while not self._may.acquire(timeout=0.05):
                if connection.is_gone():
                    return
            connection.send(part)

    def go(self):
        self._may.release()


def thought(text, **fields):
    return event({"id": "r1", "model": "m-1", "choices": [{"index": 0, "delta": {"reasoning_content": text}}]})


def _answer(*texts):
    return head() + start("chat") + b"".join(piece("chat", text) for text in texts) + end("chat")


def _line(watched):
    """The line that is shown now, as it was written."""
    return re.split(rb"\r\x1b\[[KJ]", watched.output)[-1].decode()


# The line


def test_the_wait_is_told_and_gone_before_the_answer(watch, serve):
    gate = FaultMiddleware(_answer("one\ntwo"))
    watched = watch(serve(gate), "--raw").until("waiting for the first token of m-0")
    assert watched.screen[0].endswith(" s  waiting for the first token of m-0")
    gate.go()
    assert watched.end() == 0
    assert watched.screen == ["one", "two"]
    assert watched.output.rpartition(b"one")[0].endswith(b"\r\x1b[K")


def test_the_seconds_go_on(watch, serve):
    gate = FaultMiddleware(_answer("ok"))
    watched = watch(serve(gate)).until("s  waiting").until("2 s  waiting")
    gate.go()
    watched.end()
    assert watched.screen == ["ok"]


def test_a_pipe_gets_the_answer_and_the_terminal_the_wait(watch, serve):
    gate = FaultMiddleware(_answer("one"))
    watched = watch(serve(gate), stdout=subprocess.PIPE).until("waiting for the first token")
    gate.go()
    assert watched.child.stdout.read() == b"one\n"
    assert watched.end() == 0
    assert watched.screen == [""]


@pytest.mark.parametrize("format", ["stream-json", "json", "sse"])
def test_no_json_shares_its_row_with_the_wait(watch, serve, format):
    gate = FaultMiddleware(_answer("one"))
    watched = watch(serve(gate), "--format", format).until("waiting for the ")
    gate.go()
    assert watched.end() == 0
    assert watched.screen[0][0] == ("d" if format == "sse" else "{")
    assert "waiting" not in "".join(watched.screen)


def _told(unspool, serve, watch, *arguments):
    """What the terminal shows of a wait that a retry makes long."""
    server = serve(error(429, "Slow.", retry_after="1"), stream("chat", "ok"))
    watched = watch(server, *arguments)
    assert watched.end() == 0
    return watched.output


def test_quiet_is_quiet(unspool, serve, watch):
    assert _told(unspool, serve, watch, "-q", "--raw") == b"ok\r\n"


def test_a_dumb_terminal_is_told_nothing_that_would_have_to_be_taken_back(unspool, serve, watch):
    unspool.env["TERM"] = "dumb"
    output = _told(unspool, serve, watch)
    assert output.replace(b"unspool: trying again in 1 s: Slow.\r\n", b"") == b"ok\r\n"


def test_where_stderr_is_no_terminal_there_is_no_line(unspool, serve):
    server = serve(error(429, "Slow.", retry_after="1"), stream("chat", "ok"))
    assert unspool("--base-url", server.url, "-m", "m", "hi").stderr == b""


def test_without_utf8_the_line_is_ascii(unspool, serve, watch):
    unspool.env["LANG"] = "C"
    gate = FaultMiddleware(_answer("ok"))
    watched = watch(serve(gate), "-m", "modèle").until("first token of mod?le")
    assert watched.output.isascii()
    gate.go()
    watched.end()


def test_no_color_leaves_the_line_without_colour(unspool, serve, watch):
    unspool.env["NO_COLOR"] = "1"
    gate = FaultMiddleware(_answer("ok"))
    watched = watch(serve(gate)).until("first token")
    assert b"m" not in {part[-1:] for part in re.findall(rb"\x1b\[[\d;]*.", watched.output)}
    gate.go()
    watched.end()


@pytest.mark.parametrize("columns", [30, 12, 5, 1])
def test_the_line_is_never_wider_than_the_window(serve, watch, columns):
    gate = FaultMiddleware(_answer("ok"))
    watched = (
        watch(serve(gate), "-m", "a model of wide 模型名 letters", "--raw", columns=columns)
        .until("\r\x1b[K")
        .until("\r\x1b[K")
    )
    gate.go()
    watched.end()
    assert watched.screen[0] == ("ok" if columns > 1 else "o")


def test_a_window_that_becomes_narrower_keeps_nothing_of_the_line(serve, watch):
    gate = FaultMiddleware(_answer("ok"))
    watched = watch(serve(gate)).until("waiting for the first token of m-0")
    watched.resize(20)
    watched.until("\x1b[J").until("wait")
    gate.go()
    watched.end()
    assert watched.screen == ["ok"]


def test_no_model_name_can_instruct_the_terminal(serve, watch):
    gate = FaultMiddleware(
        head() + start("chat", model="\x1b]52;c;cm0=\x07\x9b2J\u202e"), piece("chat", "ok") + end("chat")
    )
    watched = watch(serve(gate)).until("first token of m-0")
    gate.go()
    watched.until("first token of ␛]52;c;cm0=␇")
    gate.go()
    watched.end()
    assert not [mark for mark in OURS.sub("", watched.output.decode()) if ord(mark) < 0x20 and mark not in "\r\n"]


def test_connecting_is_told_apart(unspool, watch):
    import socket

    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        others = []
        for _ in range(4):  # a queue that is full: further connections hang
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(full.getsockname())
            others.append(other)
        port = full.getsockname()[1]
        watched = Watched(unspool, "--base-url", f"http://127.0.0.1:{port}/v1", "-m", "m", "hi")
        watched.until(f"connecting to 127.0.0.1:{port}").type("\x03")
        assert watched.end() == 130
        watched.close()
        for other in others:
            other.close()


def test_a_retry_is_counted_down(serve, watch):
    watched = watch(serve(error(429, "Slow down.", retry_after="2"), stream("chat", "ok")))
    watched.until("trying again in 2 s: Slow down.").until("trying again in 1 s")
    assert watched.end() == 0
    assert watched.screen == ["ok"]


def test_ctrl_c_takes_the_line_away_before_it_is_said(serve, watch):
    watched = watch(serve(FaultMiddleware(b""))).until("waiting for the first token")
    watched.type("\x03")
    assert watched.end() == 130
    assert watched.screen[0].startswith("unspool: cancelled; unspool show ")
    assert "waiting" not in "".join(watched.screen)


def test_a_stopped_command_leaves_no_line_and_goes_on_when_it_is_continued(serve, watch):
    gate = FaultMiddleware(_answer("ok"))
    # A group that has a parent elsewhere in its session: others cannot be stopped.
    watched = watch(serve(gate), prepare=lambda: os.setpgid(0, 0)).until("waiting for the first token")
    watched.send(signal.SIGTSTP)
    _, status = os.waitpid(watched.child.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    watched.until("\r\x1b[K")
    watched.send(signal.SIGCONT)
    watched.until("waiting for the first token")
    gate.go()
    assert watched.end() == 0
    assert watched.screen == ["ok"]


def test_an_answer_that_is_taken_up_again_keeps_what_is_shown_of_it(serve, watch):
    place = {"item_id": "i1", "output_index": 0, "content_index": 0}

    def numbered(number, type, **fields):
        return event({"type": type, "sequence_number": number, **fields})

    response = {"id": "r1", "model": "m-1", "status": "in_progress", "background": True}
    first = head() + numbered(0, "response.created", response=response)
    first += numbered(1, "response.output_text.delta", **place, delta="one two")
    rest = numbered(2, "response.output_text.delta", **place, delta=" three")
    rest += numbered(3, "response.completed", response={**response, "status": "completed", "output": []})
    gate = FaultMiddleware(head() + rest)
    watched = watch(serve(first, gate), "--background", api="responses").until("one two").until("resuming the response")
    assert watched.screen[0] == "one two"
    assert "resuming the response" in watched.screen[1]
    gate.go()
    assert watched.end() == 0
    assert watched.screen == ["one two three"]


# Progress


@pytest.fixture
def tabbed(unspool):
    unspool.env["WT_SESSION"] = "1"
    return unspool


def _bars(watched):
    return re.findall(r"\x1b\]9;4;[^\x1b]*\x1b\\", watched.output.decode())


def test_the_tab_shows_progress_while_the_answer_is_awaited(tabbed, serve, watch):
    gate = FaultMiddleware(_answer("Yes"))
    watched = watch(serve(gate)).until(progress.WORKING)
    gate.go()
    watched.end()
    assert _bars(watched) == [progress.WORKING, progress.NONE]
    assert watched.output.index(progress.NONE.encode()) < watched.output.index(b"Yes")


def test_the_tab_shows_that_a_retry_is_waited_for(tabbed, serve, watch):
    watched = watch(serve(error(429, "Slow.", retry_after="1"), stream("chat", "ok")))
    watched.end()
    assert progress.TROUBLED in _bars(watched)
    assert _bars(watched)[-1] == progress.NONE


def test_ctrl_c_clears_the_tab(tabbed, serve, watch):
    watched = watch(serve(FaultMiddleware(b""))).until(progress.WORKING)
    watched.type("\x03")
    watched.end()
    assert _bars(watched)[-1] == progress.NONE


@pytest.mark.parametrize("environment", [{"TMUX": "x"}, {"TERM": "screen-256color"}, {"WT_SESSION": ""}, {"STY": "1"}])
def test_elsewhere_there_is_no_progress(tabbed, serve, watch, environment):
    tabbed.env.update(environment)
    gate = FaultMiddleware(_answer("ok"))
    watched = watch(serve(gate)).until("first token")
    gate.go()
    watched.end()
    assert _bars(watched) == []


# Reasoning


def test_reasoning_is_shown_dim_above_the_answer(serve, watch):
    answer = head() + start("chat") + thought("Let me ") + thought("think.") + piece("chat", "# Yes") + end("chat")
    watched = watch(serve(answer))
    assert watched.end() == 0
    assert watched.screen == ["Let me think.", "", "Yes"]
    assert b"\x1b[2mLet me \x1b[0m" in watched.output or b"\x1b[2mLet me think." in watched.output


def test_reasoning_never_reaches_stdout(serve, watch):
    answer = head() + start("chat") + thought("Hm.\n") + piece("chat", "Yes") + end("chat")
    watched = watch(serve(answer), stdout=subprocess.PIPE)
    assert watched.child.stdout.read() == b"Yes\n"
    watched.end()
    assert watched.screen == ["Hm."]


def test_hidden_reasoning_is_thinking_and_is_kept(unspool, serve, watch):
    gate = FaultMiddleware(head() + start("chat") + thought("Hm."), piece("chat", "Yes") + end("chat"))
    watched = watch(serve(gate), "-R").until("first token")
    gate.go()
    watched.until("m-1 is thinking")
    gate.go()
    watched.end()
    assert watched.screen == ["Yes"]
    assert "Hm." not in watched.output.decode()
    assert "Hm." in unspool.journal()


def test_reasoning_between_two_pieces_leaves_the_answer_whole(serve, watch):
    gate = FaultMiddleware(
        head() + start("chat") + piece("chat", "- one\n- two and"),
        thought("Is it?"),
        piece("chat", " a half\n") + end("chat"),
    )
    watched = watch(serve(gate))
    gate.go()
    watched.until("two and")
    gate.go()
    watched.until("Is it?")
    gate.go()
    assert watched.end() == 0
    assert watched.screen == ["Is it?", "", "• one", "• two and a half"]


def test_raw_text_and_reasoning_do_not_share_a_row(serve, watch):
    answer = head() + start("chat") + piece("chat", "one") + thought("Hm.") + piece("chat", "two") + end("chat")
    watched = watch(serve(answer), "--raw")
    watched.end()
    assert watched.screen == ["one", "Hm.", "", "two"]


def test_parts_of_a_summary_stand_apart(serve, watch):
    def part(number, text):
        place = {"item_id": "rs", "output_index": 0, "summary_index": number}
        return event({"type": "response.reasoning_summary_text.delta", **place, "delta": text})

    answer = (
        head()
        + start("responses")
        + part(0, "First.")
        + part(1, "Second.")
        + piece("responses", "Yes")
        + end("responses")
    )
    watched = watch(serve(answer), api="responses")
    watched.end()
    assert watched.screen == ["First.", "", "Second.", "", "Yes"]


def test_no_reasoning_can_instruct_the_terminal(serve, watch):
    hostile = "\x1b]52;c;cm0=\x07 \x1b[2J \x9b2J \u202eevil \rover \b \u2028 \x1b]0;never ends"
    watched = watch(serve(head() + start("chat") + thought(hostile) + piece("chat", "ok") + end("chat")))
    watched.end()
    rest = OURS.sub("", watched.output.decode())
    assert "over" in rest
    assert not [mark for mark in rest if (ord(mark) < 0x20 and mark not in "\r\n") or mark in "\x9b\u202e\u2028\x7f"]


def test_reasoning_is_for_terminals_unless_it_is_asked_for(unspool, serve):
    answer = head() + start("chat") + thought("Hm.") + piece("chat", "Yes") + end("chat")
    server = serve(answer)
    asked = ["--base-url", server.url, "-m", "m", "hi"]
    assert unspool(*asked).stderr == b""
    done = unspool(*asked, "--show-reasoning")
    assert (done.stdout, done.stderr) == (b"Yes\n", b"reasoning:\nHm.\n")
    assert unspool("last").stderr == b""
    [path, *_] = unspool.journals()
    for command in ("show", "attach", "replay"):
        assert unspool(command, path.stem, "--show-reasoning").stderr == b"reasoning:\nHm.\n"


@pytest.mark.parametrize(("said", "shown"), [("hide", False), ("show", True), ("auto", False)])
def test_the_configuration_says_what_is_done_with_reasoning(unspool, serve, said, shown):
    folder = unspool.home / "config" / "unspool"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f'reasoning = "{said}"\n')
    server = serve(head() + start("chat") + thought("Hm.") + piece("chat", "Yes") + end("chat"))
    asked = ["--base-url", server.url, "-m", "m", "hi"]
    assert (b"Hm." in unspool(*asked).stderr) is shown
    assert b"Hm." not in unspool(*asked, "-R").stderr


def test_ctrl_c_in_the_midst_of_reasoning_ends_its_row(serve, watch):
    gate = FaultMiddleware(head() + start("chat") + thought("Let me"), b"")
    watched = watch(serve(gate))
    gate.go()
    watched.until("Let me").type("\x03")
    assert watched.end() == 130
    assert watched.screen[0].startswith("Let me")
    assert watched.screen[2].startswith("unspool: cancelled")


def test_the_margin_is_not_imported_for_a_quick_answer_to_a_pipe(unspool, serve):
    unspool.env["PYTHONPROFILEIMPORTTIME"] = "1"
    done = unspool("--base-url", serve(stream("chat", "ok")).url, "-m", "m", "hi")
    imported = set(re.findall(rb"\| +([\w.]+)\n", done.stderr))
    assert b"unspool.cli.streaming" in imported
    assert not imported & {
        b"unspool.cli.status_line",
        b"unspool.cli.stats",
        b"unspool.client.pace",
        b"unspool.cli.formats.extract",
    }
