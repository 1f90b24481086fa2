"""The event stream decoders alone: events decoded in a second of CPU time, and how an event of many megabytes is borne.

Where valgrind is installed, the instructions executed for each event decide the budget, and the seconds stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from bench import server
from bench.process import Program, can_count, instructions, run
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_EVENTS = 20_000
# Under valgrind everything takes fifty times as long.
_COUNTED = 2_000
# What a decoder is called in rivals/decoders.py, and where it is installed.
_RIVALS = {"sseclient": "tutorial", "httpx_sse": "httpx-sse", "openai": "openai"}
_NAMES = {"sseclient": "sseclient-py", "httpx_sse": "httpx-sse", "openai": "openai SDK"}
# curl and httpx hand out at most this much at once.
_CHUNK = 16 * 1024
_SIZES = (4, 16, 64)
# How often rivals/decoders.py decodes its file.
_TIMES = 5
_MB = 1024 * 1024
# A file of events and their number, to the program that decodes it.
_OfEvents = Callable[[str, int], Program]


def measure(setting: Setting) -> Iterator[Row]:
    """Yield a row for each rival at one event a chunk and at large chunks, then those for one large event."""
    path = setting.home / "events"
    counts = can_count()
    for words, size in {"an event in each chunk": 0, "chunks of 16 KB": _CHUNK}.items():
        programs = {
            "unspool": lambda file, n, size=size: setting.ours(
                "../rivals/decoders.py", "unspool", file, str(size), str(n)
            )
        } | {
            rival: lambda file, n, rival=rival, home=home, size=size: setting.rival(
                home, "decoders.py", rival, file, str(size), str(n)
            )
            for rival, home in _RIVALS.items()
        }
        seconds = _compared(words, programs, lambda program: _rate(setting, path, program), "events/s")
        yield from seconds if counts else _budgeted(seconds, max, Budget("ratio", 3, at_least=True))
        if counts:
            executed = _compared(f"{words}, instructions", programs, lambda program: _executed(path, program), "kI")
            yield from _budgeted(executed, min, Budget("ratio", 1 / 3))

    taken: dict[int, float] = {}
    for size in _SIZES:
        path.write_bytes(b"data: " + b"x" * (size * _MB) + b"\n\n")
        taken[size] = _seconds(setting, setting.ours("../rivals/decoders.py", "unspool", str(path), str(_CHUNK), "1"))
    yield Row("one event of 64 MB", taken[64], unit="s", budget=Budget("unspool", 1.0))
    for small, large in pairwise(_SIZES):
        # Four times the bytes: linear is 4, quadratic 16. Between them, some slack for caches that the larger one overflows.
        yield Row(
            f"one event of {large} MB",
            taken[large],
            f"one of {small} MB",
            taken[small],
            "s",
            Budget("ratio", large / small * 1.5),
        )


def _compared(words: str, programs: dict[str, _OfEvents], cost: Callable[[_OfEvents], float], unit: str) -> list[Row]:
    """Return a row for each rival."""
    ours = cost(programs["unspool"])
    rows = []
    for rival in _RIVALS:
        theirs, why = attempt(lambda rival=rival: cost(programs[rival]))
        rows.append(Row(words, ours, _NAMES[rival], theirs, unit, note=why))
    return rows


def _budgeted(rows: list[Row], best: Callable[[list[float]], float], budget: Budget) -> list[Row]:
    """Return the rows, the fastest rival's with the budget."""
    found = [row.theirs for row in rows if row.theirs is not None]
    return [row._replace(budget=budget if found and row.theirs == best(found) else None) for row in rows]


def _rate(setting: Setting, path: Path, program: _OfEvents) -> float:
    _write(path, _EVENTS)
    return _EVENTS / _seconds(setting, program(str(path), _EVENTS))


def _executed(path: Path, program: _OfEvents) -> float:
    """Return the instructions that a program executes for one more event, in each of the times that it decodes all."""
    totals = []
    for n in (1, _COUNTED):
        _write(path, n)
        totals.append(instructions(program(str(path), n)))
    return (totals[1] - totals[0]) / (_COUNTED - 1) / _TIMES


def _write(path: Path, n: int) -> None:
    path.write_bytes(b"".join(server.events("chat", n)[:n]))


def _seconds(setting: Setting, program: Program) -> float:
    return min(float(run(program).output) for _ in range(setting.rounds(3)))
