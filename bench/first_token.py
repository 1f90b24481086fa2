"""How long the first token takes from the server to whoever reads: the one thing here that is timed by the clock on the wall.

The server writes the time into the token itself just before it sends it, and the time of its arrival is taken where the program's
pipe is read. Every program has by then had the time to be waiting. What curl takes is the network and the
pipe; what unspool takes above that is its own: decoding, the journal, a write.
"""

from __future__ import annotations

import errno
import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator

from bench.process import Program, Unmeasurable
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_TIMES = 500
_LIMIT = 1e-3
# Seconds: what a person takes for at once, a frame included.
_FRAMES = 0.040
_STAMP = re.compile(rb"@(\d{20})@")


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the median and the 99th percentile."""
    times = 100 if setting.quick else _TIMES
    command = setting.command()
    ours = command._replace(command=tuple("stamp" if part == "n=1" else part for part in command.command))
    curl, why = attempt(lambda: setting.curl("stamp"))
    programs = [ours, curl] if curl is not None else [ours]
    taken: list[list[float]] = [[] for _ in programs]
    for _ in range(times):
        # Turn by turn, so that a busy moment of the machine falls on both.
        for program, times_of in zip(programs, taken, strict=True):
            times_of.append(latency(program))
    for name, percent in {"median": 50, "99th percentile": 99}.items():
        mine, *theirs = (percentile(times_of, percent) for times_of in taken)
        yield Row(
            name,
            mine,
            "curl -N",
            theirs[0] if theirs else None,
            "ms",
            Budget("more", _LIMIT) if percent == 99 else None,
            why or f"{times} times, in wall-clock time: believe it on an idle machine",
        )

    rendered = [latency_at_terminal(ours) for _ in range(times)]
    for name, percent in {"median": 50, "99th percentile": 99}.items():
        yield Row(
            f"{name}, rendered at a terminal",
            percentile(rendered, percent),
            "curl -N, into a pipe",
            percentile(taken[1], percent) if len(taken) > 1 else None,
            "ms",
            Budget("unspool", _FRAMES) if percent == 99 else None,
            why,
        )


def latency_at_terminal(program: Program) -> float:
    """Return the seconds from the server's writing the token to its coming out of a pseudo-terminal."""
    ours, theirs = pty.openpty()
    environment = {**program.environment, "TERM": "xterm-256color"}
    with subprocess.Popen(
        program.command, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.DEVNULL
    ) as process:
        os.close(theirs)
        try:
            return _first(ours, program)
        finally:
            os.close(ours)
            process.wait()


def latency(program: Program) -> float:
    """Return the seconds from the server's writing the token to its coming out of the program."""
    with subprocess.Popen(
        program.command,
        env=program.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        return _first(process.stdout.fileno(), program)


def _first(fd: int, program: Program) -> float:
    """Read all that is printed; return how long its first token took."""
    seen = b""
    while data := _read(fd):
        now = time.monotonic_ns()
        seen += data
        if found := _STAMP.search(seen):
            while _read(fd):
                pass
            return (now - int(found[1])) / 1e9
    raise Unmeasurable(f"{program.command[0]} printed no token")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""  # the terminal's last user has gone


def percentile(values: list[float], percent: int) -> float:
    """Return the least value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
