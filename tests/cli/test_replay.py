"""An answer again as it came, in time."""

from __future__ import annotations

import os
import signal
import time

import pytest

from support.server import then_silence
from support.waiting import PATIENCE
from support.wire import APIS, error, head, piece, start, stream
from unspool.journal import record
from unspool.journal.writer import Writer
from unspool.sse import Event, Events

FORMATS = ("text", "json", "stream-json", "sse")
each_api = pytest.mark.parametrize("api", APIS)
REQUEST = '{"api":"chat","url":"http://x/v1/chat/completions","model":"m","body":{},"parent":null}'


def _ask(unspool, server, *arguments, api="chat"):
    return unspool("--base-url", server.url, "--api", api, "-m", "m", "--retries", "0", *arguments, "hi")


def said(text, finish=None):
    quoted = f'"{finish}"' if finish else "null"
    return Event(
        "message", f'{{"id":"r1","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":{quoted}}}]}}'
    )


@pytest.fixture
def journal(tmp_path):
    """Writes a journal of these blocks: events with their time, or the journal's own."""

    def write(*blocks, name="one.sse"):
        writer = Writer.create(str(tmp_path / name))
        writer.own(record.REQUEST, REQUEST)
        for block in blocks:
            if isinstance(block[1], str):
                writer.own(*block)
            else:
                writer.events(Events.of([block[1]]), block[0])
        writer.close()
        return str(tmp_path / name)

    return write


@each_api
@pytest.mark.parametrize("format", FORMATS)
def test_at_full_speed_it_is_what_was_printed(unspool, serve, api, format):
    run = _ask(unspool, serve(stream(api, "a\r\n", "b", "🙂", reason="length")), "--format", format, api=api)
    (path,) = unspool.journals()
    again = unspool("replay", path.stem[-6:], "--speed", "max", "--format", format)
    assert (again.returncode, again.stdout, again.stderr) == (run.returncode, run.stdout, run.stderr)
    assert run.returncode == 8


@pytest.mark.parametrize(
    "answer",
    [error(400, "No.", "bad"), head() + start("chat") + piece("chat", "Py")],
    ids=["refused", "cut"],
)
def test_the_exit_code_is_the_one_it_had(unspool, serve, answer):
    run = _ask(unspool, serve(answer))
    (path,) = unspool.journals()
    again = unspool("replay", str(path), "--speed", "max")
    assert run.returncode not in (0, 1, 2)
    assert (again.returncode, again.stdout) == (run.returncode, run.stdout)


def test_it_takes_its_time_and_less_when_it_is_faster(unspool, journal):
    path = journal((0.4, said("Py")), (0.8, said("thon", "stop")), (record.END, '{"outcome":"complete","at":0.9}'))
    took = []
    for speed in ("1", "2", "max"):
        begun = time.monotonic()
        assert unspool("replay", path, "--speed", speed).stdout == b"Python\n"
        took.append(time.monotonic() - begun)
    # No upper bound: the machine may be busy. A lower one holds on any.
    assert took[0] > 0.9
    assert took[1] > 0.45


def test_what_came_early_is_shown_before_what_came_late(unspool, journal):
    path = journal((0.0, said("Py")), (3600.0, said("thon", "stop")), (record.END, '{"outcome":"complete","at":3600}'))
    child = unspool.start("replay", path)
    assert child.stdout.read(2) == b"Py"
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE) == 130
    assert child.stdout.read() == b""
    assert child.stderr.read() == b""


def test_it_goes_on_after_it_was_stopped(unspool, journal):
    path = journal((0.0, said("Py")), (0.3, said("thon", "stop")), (record.END, '{"outcome":"complete","at":0.3}'))
    child = unspool.start("replay", path)
    assert child.stdout.read(2) == b"Py"
    child.send_signal(signal.SIGSTOP)
    child.send_signal(signal.SIGCONT)
    assert child.communicate(timeout=PATIENCE) == (b"thon\n", b"")
    assert child.returncode == 0


def test_it_ends_when_nobody_reads_any_more(unspool, journal):
    path = journal((0.0, said("Py")), (3600.0, said("thon", "stop")), (record.END, '{"outcome":"complete","at":3600}'))
    child = unspool.start("replay", path)
    assert child.stdout.read(2) == b"Py"
    child.stdout.close()
    assert child.wait(PATIENCE) == 141


def test_the_night_in_which_a_stream_was_being_taken_up_is_not_waited_for(unspool, journal):
    path = journal(
        (0.1, said("Py")),
        (record.ATTEMPT, '{"attempt":2,"resume":"r1"}'),
        (40_000.0, said("thon", "stop")),
        (record.END, '{"outcome":"complete","at":40000.1}'),
    )
    done = unspool("replay", path, "--json")
    assert done.returncode == 0
    # What is shown of the time is still the truth.
    assert b'"at":40000.0' in done.stdout


def test_a_stream_that_still_runs_is_left_to_attach(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi")
    assert child.stdout.read(2) == b"Py"
    (path,) = unspool.journals()
    done = unspool("replay", path.stem)
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"to follow it: unspool attach {path.stem[-6:]}" in done.stderr.decode()


def test_an_interrupted_answer_is_played_as_far_as_it_goes(unspool, journal):
    done = unspool("replay", journal((0.1, said("Py"))), "--speed", "max")
    assert (done.returncode, done.stdout) == (7, b"Py")
    assert b"interrupted" in done.stderr


def test_damage_is_told_and_what_precedes_it_is_played(unspool, journal):
    path = journal((0.1, said("Py")), (0.2, said("thon", "stop")), (record.END, '{"outcome":"complete","at":1}'))
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(data.replace(b'"thon"', b'"thom"'))
    done = unspool("replay", path, "--speed", "max")
    assert (done.returncode, done.stdout) == (7, b"Py")
    assert b"damaged at byte " in done.stderr


def test_it_is_rendered_while_it_arrives_at_a_terminal(unspool, journal):
    path = journal(
        (0.1, said("# Py")),
        (0.3, said("thon\\n\\nis **good**", "stop")),
        (record.END, '{"outcome":"complete","at":0.4}'),
    )
    unspool.env["TERM"] = "xterm-256color"
    terminal = unspool.on_terminal("replay", path)
    assert terminal.code == 0
    text = "\n".join(terminal.lines)
    assert "Python" in text
    assert "**" not in text
    # It was drawn before all of it was there.
    assert terminal.output.index(b"Py") < terminal.output.index(b"good")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 1, "there are no saved answers yet"),
        (("a", "b"), 2, "one ID at a time"),
        (("x", "--speed", "0"), 2, "'0' is not a speed such as"),
        (("x", "--speed", "fast"), 2, "'fast' is not a speed such as"),
        (("ZZZZ",), 1, "no saved answer has 'ZZZZ' in its id"),
        (("./none.sse",), 1, "No such file or directory (./none.sse)"),
        (("/dev/null",), 1, "/dev/null is not a journal"),
    ],
)
def test_wrong_usage_is_told(unspool, arguments, code, words):
    done = unspool("replay", *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert words in done.stderr.decode()


@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_journal_s_file_will_do_wherever_it_is(unspool, journal, command):
    path = journal((0.0, said("Python", "stop")), (record.END, '{"outcome":"complete","at":0}'))
    assert unspool(command, os.path.relpath(path), cwd=os.getcwd()).stdout == b"Python\n"
