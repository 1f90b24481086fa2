"""Descriptors: written whole, or only as far as nobody has to be waited for."""

from __future__ import annotations

import os
import pty
import signal

import pytest

from unspool.terminal.output import Notes, Output


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_a_hurried_output_does_not_wait_for_a_reader(pipe):
    output = Output(pipe[1])
    output.hurry()
    output.write("short\n")
    assert output.at_line_start
    with pytest.raises(BlockingIOError):
        output.write("x" * (1 << 20))
    assert not output.at_line_start
    assert os.read(pipe[0], 6) == b"short\n"
    output.restore()
    assert os.get_blocking(pipe[1])


def test_a_write_that_waits_is_hurried_by_a_signal_and_nothing_is_out_twice(pipe):
    output = Output(pipe[1])
    before = signal.signal(signal.SIGALRM, lambda number, frame: output.hurry())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(BlockingIOError):
            output.write("x" * (1 << 20))
    finally:
        signal.signal(signal.SIGALRM, before)
        output.restore()
    os.set_blocking(pipe[0], False)
    assert set(os.read(pipe[0], 1 << 20)) == {ord("x")}


def test_a_pipe_gets_foreign_text_as_it_is_and_a_terminal_does_not(pipe):
    ours, theirs = pty.openpty()
    assert Output(pipe[1]).safe("a\x1b\r\n") == "a\x1b\r\n"
    assert Output(theirs).safe("a\x1b\r\n") == "a␛\n"
    os.close(ours)
    os.close(theirs)


def test_only_a_pipe_or_a_socket_has_a_reader(pipe, tmp_path):
    assert Output(pipe[1]).has_reader
    with open(tmp_path / "file", "wb") as file:
        assert not Output(file.fileno()).has_reader


def test_a_reader_that_went_away_is_known_without_writing(tmp_path):
    read_end, write_end = os.pipe()
    output = Output(write_end)
    assert not output.is_abandoned()
    os.close(read_end)
    assert output.is_abandoned()
    os.close(write_end)
    with open(tmp_path / "file", "wb") as file:
        assert not Output(file.fileno()).is_abandoned()


def test_nobody_reading_is_a_broken_pipe():
    read_end, write_end = os.pipe()
    os.close(read_end)
    with pytest.raises(BrokenPipeError):
        Output(write_end).write("x")
    Notes(Output(write_end)).line("lost")
    os.close(write_end)


def test_notes_are_one_safe_line_each(pipe):
    notes = Notes(Output(pipe[1]))
    notes.line("a\nb\x1b[2J\r")
    notes.passing("only for a person")
    notes.clear()
    assert os.read(pipe[0], 100) == "unspool: a b␛[2J\n".encode()


def test_quiet_notes_say_only_what_must_be_said(pipe):
    notes = Notes(Output(pipe[1]), quiet=True)
    notes.line("news")
    notes.line("a failure", always=True)
    assert os.read(pipe[0], 100) == b"unspool: a failure\n"
