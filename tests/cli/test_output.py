"""What stdout gets: exact bytes in a pipe, as they arrive; and what happens when nobody takes them."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess

import pytest

from support.server import then_silence
from support.waiting import PATIENCE
from support.wire import APIS, end, head, piece, start, stream

each_api = pytest.mark.parametrize("api", APIS)

# Line ends of all kinds, controls, what some call line ends, an emoji whose halves arrive apart in JSON, combining marks.
ODD = (
    'a\r\nb\rc\n\n\td\x1b[31m\x07\x00\x7f\x85\x9b2J\u2028\u202e\ufeff "\\ 👩‍👩‍👧 e\u0301 \ud83d'.replace("\ud83d", "")
    + "end "
)


def _ask(unspool, server, *arguments, api="chat", **options):
    return unspool("--base-url", server.url, "--api", api, "-m", "m", "--retries", "0", *arguments, "hi", **options)


def _start(unspool, server, *arguments, **options):
    return unspool.start("--base-url", server.url, "-m", "m", "--retries", "0", *arguments, "hi", **options)


def _read(child):
    data = os.read(child.stdout.fileno(), 1 << 16)
    assert data, child.stderr.read()
    return data


@each_api
def test_a_pipe_gets_the_text_and_a_line_end_only_where_it_has_none(unspool, serve, api):
    done = _ask(unspool, serve(stream(api, *ODD)), api=api)
    assert (done.returncode, done.stdout, done.stderr) == (0, ODD.encode() + b"\n", b"")
    for text in ("Python.\n", "Python.\n\n"):
        assert _ask(unspool, serve(stream(api, text)), api=api).stdout == text.encode()
    assert _ask(unspool, serve(stream(api)), api=api).stdout == b""


@pytest.mark.parametrize("command", [("last",), ("show",), ("replay", "--speed", "max"), ("resume",)])
def test_no_newline_gives_the_exact_text_when_it_is_asked_for_and_again_later(unspool, serve, command):
    assert _ask(unspool, serve(stream("chat", "Python.")), "-N").stdout == b"Python."
    assert unspool(*command, "--no-newline").stdout == b"Python."
    assert unspool(*command).stdout == b"Python.\n"


def test_a_cut_answer_gets_no_line_end_so_that_its_rest_can_be_appended(unspool, serve):
    server = serve(head() + start("chat") + piece("chat", "Py"), stream("chat", "thon.", reason="length"))
    assert _ask(unspool, server).stdout == b"Py"
    assert unspool("show").stdout == b"Py"
    done = unspool("resume")
    assert (done.returncode, done.stdout) == (8, b"Python.\n")


def test_a_file_gets_the_text_and_a_line_end(unspool, serve, tmp_path):
    with open(tmp_path / "out", "wb") as file:
        done = _ask(unspool, serve(stream("chat", ODD)), stdout=file)
    assert (done.returncode, (tmp_path / "out").read_bytes()) == (0, ODD.encode() + b"\n")


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--format", "sse")])
def test_each_piece_is_out_before_the_next_arrives(unspool, serve, arguments):
    # The server sends a piece only when the one before has been read at the other end of the pipe.
    server = serve(then_silence(head() + start("chat")))
    child = _start(unspool, server, *arguments)
    assert server.arrived.wait(PATIENCE)
    assert server.requests[0].played.wait(PATIENCE)
    for text in ("Py", "th", "on"):
        server.requests[0].send(piece("chat", text))
        got = b""
        while text.encode() not in got:
            got += _read(child)
    server.requests[0].send(end("chat"))
    child.stdout.read()
    assert child.wait(PATIENCE) == 0


def test_a_reader_that_goes_away_ends_it_quietly(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "x" * (1 << 20))))
    child = _start(unspool, server)
    head_of_it = subprocess.run(["head", "-c", "10"], stdin=child.stdout, capture_output=True, check=True)
    child.stdout.close()
    assert (head_of_it.stdout, child.wait(PATIENCE), child.stderr.read()) == (b"x" * 10, 141, b"")
    assert server.requests[0].hung_up.wait(PATIENCE)
    assert '"outcome":"closed"' in unspool.journal()


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_a_reader_that_goes_away_while_the_server_is_silent_is_noticed(unspool, serve, arguments):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    child = _start(unspool, server, *arguments)
    while b"Py" not in _read(child):
        pass
    child.stdout.close()
    assert (child.wait(PATIENCE), child.stderr.read()) == (141, b"")
    assert server.requests[0].hung_up.wait(PATIENCE)


def test_a_reader_gone_before_a_whole_answer_is_written_still_ends_with_141(unspool, serve):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = _ask(unspool, serve(stream("chat", "Python.")), stdout=write_end)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


@each_api
def test_a_full_disk_is_an_error_and_the_journal_has_the_answer(unspool, serve, api):
    with open("/dev/full", "wb") as full:
        done = _ask(unspool, serve(stream(api, "Python.")), api=api, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(
        b"unspool: error: the answer cannot be written to standard output: No space left on device"
    )
    assert unspool("last").stdout == b"Python.\n"


def test_a_full_disk_below_a_stream_under_way_is_an_error(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    with open("/dev/full", "wb") as full:
        done = _ask(unspool, server, stdout=full)
    assert done.returncode == 1
    assert '"outcome":"error"' in unspool.journal()
    assert server.requests[0].hung_up.wait(PATIENCE)


def _closing(*fds):
    def close():
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)

    return close


def test_stdout_closed_from_the_start_is_an_error_and_nothing_else_is_written_in_its_place(unspool, serve):
    done = _ask(unspool, serve(stream("chat", "Python.")), prepare=_closing(1))
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"cannot be written to standard output: Bad file descriptor" in done.stderr
    assert unspool("last").stdout == b"Python.\n"


def test_stdin_and_stderr_closed_from_the_start_do_no_harm(unspool, serve):
    done = _ask(unspool, serve(stream("chat", "Python.")), "-v", prepare=_closing(0, 2))
    assert (done.returncode, done.stdout) == (0, b"Python.\n")
    assert unspool("last").stdout == b"Python.\n"


def test_a_failure_with_stderr_closed_keeps_its_exit_code(unspool, serve):
    done = _ask(unspool, serve(head() + piece("chat", "Py")), prepare=_closing(2))
    assert (done.returncode, done.stdout) == (7, b"Py")


def test_stderr_that_nobody_reads_does_not_end_the_answer(unspool, serve):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = _ask(unspool, serve(stream("chat", "Python.")), "-v", stderr=write_end)
    os.close(write_end)
    assert (done.returncode, done.stdout) == (0, b"Python.\n")


def test_a_non_blocking_stdout_gets_all_of_it(unspool, serve):
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    text = "0123456789" * 100_000
    child = _start(unspool, serve(stream("chat", text)), stdout=write_end)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        assert pipe.read() == text.encode() + b"\n"
    assert (child.wait(PATIENCE), child.stderr.read()) == (0, b"")


def test_a_file_size_limit_is_told(unspool, serve, tmp_path):
    # The journal is in the same straits, and says so too.
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))  # noqa: E731
    with open(tmp_path / "out", "wb") as file:
        done = _ask(unspool, serve(stream("chat", "x" * 10_000)), stdout=file, prepare=limit)
    assert done.returncode == 1
    lines = done.stderr.decode().split("\n")
    assert [line.partition(":")[0] for line in lines] == ["unspool", "unspool", ""]
    assert "File too large" in lines[0]


@pytest.mark.parametrize("command", [("models", "--base-url", "{url}"), ("last",), ("keys", "path")])
def test_other_commands_tell_of_a_full_disk_too(unspool, serve, command):
    if command == ("last",):
        _ask(unspool, serve(stream("chat", "Python.")))
    models = head(type="application/json") + b'{"data":[{"id":"m-1"}]}'
    url = serve(models).url
    with open("/dev/full", "wb") as full:
        done = unspool(*(word.format(url=url) for word in command), stdout=full)
    assert (done.returncode, done.stderr) == (1, b"unspool: No space left on device\n")


@pytest.mark.parametrize("kind", ["file", "in-proc"])
def test_a_journal_that_cannot_be_kept_costs_one_line_and_not_the_answer(unspool, serve, kind, tmp_path):
    (tmp_path / "file").write_text("")
    unspool.env["UNSPOOL_HOME"] = str(tmp_path / "file") if kind == "file" else "/proc/unspool"
    done = _ask(unspool, serve(stream("chat", "Python.")))
    assert (done.returncode, done.stdout) == (0, b"Python.\n")
    assert done.stderr.startswith(b"unspool: this answer is not being saved: ")
    assert done.stderr.count(b"\n") == 1


def test_no_log_leaves_no_file(unspool, serve):
    assert _ask(unspool, serve(stream("chat", "Python.")), "-n").stdout == b"Python.\n"
    assert not (unspool.home / "state").exists()
