"""The event stream decoders alone: events decoded in a second of CPU time, and how an event of many megabytes is borne."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bench import server
from bench.process import Program, run
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_EVENTS = 20_000
# What a decoder is called in rivals/decoders.py, and where it is installed.
_RIVALS = {"sseclient": "tutorial", "httpx_sse": "httpx-sse", "openai": "openai"}
_NAMES = {"sseclient": "sseclient-py", "httpx_sse": "httpx-sse", "openai": "openai SDK"}
# curl and httpx hand out at most this much at once.
_CHUNK = 16 * 1024
_SIZES = (4, 16, 64)
_MB = 1024 * 1024


def measure(setting: Setting) -> Iterator[Row]:
    """Yield a row for each rival at one event a chunk and at large chunks, then those for one large event."""
    path = setting.home / "events"
    path.write_bytes(b"".join(server.events("chat", _EVENTS)))
    count = len(server.events("chat", _EVENTS))
    for words, size in {"an event in each chunk": 0, "chunks of 16 KB": _CHUNK}.items():
        arguments = (str(path), str(size), str(count))
        ours = count / _seconds(setting, setting.ours("../rivals/decoders.py", "unspool", *arguments))
        rows = []
        for rival, home in _RIVALS.items():
            theirs, why = attempt(
                lambda rival=rival, home=home, arguments=arguments: (
                    count / _seconds(setting, setting.rival(home, "decoders.py", rival, *arguments))
                )
            )
            rows.append(Row(words, ours, _NAMES[rival], theirs, "events/s", note=why))
        fastest = max((row.theirs or 0.0 for row in rows), default=0.0)
        for row in rows:
            yield row._replace(budget=Budget("ratio", 3, at_least=True) if row.theirs == fastest else None)

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


def _seconds(setting: Setting, program: Program) -> float:
    return min(float(run(program).output) for _ in range(setting.rounds(3)))
