"""How long the first token takes from the server to whoever reads: the one thing here that is timed by the clock on the wall.

The server writes the time into the token itself just before it sends it, and the time of its arrival is taken where the program's
pipe is read. Every program has by then had the time to be waiting. What curl takes is the network and the
pipe; what unspool takes above that is its own: decoding, the journal, a write.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator

from bench.process import Program, Unmeasurable
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_TIMES = 500
_LIMIT = 1e-3
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
        fd = process.stdout.fileno()
        seen = b""
        while data := os.read(fd, 1 << 16):
            now = time.monotonic_ns()
            seen += data
            if found := _STAMP.search(seen):
                while os.read(fd, 1 << 16):
                    pass
                return (now - int(found[1])) / 1e9
    raise Unmeasurable(f"{program.command[0]} printed no token")


def percentile(values: list[float], percent: int) -> float:
    """Return the least value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
