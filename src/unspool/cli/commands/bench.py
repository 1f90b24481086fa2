"""``unspool bench``: a load test of a server, and of how much of what it measures is its own doing."""

from __future__ import annotations

from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.cli.access import ask_simulator, check_model, lacks_key, missing_key, whom_to_ask
from unspool.cli.formats.measures import as_json, progress, report, warnings
from unspool.cli.options import Option, UsageError, scan
from unspool.cli.options.flags import SERVER_OPTIONS, TIME_OPTIONS, count, number, positive, seconds, value_of
from unspool.cli.signals import Signals
from unspool.client.answer import Limits
from unspool.client.exchange import Exchange, build_body
from unspool.client.load import Load, Measures, Schedule
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.config.target import Target

_CONCURRENCY = 10
_REQUESTS = 100
# For an open loop, which does not know how long its requests take.
_DURATION = 10.0
_PROMPT = "Tell me a story in 100 tokens."
# Descriptors that are not streams: standard ones, the selector, the signals' pipe, libcurl's own.
_OTHER_DESCRIPTORS = 64


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
    if arguments["url"]:
        if arguments["base_url"] or arguments["sim"]:
            raise UsageError("give the server once: as URL, with --base-url, or as --sim")
        arguments["base_url"] = arguments["url"][0]
    if not arguments["sim"]:
        return _bench(arguments, notes, None)
    from unspool.sim.subprocess_simulator import SubprocessSimulator

    _raise_descriptors()  # before the simulator inherits them
    with SubprocessSimulator() as simulator:
        ask_simulator(arguments, simulator.url)
        return _bench(arguments, notes, simulator)


def _bench(arguments: dict[str, Any], notes: Notes, simulator: Any) -> int:
    target = whom_to_ask(arguments)
    check_model(target)
    schedule = _schedule(arguments)
    prompts = _prompts(arguments, target)
    if lacks_key(target):
        notes.line(missing_key(target), always=True)
        return outcome.EXIT_CODES[outcome.UNAUTHORIZED]
    for warning in target.warnings:
        notes.line(warning)
    room = _raise_descriptors() - _OTHER_DESCRIPTORS
    if schedule.concurrency is not None and schedule.concurrency > room:
        raise UsageError(f"{schedule.concurrency} streams need more descriptors than there are; raise ulimit -Hn")
    if schedule.concurrency is None:
        schedule.concurrency = room

    def make(number: int) -> Exchange:
        prompt = prompts[number % len(prompts)]
        return Exchange(target, prompt, journal=None, retries=arguments["retries"], use_proxy=simulator is None)

    limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
    stdout = Output(1)
    with Signals(stdout, notes.output) as signals:

        def tick(measures: Measures) -> bool:
            notes.passing(progress(measures, schedule))
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

            shown = json.dumps(as_json(arguments, target, schedule, measures, begun, simulator), ensure_ascii=False)
            stdout.write(stdout.safe(shown + "\n"))
        else:
            stdout.write(report(stdout, target, schedule, measures, simulator))
        for warning in warnings(measures):
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


def _prompts(arguments: dict[str, Any], target: Target) -> list[Prompt]:
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
            target.model or "",
            system=arguments["system"],
            max_tokens=arguments["max_tokens"],
            options={key: value_of(value) for key, value in arguments["options"] or ()},
        )
        for text in texts or [_PROMPT]
    ]
    try:
        for prompt in prompts:
            build_body(target, prompt, target.api)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return prompts


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
