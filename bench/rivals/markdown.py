"""Markdown on a terminal while it arrives: ``markdown.py RENDERER FILE TOKEN…``, a token being four characters.

Shows a frame for each token and prints, for each TOKEN, a line of two numbers: the CPU seconds that a token took on its way there,
and the bytes that were written for it. What is linear is measured over the thousand tokens before; what is not, over a few of them.
"""

import os
import subprocess
import sys
import tempfile
import time

_SIZE = 4
_WINDOW = 1000
_SAMPLES = 10
_COLUMNS, _ROWS = 80, 24


class Counter:
    """A terminal that takes everything and counts it."""

    is_tty = True
    encoding = "utf-8"

    def __init__(self):
        self.count = 0

    def write(self, text):
        self.count += len(text.encode())
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


def unspool(text, tokens):
    from unspool.terminal.page import Page

    output, now = Counter(), 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    page = Page(output, environment={"TERM": "xterm-256color"}, clock=clock, size=lambda: (_COLUMNS, _ROWS))
    figures = {}
    for number in range(max(tokens)):
        if number + _WINDOW in tokens:
            figures[number + _WINDOW] = (time.process_time(), output.count)
        page.write(text[number * _SIZE : (number + 1) * _SIZE])
        if number + 1 in figures:
            began, count = figures[number + 1]
            figures[number + 1] = (
                (time.process_time() - began) / _WINDOW,
                (output.count - count) / _WINDOW,
            )
    return [figures[token] for token in tokens]


def rich(text, tokens):
    from rich.console import Console
    from rich.live import Live
    from rich.markdown import Markdown

    output = Counter()
    console = Console(file=output, force_terminal=True, width=_COLUMNS, height=_ROWS, legacy_windows=False)
    figures = []
    with Live(console=console, auto_refresh=False) as live:
        for token in tokens:
            began, count = time.process_time(), output.count
            for number in range(token - _WINDOW, token, _WINDOW // _SAMPLES):
                live.update(Markdown(text[: number * _SIZE]), refresh=True)
            figures.append(((time.process_time() - began) / _SAMPLES, (output.count - count) / _SAMPLES))
    return figures


def streamdown(text, tokens):
    # A program and no library, and linear: what a token cost the whole process on the way there, less what starting costs.
    start, _ = _least("")
    figures = []
    for token in tokens:
        seconds, written = _least(text[: token * _SIZE])
        figures.append(((seconds - start) / token, written / token))
    return figures


def _least(text):
    return min(_piped(text) for _ in range(3))


def _piped(text):
    command = [os.path.join(os.path.dirname(sys.executable), "sd"), "-w", str(_COLUMNS)]
    with tempfile.TemporaryFile() as source:
        source.write(text.encode())
        source.seek(0)
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with process.stdout as pipe:
            written = len(pipe.read())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.returncode
    return usage.ru_utime + usage.ru_stime, written


def main():
    name, path, *tokens = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for seconds, written in globals()[name](text, [int(token) for token in tokens]):
        print(seconds, written)


main()
