"""Ctrl-C, SIGTERM and SIGHUP at any moment: the command ends at once, and what had arrived is kept."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import time
from pathlib import Path

import pytest

from support.server import then_silence
from support.waiting import PATIENCE
from support.wire import APIS, end, error, head, piece, start, stream


def _interrupt(child, number=signal.SIGINT):
    """Send a signal and return how the command ended. Where it waited it would have waited for ever, or reported a timeout."""
    child.send_signal(number)
    return child.wait(PATIENCE)


def _assert_cancelled(unspool, child, number=signal.SIGINT):
    code = _interrupt(child, number)
    stderr = child.stderr.read().decode()
    assert (code, "Traceback" in stderr) == (128 + number, False)
    assert '"outcome":"cancelled"' in unspool.journal()
    return stderr


@pytest.fixture
def silent(serve):
    return serve(then_silence(head() + start("chat") + piece("chat", "Py")))


def test_before_the_server_takes_the_connection(unspool):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        others = []
        for _ in range(4):  # a queue that is full: further connections hang
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(address)
            others.append(other)
        child = unspool.start("--base-url", f"http://127.0.0.1:{address[1]}/v1", "-m", "m", "-v", "hi")
        assert b"POST" in child.stderr.readline()
        _assert_cancelled(unspool, child)
        for other in others:
            other.close()


def test_while_the_head_is_awaited(unspool, serve):
    server = serve(then_silence(b""))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi")
    assert server.arrived.wait(PATIENCE)
    assert _assert_cancelled(unspool, child).startswith("unspool: cancelled")
    assert server.requests[0].hung_up.wait(PATIENCE)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_the_server_is_silent_in_the_middle_of_an_answer(unspool, serve, number, api):
    server = serve(then_silence(head() + start(api) + piece(api, "Py")))
    child = unspool.start("--base-url", server.url, "--api", api, "-m", "m", "hi")
    assert child.stdout.read(2) == b"Py"
    stderr = _assert_cancelled(unspool, child, number)
    assert stderr.startswith("unspool: cancelled; unspool show ")
    assert stderr.count("\n") == 1
    assert server.requests[0].hung_up.wait(PATIENCE)
    assert '"Py"' in unspool.journal()


def test_while_a_retry_is_waited_for(unspool, serve):
    server = serve(error(429, "Slow down.", retry_after="60"))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi")
    assert child.stderr.readline() == b"unspool: trying again in 60 s: Slow down.\n"
    _assert_cancelled(unspool, child)
    assert len(server.requests) == 1


def test_while_stdout_is_a_full_pipe_that_nobody_reads(unspool, serve):
    read_end, write_end = os.pipe()
    text = "x" * (1 << 20)
    server = serve(then_silence(head() + start("chat") + piece("chat", text)))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi", stdout=write_end)
    _await_full(write_end)
    _assert_cancelled(unspool, child)
    os.close(write_end)
    os.close(read_end)


def test_after_the_answer_while_stdout_is_a_full_pipe_that_nobody_reads(unspool, serve):
    read_end, write_end = os.pipe()
    server = serve(stream("chat", "x" * (1 << 20)))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi", stdout=write_end)
    _await_full(write_end)
    code = _interrupt(child)
    assert (code, child.stderr.read().startswith(b"unspool: cancelled")) == (130, True)
    os.close(write_end)
    os.close(read_end)


def _await_full(write_end):
    deadline = time.monotonic() + PATIENCE
    while select.select([], [write_end], [], 0)[1]:
        assert time.monotonic() < deadline
        os.sched_yield()


def test_while_standard_input_is_read(unspool):
    child = unspool.start("--key", "k", "hi", stdin=-1)
    assert child.stderr.readline().startswith(b"unspool: reading stdin")
    code = _interrupt(child)
    assert (code, child.stderr.read()) == (130, b"")


def test_while_the_simulator_answers(unspool):
    child = unspool.start("--sim", "a story in 100000 tokens")
    assert child.stdout.read(4)
    code = _interrupt(child)
    assert (code, b"Traceback" in child.stderr.read()) == (130, False)


def test_while_models_are_awaited(unspool, serve):
    server = serve(then_silence(b""))
    child = unspool.start("models", "--base-url", server.url)
    assert server.arrived.wait(PATIENCE)
    code = _interrupt(child)
    assert (code, child.stderr.read()) == (130, b"")


def test_a_second_ctrl_c_changes_nothing_but_the_patience(unspool, silent):
    child = unspool.start("--base-url", silent.url, "-m", "m", "hi")
    assert child.stdout.read(2) == b"Py"
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    assert child.wait(PATIENCE) == 130
    assert b"Traceback" not in child.stderr.read()


def test_a_ctrl_c_that_the_parent_ignores_is_ignored(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    ignore = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    child = unspool.start("--base-url", server.url, "-m", "m", "hi", prepare=ignore)
    assert child.stdout.read(2) == b"Py"
    child.send_signal(signal.SIGINT)
    server.requests[0].send(piece("chat", "thon") + end("chat"))
    assert child.stdout.read() == b"thon\n"
    assert (child.wait(PATIENCE), child.stderr.read()) == (0, b"")


def test_json_has_its_last_line_after_ctrl_c_too(unspool, silent):
    child = unspool.start("--base-url", silent.url, "-m", "m", "--json", "hi")
    assert b'"type":"start"' in child.stdout.readline()
    assert b'"Py"' in child.stdout.readline()
    # A signal that comes in the middle of writing ends the writing; here it should come while the server is silent.
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        os.sched_yield()
    assert _interrupt(child) == 130
    last = child.stdout.read()
    assert last.startswith(b'{"type":"end",')
    assert b'"outcome":"cancelled","exit_code":130' in last


def test_the_journal_has_the_signal(unspool, silent):
    child = unspool.start("--base-url", silent.url, "-m", "m", "hi")
    assert child.stdout.read(2) == b"Py"
    assert _interrupt(child, signal.SIGTERM) == 143
    assert unspool("last").returncode == 143


# Tells the test when the program proper begins: Python prints a traceback for a signal that comes before any program could help it.
_TELL = """
import os, sys

class Tell:
    def find_spec(name, path=None, target=None):
        if name == "unspool.cli.commands.ask":
            sys.meta_path.remove(Tell)
            os.write(int(os.environ["STARTED"]), b".")

sys.meta_path.insert(0, Tell)
"""


def test_ctrl_c_while_the_program_starts_leaves_no_traceback(unspool, serve, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_TELL)
    server = serve(then_silence(b""))
    unspool("--version")  # compiles what can be compiled
    unspool.env["PYTHONPATH"] = str(tmp_path / "site")
    chance = random.Random(20260101)
    for _ in range(16):
        started, told = os.pipe()
        unspool.env["STARTED"] = str(told)
        child = unspool.start("--base-url", server.url, "-m", "m", "hi", pass_fds=[told])
        os.close(told)
        assert os.read(started, 1) == b"."
        os.close(started)
        delay = time.monotonic() + chance.uniform(0.0, 0.08)
        while time.monotonic() < delay:
            pass
        code = _interrupt(child)
        stderr = child.stderr.read().decode()
        assert (code, "Traceback" in stderr) == (130, False), stderr


def test_a_process_that_was_stopped_goes_on_and_says_so_once():
    from unspool.cli.signals import Signals

    with Signals() as signals:
        assert not signals.has_resumed()
        os.kill(os.getpid(), signal.SIGCONT)
        assert select.select([signals.fd], [], [], PATIENCE)[0]
        assert signals.has_resumed()
        assert not signals.has_resumed()
        assert not select.select([signals.fd], [], [], 0)[0]
        assert signals.number == 0


def test_an_answer_survives_being_stopped_and_continued(unspool, serve):
    server = serve(then_silence(head() + start("chat") + piece("chat", "Py")))
    child = unspool.start("--base-url", server.url, "-m", "m", "hi")
    assert child.stdout.read(2) == b"Py"
    child.send_signal(signal.SIGSTOP)
    child.send_signal(signal.SIGCONT)
    server.requests[0].send(piece("chat", "thon") + end("chat"))
    assert child.stdout.read() == b"thon\n"
    assert (child.wait(PATIENCE), child.stderr.read()) == (0, b"")
