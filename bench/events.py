"""What one more event costs: from the socket to the pipe, journal included, one event in each HTTP chunk.

That is the cost of the process for many events less its cost for one, divided by their number. Where valgrind is installed the budgets
are decided by instructions, which are the same on a busy machine as on an idle one; CPU time, the kernel's included, stands beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.process import Program, can_count, cheapest, instructions
from bench.report import Budget, Row
from bench.server import ENDPOINTS, events, text
from bench.setting import Setting, attempt

_OURS = 100_000
# The rivals are slow enough for fewer to tell.
_THEIRS = 20_000
# Under valgrind everything takes fifty times as long.
_COUNTED_OURS, _COUNTED_THEIRS = 20_000, 1_000
# The budgets: what an event may cost, as a share of what it costs the rival.
_OF_SDK, _OF_TUTORIAL, _LIBRARY_OF_SDK, _ASYNC_OF_SYNC = 1 / 40, 1 / 10, 1 / 60, 1.25
_STEPS = {
    "network": "take it from the network",
    "events": "decode the event stream",
    "deltas": "decode what the events say",
    "journal": "keep them in the journal",
    "print": "print the text",
}


def measure(setting: Setting) -> Iterator[Row]:
    """Yield a row for each endpoint from the command line, then for the library, then for the steps of the way."""
    many = setting.count(_OURS)
    sdk, no_sdk = attempt(lambda: each(setting, lambda n: _sdk_chat(setting, n), _THEIRS))
    tutorial, no_tutorial = attempt(lambda: each(setting, lambda n: _tutorial(setting, n), _THEIRS))
    counts = can_count()

    def timed(limit: float) -> Budget | None:
        return None if counts else Budget("ratio", limit)

    command = {api: each(setting, lambda n, api=api: setting.command(api=api, events=n), many) for api in ENDPOINTS}
    scaled = f"{many:,} events; rivals: {_THEIRS:,} events, the cost for each of which stays the same"
    yield Row(
        "chat",
        command["chat"],
        "openai SDK, bare loop",
        sdk,
        "us",
        timed(_OF_SDK),
        no_sdk or scaled,
    )
    yield Row(
        "completions",
        command["completions"],
        "the tutorial's script",
        tutorial,
        "us",
        timed(_OF_TUTORIAL),
        no_tutorial,
    )
    responses, why = attempt(lambda: each(setting, lambda n: _sdk_responses(setting, n), _THEIRS))
    yield Row("responses", command["responses"], "openai SDK, bare loop", responses, "us", note=why)
    unlike = each(setting, lambda n: setting.command(events=n, wish="unlike"), many)
    yield Row("chat, events with nothing in common", unlike, "openai SDK, bare loop", sdk, "us", note=no_sdk)

    counted = {"chat": ("openai SDK, bare loop", _sdk_chat), "completions": ("the tutorial's script", _tutorial)}
    for api, (rival, program) in counted.items():
        ours, theirs, why = _whole(setting, api, many, program)
        yield Row(f"{api}, {many:,} events and the start", ours, rival, theirs, "s", note=why)

    sdk_counted: float | None = None
    for api, (rival, program) in counted.items():
        ours, why = attempt(lambda api=api: each_executed(lambda n: setting.command(api=api, events=n), _COUNTED_OURS))
        theirs, no_rival = attempt(
            lambda program=program: each_executed(lambda n: program(setting, n), _COUNTED_THEIRS)
        )
        sdk_counted = theirs if api == "chat" else sdk_counted
        limit = _OF_SDK if api == "chat" else _OF_TUTORIAL
        yield Row(f"{api}, instructions", ours, rival, theirs, "kI", Budget("ratio", limit), why or no_rival)

    stream = each(setting, lambda n: setting.ours("stream.py", f"n={n}", str(len(text(n)))), many)
    astream = each(setting, lambda n: setting.ours("astream.py", f"n={n}", str(len(text(n)))), many)
    yield Row("unspool.stream, no journal", stream, "openai SDK, bare loop", sdk, "us", timed(_LIBRARY_OF_SDK), no_sdk)
    yield Row("unspool.astream, no journal", astream, "unspool.stream", stream, "us", timed(_ASYNC_OF_SYNC))
    executed = {
        script: attempt(
            lambda script=script: each_executed(
                lambda n: setting.ours(script, f"n={n}", str(len(text(n)))), _COUNTED_OURS
            )
        )
        for script in ("stream.py", "astream.py")
    }
    (one, why), (other, _) = executed["stream.py"], executed["astream.py"]
    limit = Budget("ratio", _LIBRARY_OF_SDK)
    yield Row("unspool.stream, instructions", one, "openai SDK, bare loop", sdk_counted, "kI", limit, why or no_sdk)
    limit = Budget("ratio", _ASYNC_OF_SYNC)
    yield Row("unspool.astream, instructions", other, "unspool.stream", one, "kI", limit, why)

    curl, why = attempt(lambda: each(setting, lambda n: setting.curl(f"n={n}"), many))
    network = each(setting, lambda n: _step(setting, "network", n), many)
    yield Row("the network alone", network, "curl", curl, "us", note=why)
    # What the time is made of, counted: what a step costs is what it adds to those before it.
    before = 0.0
    for step, words in _STEPS.items():
        until, why = attempt(lambda step=step: each_executed(lambda n: _step(setting, step, n), _COUNTED_OURS))
        if until is None:
            yield Row(f"  {words}", None, unit="kI", note=why)
            return
        yield Row(f"  {words}", until - before, "all so far", until, "kI")
        before = until
    whole, _ = attempt(lambda: each_executed(lambda n: setting.command(events=n), _COUNTED_OURS))
    yield Row("  the rest of the command", whole and whole - before, "all so far", whole, "kI")


def _step(setting: Setting, step: str, n: int) -> Program:
    return setting.ours("steps.py", step, f"n={n}", f"{setting.url}/v1", str(setting.home / "steps"))


def _whole(
    setting: Setting, api: str, many: int, rival: Callable[[Setting, int], Program]
) -> tuple[float, float | None, str]:
    """Return the CPU seconds of a whole process with so many events, the rival's, and why there is none."""
    ours = setting.command(api=api, events=many)
    both, why = attempt(lambda: cheapest([ours, rival(setting, many)], setting.rounds(3)))
    return (*both, why) if both is not None else (cheapest([ours], setting.rounds(3))[0], None, why)


def each_executed(program: Callable[[int], Program], many: int) -> float:
    """Return the instructions executed for one more event. Raises Unmeasurable."""
    return (instructions(program(many)) - instructions(program(1))) / (many - 1)


def each(setting: Setting, program: Callable[[int], Program], many: int) -> float:
    """Return the CPU seconds of one more event."""
    ones, alls = cheapest([program(1), program(many)], setting.rounds(5))
    return (alls - ones) / (many - 1)


def _tutorial(setting: Setting, n: int) -> Program:
    return setting.rival("tutorial", "tutorial.py", f"n={n}")._replace(expected=text(n))


def _sdk_chat(setting: Setting, n: int) -> Program:
    # It gives out every event but the end mark, which it takes for itself.
    return setting.rival("openai", "sdk_chat.py", f"n={n}", str(len(events("chat", n)) - 1))


def _sdk_responses(setting: Setting, n: int) -> Program:
    return setting.rival("openai", "sdk_responses.py", f"n={n}", str(len(events("responses", n))))
