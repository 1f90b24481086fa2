"""``unspool bench``: a load test of a server, and of how much of what it measures is its own doing."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.cli.access import ask_simulator, lacks_key, missing_key
from unspool.cli.options import Option, scan
from unspool.cli.options.flags import SERVER_OPTIONS, TIME_OPTIONS, count, number, positive, seconds
from unspool.cli.signals import Signals
from unspool.client.answer import Limits
from unspool.client.exchange import Exchange, build_body
from unspool.client.load import Load, Measures, Schedule
from unspool.config import ConfigError
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.client.load.percentiles import Distribution
    from unspool.config.endpoint import Endpoint

_CONCURRENCY = 10
_REQUESTS = 100
# For an open loop, which does not know how long its requests take.
_DURATION = 10.0
_PROMPT = "Tell me a story in 100 tokens."
# Descriptors that are not streams: standard ones, the selector, the signals' pipe, libcurl's own.
_OTHER_DESCRIPTORS = 64
_ROWS = 10
_TOLD_ERRORS = 5


def _rate(text: str) -> float:
    rate = number(text)
    if rate <= 0:
        raise ValueError(f"{text} is not above zero")
    return rate


_LOAD = "how much is asked"
_ASKED = "what is asked"
_LIMITS = "limits"

OPTIONS = (
    Option(
        ("-n", "--requests"),
        "value",
        f"the requests to send (default: {_REQUESTS}, or as many as fit in --duration)",
        group=_LOAD,
        metavar="N",
        type=positive,
    ),
    Option(
        ("-c", "--concurrency"),
        "value",
        f"the streams at a time (default: {_CONCURRENCY}; with --rate no bound)",
        group=_LOAD,
        metavar="N",
        type=positive,
    ),
    Option(
        ("-d", "--duration"),
        "value",
        "send requests for so long, and wait for those under way",
        group=_LOAD,
        metavar="TIME",
        type=seconds,
    ),
    Option(
        ("--rate",),
        "value",
        "send so many requests a second whatever the server does (an open loop), and measure each from when it was due",
        group=_LOAD,
        metavar="N",
        type=_rate,
    ),
    Option(("--poisson",), "flag", "with --rate: at random, as independent people come", group=_LOAD),
    Option(
        ("--warm-up",),
        "value",
        "requests that are sent before and not measured (default: 0)",
        group=_LOAD,
        metavar="N",
        type=count,
        default=0,
    ),
    Option(("-m", "--model"), "value", "the model", group=_ASKED, metavar="MODEL"),
    Option(
        ("-p", "--prompt"),
        "append",
        f"what to ask; several are asked in turn (default: {_PROMPT!r})",
        group=_ASKED,
        metavar="TEXT",
    ),
    Option(("--prompts",), "value", "a file with a prompt in each line", group=_ASKED, metavar="FILE"),
    Option(("-s", "--system"), "value", "the instruction that precedes the prompt", group=_ASKED, metavar="TEXT"),
    Option(
        ("--max-tokens",), "value", "the most tokens each answer may have", group=_ASKED, metavar="N", type=positive
    ),
    Option(
        ("-o", "--option"),
        "pair",
        "any other field of the request, such as -o temperature 0; the value is JSON, or else text",
        group=_ASKED,
        metavar=("KEY", "VALUE"),
        dest="options",
    ),
    *SERVER_OPTIONS,
    Option(("--json",), "flag", "print all that was measured as one JSON object", group="what comes out"),
    Option(("-q", "--quiet"), "flag", "say nothing on stderr but errors", group="what comes out"),
    *TIME_OPTIONS,
    Option(
        ("--retries",),
        "value",
        "further attempts before an answer begins (default: 0, for a retry hides what is measured)",
        group=_LIMITS,
        metavar="N",
        type=count,
        default=0,
    ),
)

EXAMPLES = """\
  unspool bench --sim -c 100 -n 1000
  unspool bench http://127.0.0.1:8000/v1 -m llama -c 50 -n 500 --max-tokens 200
  unspool bench -P groq -m llama-3.3-70b --rate 5 --poisson --duration 1m
  unspool bench http://127.0.0.1:8000/v1 -m llama --json > today.json\
"""


class UsageError(Exception):
    """The command line asks for something that cannot be; the message says what to do."""


def run(name: str, argv: list[str]) -> int:
    """Measure, print it, and return the exit code: 0 when every answer came whole."""
    arguments = scan(OPTIONS, argv, "url")
    if arguments is None or len(arguments["url"]) > 1:
        from unspool.cli.options.parser import build, read

        parser = build(
            "unspool bench",
            OPTIONS,
            rest="url",
            metavar="URL",
            rest_help="the server's base URL, the same as --base-url",
            examples=EXAMPLES,
            description="Put a load on a server and measure its streams. Every request is paid for where requests cost money.",
        )
        arguments = read(parser, argv)
        if len(arguments["url"]) > 1:
            parser.error("it takes one URL; a prompt goes after -p")
    notes = Notes(Output(2), quiet=arguments["quiet"])
    try:
        if arguments["url"]:
            if arguments["base_url"] or arguments["sim"]:
                raise UsageError("give the server once: as URL, with --base-url, or as --sim")
            arguments["base_url"] = arguments["url"][0]
        if not arguments["sim"]:
            return _bench(arguments, notes, None)
        from unspool.server.apart import SimulatorApart

        _raise_descriptors()  # before the simulator inherits them
        with SimulatorApart() as simulator:
            ask_simulator(arguments, simulator.url)
            return _bench(arguments, notes, simulator)
    except ConfigError as error:
        notes.line(str(error), always=True)
        return outcome.EXIT_CODES[outcome.ERROR]
    except UsageError as error:
        notes.line(str(error), always=True)
        return outcome.USAGE_EXIT_CODE


def _bench(arguments: dict[str, Any], notes: Notes, simulator: Any) -> int:
    from unspool.config.settings import resolve

    places = {name: arguments[name] for name in ("profile", "base_url", "key", "model", "api")}
    endpoint = resolve(**places)
    if not endpoint.model:
        raise UsageError(
            f"name a model with -m, for {endpoint.name} has no default one; unspool models lists what it has"
        )
    schedule = _schedule(arguments)
    prompts = _prompts(arguments, endpoint)
    if lacks_key(endpoint):
        notes.line(missing_key(endpoint), always=True)
        return outcome.EXIT_CODES[outcome.UNAUTHORIZED]
    for warning in endpoint.warnings:
        notes.line(warning)
    room = _raise_descriptors() - _OTHER_DESCRIPTORS
    if schedule.concurrency is not None and schedule.concurrency > room:
        raise UsageError(f"{schedule.concurrency} streams need more descriptors than there are; raise ulimit -Hn")
    if schedule.concurrency is None:
        schedule.concurrency = room

    def make(number: int) -> Exchange:
        prompt = prompts[number % len(prompts)]
        return Exchange(endpoint, prompt, journal=None, retries=arguments["retries"], use_proxy=simulator is None)

    limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
    stdout = Output(1)
    with Signals(stdout, notes.output) as signals:

        def tick(measures: Measures) -> bool:
            notes.passing(_progress(measures, schedule))
            return signals.number != 0

        warmed = 0
        if arguments["warm_up"]:
            notes.passing("unspool: warming up")
            at_once = min(arguments["warm_up"], schedule.concurrency)
            warm_up = Schedule(concurrency=at_once, requests=arguments["warm_up"])
            warm = Load(make, warm_up, limits, tick=lambda _: signals.number != 0, watch=signals.fd).run()
            warmed = warm.events
        begun = _now()
        load = Load(make, schedule, limits, tick=tick, watch=signals.fd)
        measures = load.run() if not signals.number else load.measures
        notes.clear()
        if simulator is not None:
            simulator.stop()
            # Its cost is that of the warm-up too.
            simulator.cpu *= measures.events / max(measures.events + warmed, 1)
        if arguments["json"]:
            import json

            shown = json.dumps(_as_json(arguments, endpoint, schedule, measures, begun, simulator), ensure_ascii=False)
            stdout.write(stdout.safe(shown + "\n"))
        else:
            stdout.write(_report(stdout, endpoint, schedule, measures, simulator))
        for warning in _warnings(measures):
            notes.line(warning, always=True)
    return _exit_code(measures, signals.number)


def _schedule(arguments: dict[str, Any]) -> Schedule:
    rate, requests, duration = arguments["rate"], arguments["requests"], arguments["duration"]
    if arguments["poisson"] and rate is None:
        raise UsageError("--poisson needs --rate: a closed loop sends when an answer has ended")
    if requests is None and duration is None:
        requests, duration = (None, _DURATION) if rate is not None else (_REQUESTS, None)
    concurrency = arguments["concurrency"]
    if concurrency is None and rate is None:
        concurrency = _CONCURRENCY
    return Schedule(
        concurrency=concurrency, requests=requests, duration=duration, rate=rate, poisson=arguments["poisson"]
    )


def _prompts(arguments: dict[str, Any], endpoint: Endpoint) -> list[Prompt]:
    texts = list(arguments["prompt"] or ())
    if arguments["prompts"]:
        try:
            with open(arguments["prompts"], encoding="utf-8", errors="replace") as file:
                texts += [line.strip() for line in file if line.strip()]
        except OSError as error:
            raise UsageError(f"{arguments['prompts']} cannot be read: {error.strerror}") from error
        if not texts:
            raise UsageError(f"there is no prompt in {arguments['prompts']}")
    prompts = [
        Prompt(
            text,
            endpoint.model or "",
            system=arguments["system"],
            max_tokens=arguments["max_tokens"],
            options={key: _value(value) for key, value in arguments["options"] or ()},
        )
        for text in texts or [_PROMPT]
    ]
    try:
        for prompt in prompts:
            build_body(endpoint, prompt, endpoint.api)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return prompts


def _value(text: str) -> Any:
    """The value of ``-o KEY VALUE``: JSON, or else the text itself."""
    import json

    try:
        return json.loads(text)
    except ValueError:
        return text


def _raise_descriptors() -> int:
    """Allow as many open files as this process may allow itself, and return how many that is."""
    try:
        import resource
    except ImportError:  # Windows, whose limit is another and higher
        return 1 << 16
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1 << 16)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (OSError, ValueError):  # macOS has a lower limit than it says
        return soft
    return hard


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _exit_code(measures: Measures, signal: int) -> int:
    """0 when all came whole; the code of the outcome when all failures had the same one, else 1."""
    if signal:
        return 128 + signal
    failed = [one for one in measures.outcomes if one not in (outcome.COMPLETE, outcome.LENGTH)]
    if not failed:
        return 0
    return outcome.EXIT_CODES[failed[0]] if len(failed) == 1 else 1


# What is shown


def _progress(measures: Measures, schedule: Schedule) -> str:
    of = f" of {schedule.requests:,}" if schedule.requests is not None else ""
    failed = f", {measures.failed:,} failed" if measures.failed else ""
    return (
        f"unspool: {measures.elapsed:.0f} s: {measures.ended:,}{of} ended{failed}, {measures.under_way:,} under way,"
        f" {measures.events / measures.elapsed if measures.elapsed else 0:,.0f} events a second"
    )


def _report(stdout: Output, endpoint: Endpoint, schedule: Schedule, measures: Measures, simulator: Any) -> str:
    from unspool.terminal.bars import bars, has_blocks
    from unspool.terminal.safety import one_line

    elapsed = measures.elapsed or 1e-9
    lines = [
        f"{one_line(endpoint.base_url)}, {endpoint.api}, {one_line(endpoint.model or '')}: {_described(schedule)}; {measures.elapsed:.1f} s",
        "",
        _row(
            "answers",
            f"{measures.whole:,} whole, {measures.failed:,} failed",
            f"{measures.whole / elapsed:,.1f} a second",
        ),
        *(
            [_row("", f"{measures.unfinished:,} given up", "as the test was ended early")]
            if measures.unfinished
            else []
        ),
        _row("streams", f"{measures.most_under_way:,} at once at most", ""),
        _row(
            "tokens",
            f"{measures.tokens:,}" + ("" if measures.tokens_are_counted else " pieces of text"),
            f"{measures.tokens / elapsed:,.0f} a second; {measures.rates.percentile(50):,.1f} in one stream (p50)",
        ),
    ]
    for (ended, message), times_met in measures.messages.most_common(_TOLD_ERRORS):
        lines.append(_row(ended, f"{times_met:,}", one_line(message)))
    lines += ["", f"{'':<16}" + "".join(f"{head:>10}" for head in ("p50", "p90", "p95", "p99", "max", "mean"))]
    told = [("first token", measures.ttft), ("between tokens", measures.gaps), ("for each token", measures.per_token)]
    told.append(("whole answer", measures.total))
    if schedule.rate is not None:
        told.append(("sent late by", measures.late))
    for name, times in told:
        values = [*(times.percentile(one) for one in (50, 90, 95, 99)), times.most, times.mean]
        lines.append(f"{name:<16}" + "".join(f"{_time(value) if times.count else '-':>10}" for value in values))
    columns = _columns(stdout)
    for name, times in (("first token", measures.ttft), ("between tokens", measures.gaps)):
        if times.count:
            lines += ["", name, *bars(_histogram(times), columns, ascii=not has_blocks(os.environ))]
    lag = measures.lag
    each = f", {measures.cpu / measures.events * 1e6:.0f} µs for each event" if measures.events else ""
    lines += [
        "",
        f"unspool itself took {measures.cpu_share:.0%} of a core{each}; an event waited"
        f" {_time(lag.percentile(50))} for it (p50), {_time(lag.percentile(99))} (p99)",
    ]
    if simulator is not None and measures.events:
        lines.append(
            f"the simulator took {simulator.cpu / elapsed:.0%} of a core, {simulator.cpu / measures.events * 1e6:.0f} µs for each event"
        )
    return stdout.safe("".join(line + "\n" for line in lines))


def _row(name: str, first: str, second: str) -> str:
    return f"{name:<16}{first:<28}{second}".rstrip()


def _described(schedule: Schedule) -> str:
    if schedule.rate is None:
        return f"{schedule.concurrency:,} at a time (closed loop: a slow server is asked less)"
    how = "at random" if schedule.poisson else "evenly"
    return f"{schedule.rate:g} a second {how} (open loop: measured from when each was due)"


def _warnings(measures: Measures) -> list[str]:
    if not measures.bottleneck:
        return []
    gaps, first = measures.share_of(measures.gaps), measures.share_of(measures.ttft)
    share = f"{gaps:.0%} of the time between tokens and {first:.0%} of that to the first one (p50) was waiting here"
    if measures.bottleneck == "cpu":
        took = f"it took {measures.cpu_share:.0%} of its core"
        return [f"unspool itself was the bottleneck: {took}, and {share}; use fewer streams, or several machines"]
    return [f"unspool was kept from its work by what else this machine does: {share}; measure on one with less to do"]


def _histogram(times: Distribution) -> list[tuple[str, int]]:
    """Rows of equal width up to the 99th percentile, and one for what is above."""
    low, high = times.least, times.percentile(99)
    # No row is narrower than what is known of a time.
    rows_wanted = min(int((high - low) / (0.01 * high)), _ROWS) if high else 0
    if not rows_wanted:
        return [(_time(high), times.count)]
    step = (high - low) / rows_wanted
    edges = [low + step * place for place in range(rows_wanted + 1)]
    above = [times.count, *(times.above(edge) for edge in edges[1:])]
    rows = [
        (f"{_time(start)} to {_time(end)}", more - less)
        for start, end, more, less in zip(edges, edges[1:], above, above[1:], strict=False)
    ]
    return [*rows, (f"{_time(high)} to {_time(times.most)}", above[-1])] if above[-1] else rows


def _time(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1e3:.{1 if seconds < 0.1 else 0}f} ms"
    return f"{seconds:.{2 if seconds < 100 else 0}f} s"


def _columns(stdout: Output) -> int:
    from unspool.terminal.abilities import columns_of

    try:
        return min(os.get_terminal_size(stdout.fd).columns or 80, 120) - 1
    except OSError:
        return min(columns_of(os.environ), 120) - 1


def _as_json(
    arguments: dict[str, Any], endpoint: Endpoint, schedule: Schedule, measures: Measures, begun: str, simulator: Any
) -> dict[str, Any]:
    import platform

    from unspool import __version__
    from unspool.client.http.transport import pycurl

    elapsed = measures.elapsed or 1e-9
    told: dict[str, Any] = {
        "object": "unspool.bench",
        "version": 1,
        "time": begun,
        "versions": {
            "unspool": __version__,
            "libcurl": pycurl.version,
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "target": {
            "base_url": endpoint.base_url,
            "profile": endpoint.name,
            "api": endpoint.api,
            "model": endpoint.model,
            "simulator": simulator is not None,
        },
        "schedule": {
            "loop": "closed" if schedule.rate is None else "open",
            "concurrency": schedule.concurrency,
            "requests": schedule.requests,
            "duration": schedule.duration,
            "rate": schedule.rate,
            "poisson": schedule.poisson,
            "warm_up": arguments["warm_up"],
            "retries": arguments["retries"],
            "max_tokens": arguments["max_tokens"],
        },
        "elapsed": round(measures.elapsed, 6),
        "requests": {
            "started": measures.started,
            "ended": measures.ended,
            "whole": measures.whole,
            "failed": measures.failed,
            "unfinished": measures.unfinished,
            "retries": measures.retries,
            "most_at_once": measures.most_under_way,
        },
        "outcomes": dict(measures.outcomes),
        "errors": [
            {"outcome": ended, "message": message, "count": times}
            for (ended, message), times in measures.messages.most_common()
        ],
        "tokens": {"count": measures.tokens, "counted_by_server": measures.tokens_are_counted},
        "events": measures.events,
        "per_second": {
            "requests": round(measures.whole / elapsed, 3),
            "tokens": round(measures.tokens / elapsed, 3),
            "events": round(measures.events / elapsed, 3),
        },
        "ttft": measures.ttft.as_json(),
        "inter_token": measures.gaps.as_json(),
        "per_token": measures.per_token.as_json(),
        "total": measures.total.as_json(),
        "late": measures.late.as_json(),
        "stream_tokens_per_second": measures.rates.as_json(),
        "client": {
            "cpu": round(measures.cpu, 6),
            "cpu_share": round(measures.cpu_share, 4),
            "cpu_per_event": round(measures.cpu / measures.events, 9) if measures.events else None,
            "lag": measures.lag.as_json(),
            "share_of_ttft": round(measures.share_of(measures.ttft), 4),
            "share_of_inter_token": round(measures.share_of(measures.gaps), 4),
            "bottleneck": measures.bottleneck or None,
        },
    }
    if simulator is not None:
        each = round(simulator.cpu / measures.events, 9) if measures.events else None
        told["simulator"] = {"cpu": round(simulator.cpu, 6), "cpu_per_event": each}
    return told
