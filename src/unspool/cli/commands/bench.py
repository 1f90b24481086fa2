"""``unspool bench``: a load test of a server, which also reports how much of each time unspool itself took."""

from __future__ import annotations

from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.cli.access import check, whom_to_ask, with_model
from unspool.cli.formats.measures import as_json, progress, report, warnings
from unspool.cli.options import UsageError, value_of
from unspool.cli.options.batch import CONCURRENCY, PROMPT, REQUESTS
from unspool.cli.signals import Signals
from unspool.client.exchange import Exchange, build_body
from unspool.client.load import Load, Measures, Schedule
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.batch import BenchOptions
    from unspool.config.target import Target
    from unspool.sim.subprocess_simulator import SubprocessSimulator

# For an open loop, which does not know how long its requests take.
_DURATION = 10.0
# Descriptors that are not streams: standard ones, the selector, the signals' pipe, libcurl's own.
_OTHER_DESCRIPTORS = 64


def run(options: BenchOptions) -> int:
    """Measure, print the results, and return the exit code: 0 when every answer is complete."""
    if options.url:
        if options.base_url or options.sim:
            raise UsageError("give the server once: as URL, with --base-url, or as --sim")
        options = options.replace(base_url=options.url)
    if not options.sim:
        return _bench(options, None)
    from unspool.sim.subprocess_simulator import SubprocessSimulator

    _raise_descriptors()  # before the simulator inherits them
    with SubprocessSimulator() as simulator:
        return _bench(options.replace(base_url=simulator.url, profile=None), simulator)


def _bench(options: BenchOptions, simulator: SubprocessSimulator | None) -> int:
    notes = Notes(Output(2), quiet=options.quiet)
    target = whom_to_ask(options, options.model)
    target = with_model(target, use_proxy=simulator is None)
    schedule = _schedule(options)
    prompts = _prompts(options, target)
    check(target, notes)
    room = _raise_descriptors() - _OTHER_DESCRIPTORS
    if schedule.concurrency is not None and schedule.concurrency > room:
        raise UsageError(f"{schedule.concurrency} streams need more open files than the limit allows; raise ulimit -Hn")
    if schedule.concurrency is None:
        schedule.concurrency = room

    def make(number: int) -> Exchange:
        prompt = prompts[number % len(prompts)]
        return Exchange(target, prompt, journal=None, retries=options.retries, use_proxy=simulator is None)

    stdout = Output(1)
    with Signals(stdout, notes.output) as signals:

        def tick(measures: Measures) -> bool:
            notes.passing(progress(measures, schedule))
            return signals.number != 0

        warmed = 0
        if options.warm_up:
            notes.passing("unspool: warming up")
            at_once = min(options.warm_up, schedule.concurrency)
            warm_up = Schedule(concurrency=at_once, requests=options.warm_up)
            warm = Load(
                make, warm_up, options.limits(target), tick=lambda _: signals.number != 0, watch=signals.fd
            ).run()
            warmed = warm.events
        begun = _now()
        load = Load(make, schedule, options.limits(target), tick=tick, watch=signals.fd)
        measures = load.run() if not signals.number else load.measures
        notes.clear()
        if simulator is not None:
            simulator.stop()
            # Its cost is that of the warm-up too.
            simulator.cpu *= measures.events / max(measures.events + warmed, 1)
        if options.json:
            import json

            shown = json.dumps(as_json(options, target, schedule, measures, begun, simulator), ensure_ascii=False)
            stdout.write(stdout.safe(shown + "\n"))
        else:
            stdout.write(report(stdout, target, schedule, measures, simulator))
        for warning in warnings(measures):
            notes.line(warning, always=True)
    return _exit_code(measures, signals.number)


def _schedule(options: BenchOptions) -> Schedule:
    rate, requests, duration = options.rate, options.requests, options.duration
    if options.poisson and rate is None:
        raise UsageError("--poisson needs --rate: a closed loop sends when an answer has ended")
    if requests is None and duration is None:
        requests, duration = (None, _DURATION) if rate is not None else (REQUESTS, None)
    concurrency = options.concurrency
    if concurrency is None and rate is None:
        concurrency = CONCURRENCY
    return Schedule(concurrency=concurrency, requests=requests, duration=duration, rate=rate, poisson=options.poisson)


def _prompts(options: BenchOptions, target: Target) -> list[Prompt]:
    texts = list(options.prompts)
    if options.prompts_file:
        try:
            with open(options.prompts_file, encoding="utf-8", errors="replace") as file:
                texts += [line.strip() for line in file if line.strip()]
        except OSError as error:
            raise UsageError(f"{options.prompts_file} cannot be read: {error.strerror}") from error
        if not texts:
            raise UsageError(f"there is no prompt in {options.prompts_file}")
    prompts = [
        Prompt(
            text,
            target.model or "",
            system=options.system,
            max_tokens=options.max_tokens,
            options={key: value_of(value) for key, value in options.options},
        )
        for text in texts or [PROMPT]
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
    """0 when all are complete; the code of the outcome when all failures had the same one, else 1."""
    if signal:
        return 128 + signal
    failed = [one for one in measures.outcomes if one not in (outcome.COMPLETE, outcome.LENGTH)]
    if not failed:
        return 0
    return outcome.EXIT_CODES[failed[0]] if len(failed) == 1 else 1
