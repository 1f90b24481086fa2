"""An answer again: the same bytes and the same exit code as when it came."""

from __future__ import annotations

import os
import signal

import pytest

from support.server import then_silence
from support.waiting import PATIENCE
from support.wire import APIS, end, error, head, piece, start, stream

FORMATS = ("text", "json", "stream-json", "sse")
each_api = pytest.mark.parametrize("api", APIS)


def _ask(unspool, server, *arguments, api="chat"):
    return unspool("--base-url", server.url, "--api", api, "-m", "m", "--retries", "0", *arguments, "hi")


@each_api
@pytest.mark.parametrize("format", FORMATS)
def test_what_was_printed_is_printed_again(unspool, serve, api, format):
    run = _ask(unspool, serve(stream(api, "a\r\n", "b", "🙂", reason="length")), "--format", format, api=api)
    again = unspool("last", "--format", format)
    assert (again.returncode, again.stdout, again.stderr) == (run.returncode, run.stdout, run.stderr)
    assert run.returncode == 8


@pytest.mark.parametrize("format", FORMATS)
def test_several_choices_are_printed_again(unspool, serve, format):
    answer = head() + start("chat") + piece("chat", "a") + piece("chat", "b", 1) + end("chat", choices=2)
    run = _ask(unspool, serve(answer), "-o", "n", "2", "--format", format)
    assert unspool("last", "--format", format).stdout == run.stdout


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "answer",
    [
        error(400, "No.", "bad"),
        error(429, "You are out.", "insufficient_quota"),
        head() + start("chat") + piece("chat", "Py"),
        head(200, "text/html") + b"<html><title>Hello</title></html>",
        head() + start("chat") + b'data: {"error":{"message":"It broke."}}\n\n',
    ],
    ids=["refused", "quota", "cut", "web page", "error event"],
)
def test_a_failure_is_the_same_failure_again(unspool, serve, answer, format):
    run = _ask(unspool, serve(answer), "--format", format)
    again = unspool("last", "--format", format)
    assert run.returncode not in (0, 1, 2)
    assert (again.returncode, again.stdout) == (run.returncode, run.stdout)
    assert again.stderr.split(b";")[0].strip() == run.stderr.split(b";")[0].strip()


@pytest.mark.parametrize("format", ["text", "sse"])
def test_an_answer_in_one_piece_is_printed_again(unspool, serve, format):
    body = b'{"id":"r1","model":"m","choices":[{"index":0,"message":{"content":"ok"},"finish_reason":"stop"}]}'
    run = _ask(unspool, serve(head(type="application/json") + body), "--no-stream", "--format", format)
    assert unspool("last", "--format", format).stdout == run.stdout != b""


def test_what_a_killed_process_had_shown_is_kept(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py") + piece("chat", "thon")))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi")
    shown = b""
    while len(shown) < 6:
        shown += os.read(child.stdout.fileno(), 100)
    child.send_signal(signal.SIGKILL)
    child.wait(PATIENCE)
    again = unspool("last")
    assert (again.returncode, again.stdout) == (7, b"Python")
    assert again.stderr == b"unspool: interrupted: its process ended before the answer did; this is what had arrived\n"


def test_a_stream_that_still_runs_is_said_to(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi")
    assert child.stdout.read(2) == b"Py"
    again = unspool("last")
    assert (again.returncode, again.stdout) == (7, b"Py")
    assert again.stderr == b"unspool: interrupted: the answer is still being written; this is what has arrived so far\n"


def test_an_answer_is_found_by_a_piece_of_its_id_in_any_case(unspool, serve):
    server = serve(stream("chat", "one"), stream("chat", "two"))
    for _ in range(2):
        _ask(unspool, server)
    first, second = (path.stem for path in unspool.journals())
    assert unspool("show", first[-6:].lower()).stdout == b"one\n"
    assert unspool("show", second).stdout == b"two\n"


def test_a_piece_of_several_ids_names_them(unspool, serve):
    server = serve(stream("chat", "one"))
    for _ in range(2):
        _ask(unspool, server)
    first, second = (path.stem for path in unspool.journals())
    assert first[:5] == second[:5]
    done = unspool("show", first[:5])
    assert (done.returncode, done.stdout) == (1, b"")
    assert first in done.stderr.decode()
    assert second in done.stderr.decode()


def test_an_id_nobody_has_and_an_empty_history_are_told(unspool):
    assert (unspool("last").returncode, unspool("last").stderr) == (1, b"unspool: there are no saved answers yet\n")
    assert unspool("show", "ZZZZ").stderr == b"unspool: no saved answer has 'ZZZZ' in its id; unspool log lists them\n"
    assert unspool("show").stderr == b"unspool: there are no saved answers yet\n"
    assert unspool("last", "ZZZZ").returncode == 2


def test_damage_is_told_with_its_place_and_the_rest_is_printed(unspool, serve):
    _ask(unspool, serve(stream("chat", "Py", "thon")))
    (path,) = unspool.journals()
    path.write_bytes(path.read_bytes().replace(b'"outcome":"complete"', b'"outcome":"complexe"'))
    done = unspool("last")
    assert (done.returncode, done.stdout) == (7, b"Python")
    assert b"damaged at byte " in done.stderr


def test_no_key_is_in_the_journal(unspool, serve):
    _ask(unspool, serve(error(401, "No such key: sk-12345678.")), "--key", "sk-12345678")
    assert "sk-12345678" not in unspool.journal()
