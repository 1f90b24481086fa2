"""What stays on the screen and in the scrollback of a terminal that reflows, here tmux, when its window is resized."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import time

import pytest

from support.waiting import PATIENCE
from support.wire import end, head, piece, start

from .conftest import _command
from .test_status_line import FaultMiddleware

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")


class Tmux:
    """The command in a window of its own tmux server."""

    def __init__(self, folder, environment, command):
        self._server = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self._environment = environment
        words = [*(f"{name}={value}" for name, value in environment.items()), "TERM=screen-256color", *command]
        line = f"env -i {shlex.join(words)}; echo over; exec cat"
        self("new-session", "-d", "-s", "x", "-x", "80", "-y", "24", line)

    def __call__(self, *arguments):
        done = subprocess.run(
            [*self._server, *arguments], env={**self._environment, "TERM": "xterm"}, capture_output=True, check=True
        )
        return done.stdout.decode()

    def resize(self, columns):
        self("resize-window", "-t", "x", "-x", str(columns), "-y", "24")

    def text(self):
        """All that can be seen, the scrollback included; rows that the terminal has wrapped are one line."""
        return self("capture-pane", "-p", "-J", "-S", "-500", "-t", "x")

    def until(self, words):
        deadline = time.monotonic() + PATIENCE
        while words not in (text := self.text()):
            assert time.monotonic() < deadline, text
            time.sleep(0.02)
        return text


@pytest.fixture
def tmux(unspool, tmp_path, serve):
    running = []

    def begin(gate):
        environment = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "NO_COLOR": "1", **unspool.env}
        environment.pop("TERM", None)
        command = [*_command(), "--base-url", serve(gate).url, "--api", "chat", "-m", "m", "hi"]
        running.append(Tmux(tmp_path, environment, command))
        return running[-1]

    yield begin
    for one in running:
        one("kill-server")


def _rows(numbers):
    return b"".join(piece("chat", f"| r{number} | some text {number} |\n") for number in numbers)


@pytest.mark.parametrize("columns", [(40,), (100,), (12, 80)])
@pytest.mark.parametrize("before", [3, 8, 15])
def test_a_resize_leaves_each_row_of_an_open_table_once(tmux, columns, before):
    gate = FaultMiddleware(
        head() + start("chat") + piece("chat", "| n | text |\n|---|---|\n") + _rows(range(before)),
        _rows(range(before, 25)) + piece("chat", "\nend\n") + end("chat"),
    )
    window = tmux(gate)
    gate.go()
    window.until(f"some text {before - 1}")
    for width in columns:
        window.resize(width)
    gate.go()
    rows = re.findall(r"\br(\d+)\b", window.until("over"))
    assert rows == [str(number) for number in range(25)]


@pytest.mark.parametrize("columns", [40, 23, 120])
def test_a_resize_leaves_each_word_of_an_open_paragraph_once(tmux, columns):
    words = [f"w{number} " for number in range(100)]
    gate = FaultMiddleware(
        head() + start("chat") + b"".join(piece("chat", word) for word in words[:45]),
        b"".join(piece("chat", word) for word in words[45:]) + end("chat"),
    )
    window = tmux(gate)
    gate.go()
    window.until("w44")
    window.resize(columns)
    gate.go()
    assert re.findall(r"\bw(\d+)\b", window.until("over")) == [str(number) for number in range(100)]
