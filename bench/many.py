"""A thousand answers at once in one process, at the pace of a model: what each event costs, and whether any stream is left behind.

An event costs the CPU of the whole process for long answers less its CPU for answers of one event, divided by their number: connecting
is not counted. At this pace nearly every event is a network read of its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from bench.process import Program, cheapest, run
from bench.report import Budget, Row
from bench.setting import Setting, attempt

_STREAMS = 1_000
# Events a second of each stream: together what one core bears, with some to spare.
_RATE = 10
# The SDK cannot bear a fifth of that on one core.
_FEWER = 100
_EVENTS = 100
# What separates the fewest and the most events that any stream has halfway: a second's worth, for they do not all begin at once.
_SPREAD = 2 * _RATE


def measure(setting: Setting) -> Iterator[Row]:
    """Yield the cost of an event beside the SDK's, at its number of streams and at ours, and then what became of the streams."""
    n = 30 if setting.quick else _EVENTS
    rounds = setting.rounds(3)

    def unspool(streams: int, *journal: str) -> Callable[[int], Program]:
        return lambda n: setting.ours("many.py", str(streams), _model(n), str(n), *journal)

    def sdk(n: int) -> Program:
        return setting.rival("openai", "sdk_many.py", str(_FEWER), _model(n), str(n))

    theirs, why = attempt(lambda: _each(sdk, _FEWER, n, rounds))
    name = f"AsyncOpenAI, {_FEWER} streams"
    for streams, journal in ((_FEWER, ()), (_STREAMS, ()), (_STREAMS, ("journal",))):
        ours = _each(unspool(streams, *journal), streams, n, rounds)
        words = f"{streams:,} streams, {'a journal for each' if journal else 'no journals'}"
        is_bounded = streams == _STREAMS and not journal
        yield Row(words, ours, name, theirs, "us", Budget("ratio", 1 / 8) if is_bounded else None, why)

    found = json.loads(run(unspool(_STREAMS)(n)).output)
    fewest, most = found["halfway"]
    note = f"halfway the streams had between {fewest} and {most} of {n} events; in the end all of them"
    yield Row("1,000 streams, spread halfway", most - fewest, unit="", budget=Budget("unspool", _SPREAD), note=note)
    yield Row("1,000 streams, descriptors left open", found["left_open"], unit="", budget=Budget("unspool", 0))


def _each(program: Callable[[int], Program], streams: int, n: int, rounds: int) -> float:
    """Return the CPU seconds of one more event."""
    ones, alls = cheapest([program(1), program(n)], rounds)
    return (alls - ones) / (streams * (n - 1))


def _model(n: int) -> str:
    return f"n={n},rate={_RATE}"
