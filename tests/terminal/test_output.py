"""Descriptors: written whole, or only as far as nobody has to be waited for."""

from __future__ import annotations

import os
import pty

import pytest

from unspool.terminal.output import Notes, Output


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_writing_at_once_does_not_wait_for_a_reader(pipe):
    output = Output(pipe[1])
    assert output.write_at_once("short\n")
    assert not output.write_at_once("x" * (1 << 20))
    os.set_blocking(pipe[0], False)
    assert os.read(pipe[0], 6) == b"short\n"


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
