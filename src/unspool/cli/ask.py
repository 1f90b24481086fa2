"""``unspool ask``, which is ``unspool`` alone: a prompt in, an answer on stdout as it arrives."""

from __future__ import annotations

import os
import time

from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.cli import formats, stdin
from unspool.cli.access import key_advice, lacks_key, missing_key
from unspool.cli.options import SERVER_OPTIONS, Option, count, number, positive, scan, seconds
from unspool.cli.signals import Signals, Stopped
from unspool.client.answer import IDLE_TIMEOUT, Answer, Limits
from unspool.client.exchange import Exchange, build_body
from unspool.client.retry import DEFAULT_RETRIES
from unspool.client.transport import CONNECT_TIMEOUT, Reactor
from unspool.config import ConfigError
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.config.endpoint import Endpoint
    from unspool.outcome import Ending

EXAMPLES = """\
  unspool "What is Python?"
  unspool -m gpt-5.4-mini -s "Answer in one sentence" "Why is the sky blue?"
  git diff | unspool "Write a commit message for this"
  unspool -P ollama -m llama3.2 "Hello"
  unspool --sim "Hello"                         no key, no network
  unspool --api completions -m gpt-3.5-turbo-instruct --max-tokens 100 --temperature 0 "What is Python?"\
"""

_MODEL = "what to ask for"
_OUTPUT = "what comes out"
_LIMITS = "limits"

OPTIONS = (
    Option(("-m", "--model"), "value", "the model", group=_MODEL, metavar="MODEL"),
    Option(("-s", "--system"), "value", "the instruction that precedes the prompt", group=_MODEL, metavar="TEXT"),
    Option(
        ("--temperature",),
        "value",
        "0 for the likeliest words, more for livelier ones",
        group=_MODEL,
        metavar="N",
        type=number,
    ),
    Option(
        ("--top-p",),
        "value",
        "choose among the likeliest words that make up this share",
        group=_MODEL,
        metavar="N",
        type=number,
    ),
    Option(("--max-tokens",), "value", "the most tokens the answer may have", group=_MODEL, metavar="N", type=positive),
    Option(
        ("-o", "--option"),
        "pair",
        "any other field of the request, such as -o seed 1 or -o n 2; the value is JSON, or else text",
        group=_MODEL,
        metavar=("KEY", "VALUE"),
        dest="options",
    ),
    Option(("--store",), "flag", "let the server keep the answer", group=_MODEL),
    Option(("--no-stream",), "flag", "ask for the answer in one piece", group=_MODEL),
    *SERVER_OPTIONS,
    Option(
        ("--format",),
        "value",
        "the form of the output; see the documentation for the shape of the JSON ones",
        group=_OUTPUT,
        choices=formats.NAMES,
        default="text",
    ),
    Option(
        ("--json",),
        "flag",
        "short for --format stream-json: a JSON object a line",
        group=_OUTPUT,
        dest="format",
        const="stream-json",
        default="text",
    ),
    Option(
        ("-r", "--raw"),
        "flag",
        "show the text as it is, without rendering; a terminal still gets no control characters",
        group=_OUTPUT,
    ),
    Option(("-q", "--quiet"), "flag", "say nothing on stderr but errors", group=_OUTPUT),
    Option(("-v", "--verbose"), "flag", "say on stderr what is asked of whom, and how it went", group=_OUTPUT),
    Option(("-n", "--no-log"), "flag", "keep no journal on disk", group=_OUTPUT),
    Option(("--dry-run",), "flag", "show the request, without the key, and do not send it", group=_OUTPUT),
    Option(("--no-stdin",), "flag", "do not read standard input", group=_OUTPUT),
    Option(
        ("--timeout",),
        "value",
        "the longest time for the whole answer, such as 90 or 5m (default: none)",
        group=_LIMITS,
        metavar="TIME",
        type=seconds,
    ),
    Option(
        ("--idle-timeout",),
        "value",
        f"the longest silence (default: {IDLE_TIMEOUT:g} s)",
        group=_LIMITS,
        metavar="TIME",
        type=seconds,
        default=IDLE_TIMEOUT,
    ),
    Option(
        ("--connect-timeout",),
        "value",
        f"the longest time to connect (default: {CONNECT_TIMEOUT:g} s)",
        group=_LIMITS,
        metavar="TIME",
        type=seconds,
        default=CONNECT_TIMEOUT,
    ),
    Option(
        ("--retries",),
        "value",
        f"further attempts before the answer begins (default: {DEFAULT_RETRIES})",
        group=_LIMITS,
        metavar="N",
        type=count,
        default=DEFAULT_RETRIES,
    ),
)

# Fields of the request that -o sets through the prompt, so that each endpoint gives them its own name and checks them.
_PROMPT_FIELDS = ("temperature", "top_p", "max_tokens", "stop", "seed", "n")

# Waits before a retry that are longer than this are told, second by second.
_TOLD_WAIT = 1.0


class UsageError(Exception):
    """The command line asks for something that cannot be; the message says what to do."""


def run(name: str, argv: list[str]) -> int:
    """Ask, and return the exit code."""
    arguments = scan(OPTIONS, argv, "prompt")
    if arguments is None:
        from unspool.cli.parser import read

        arguments = read(parser(), argv)
    notes = Notes(Output(2), quiet=arguments["quiet"])
    if arguments["sim"]:
        from unspool.server.running import Simulator

        with Simulator() as simulator:
            notes.line(f"the answer comes from the built-in simulator ({simulator.url}), not from a model")
            arguments.update(base_url=simulator.url, profile=None, model=arguments["model"] or "sim-1")
            return _guarded(arguments, notes)
    return _guarded(arguments, notes)


def parser() -> Any:
    """The argparse parser of this command, which is also the program's."""
    from unspool.cli import COMMANDS
    from unspool.cli.parser import build

    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  unspool {name:<{width}}  {words}" for name, (_, words) in COMMANDS.items())
    built = build(
        "unspool",
        OPTIONS,
        rest="prompt",
        metavar="PROMPT",
        rest_help="what to ask; joined by blanks, and put after what is piped in",
        examples=EXAMPLES,
        description="Stream an answer from the OpenAI API, or from any server that speaks it, and keep every token.",
        epilog=f"commands:\n{commands}\n\nA prompt that begins with a command's name goes after --, or after: unspool ask",
    )
    from unspool import __version__

    built.add_argument("--version", action="version", version=f"unspool {__version__}")
    return built


def _guarded(arguments: dict[str, Any], notes: Notes) -> int:
    try:
        return _ask(arguments, notes)
    except ConfigError as error:
        notes.line(str(error), always=True)
        return outcome.EXIT_CODES[outcome.ERROR]
    except UsageError as error:
        notes.line(str(error), always=True)
        return outcome.USAGE_EXIT_CODE


def _ask(arguments: dict[str, Any], notes: Notes) -> int:
    from unspool.config.settings import load, resolve

    settings = load()
    endpoint = resolve(
        profile=arguments["profile"],
        base_url=arguments["base_url"],
        key=arguments["key"],
        model=arguments["model"],
        api=arguments["api"],
        settings=settings,
    )
    view = formats.FORMATS[arguments["format"]]
    keyless = lacks_key(endpoint) and not arguments["dry_run"]
    # Nobody should type a prompt, or wait for one, only to hear that it cannot be asked.
    if keyless and (arguments["prompt"] or os.isatty(0)):
        return _no_key(endpoint, view, notes)
    prompt = _prompt(arguments, endpoint, notes)
    try:
        build_body(endpoint, prompt, endpoint.api)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if arguments["dry_run"]:
        return _dry_run(endpoint, prompt)
    if keyless:
        return _no_key(endpoint, view, notes)
    for warning in endpoint.warnings:
        notes.line(warning)

    from unspool.config.paths import streams_dir
    from unspool.journal.writer import Writer

    with Signals() as signals:
        journal = None if arguments["no_log"] else Writer(streams_dir(), sync=settings.sync)
        exchange = Exchange(
            endpoint, prompt, journal=journal, retries=arguments["retries"], use_proxy=not arguments["sim"]
        )
        if arguments["verbose"]:
            kept = f", stream {journal.id}" if journal is not None else ""
            notes.line(f"POST {exchange.url.partition('?')[0]} model {prompt.model}{kept}")
        limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
        with Answer(exchange, limits, reactor=Reactor(), keep_text=False) as answer:
            stdout = Output(1)
            format = view(stdout, signals.write)
            ending = stream(answer, format, stdout, notes, signals)
            _tell(answer, ending, format, notes, arguments["verbose"])
    return ending.exit_code


def stream(answer: Answer, format: Any, stdout: Output, notes: Notes, signals: Signals) -> Ending:
    """Show an answer as it arrives, until it ends or somebody ends it. Returns how the showing ended.

    That may be worse than the answer itself, which can be whole before its reader has gone away.
    """
    journal = answer.exchange.journal
    countdown = _Countdown(notes)
    readers = (stdout.fd,) if stdout.has_reader else ()
    troubled = False
    try:
        while answer.ending is None:
            deltas = answer.step(countdown.tell(answer), (signals.fd,), readers)
            if signals.number:
                deltas += answer.cancel(signal=signals.number)
            elif stdout.fd in answer.woken:
                raise BrokenPipeError
            notes.clear()
            if journal is not None and journal.trouble and not troubled:
                troubled = True
                notes.line(journal.trouble)
            if deltas or answer.exchange.events:
                format.show(deltas, answer.exchange.events, answer.exchange.at)
        format.close(answer.ending, _kept_id(answer))
        return answer.ending
    except Stopped:
        if stdout.is_tty and not stdout.at_line_start:
            stdout.write_at_once("\n")
        ending = outcome.Ending(outcome.CANCELLED, signal=signals.number)
    except BrokenPipeError:
        ending = outcome.Ending(outcome.CLOSED)
    except OSError as error:
        ending = outcome.Ending(outcome.ERROR, f"the answer cannot be written to standard output: {error.strerror}")
    answer.cancel(ending.message, ending.signal, ending.outcome)
    return ending


class _Countdown:
    """Tells that a retry is being waited for: second by second to a person, once to a log."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._told = 0

    def tell(self, answer: Answer) -> float | None:
        """Say how long it still takes, and return for how long that stays true."""
        if answer.retry_at is None:
            return None
        left = answer.retry_at - time.monotonic()
        attempt = answer.exchange.attempt
        if left <= 0 or (self._told != attempt and left <= _TOLD_WAIT):
            return None
        words = f"trying again in {-int(-left // 1)} s: {answer.exchange.retry_reason}"
        if self._notes.is_tty:
            self._notes.passing(words)
        elif self._told != attempt:
            self._notes.line(words)
        self._told = attempt
        return left % 1 or 1.0


def _tell(answer: Answer, ending: Ending, format: Any, notes: Notes, verbose: bool) -> None:
    sentence = outcome.sentence(ending, _kept_id(answer), key_advice(answer.exchange.endpoint))
    if sentence:
        notes.line(sentence, always=True)
    for call in getattr(format, "tool_calls", ()):
        notes.line(f"the model calls the tool {call.name} with {call.arguments}")
    if verbose:
        _describe(answer, ending, notes)


def _describe(answer: Answer, ending: Ending, notes: Notes) -> None:
    exchange = answer.exchange
    parts = [ending.outcome]
    if ending.finish_reason:
        parts.append(f"finish reason {ending.finish_reason}")
    if answer.model:
        parts.append(f"model {answer.model}")
    if exchange.first_event_at is not None:
        parts.append(f"first event after {exchange.first_event_at:.3f} s, last after {exchange.at:.3f} s")
    if answer.usage is not None:
        parts.append(f"{answer.usage.input_tokens} tokens in, {answer.usage.output_tokens} out")
    if exchange.request_id:
        parts.append(f"request {exchange.request_id}")
    if exchange.attempt > 1:
        parts.append(f"attempt {exchange.attempt}")
    notes.line(", ".join(parts))


def _kept_id(answer: Answer) -> str | None:
    journal = answer.exchange.journal
    return journal.id if journal is not None and journal.path is not None else None


def _prompt(arguments: dict[str, Any], endpoint: Endpoint, notes: Notes) -> Prompt:
    if not endpoint.model:
        raise UsageError(
            f"name a model with -m, for {endpoint.name} has no default one; unspool models lists what it has"
        )
    text = _text(arguments, notes)
    if not text.strip():
        raise UsageError('there is no prompt; try: unspool "What is Python?", or see unspool --help')
    options = {key: _value(value) for key, value in arguments["options"] or ()}
    fields = {name: arguments.get(name) for name in _PROMPT_FIELDS}
    fields.update({name: options.pop(name) for name in _PROMPT_FIELDS if name in options})
    n = fields["n"]
    if n is not None and (type(n) is not int or n < 1):
        raise UsageError(f"-o n takes a whole number above zero, not {n!r}")
    return Prompt(
        text,
        endpoint.model,
        system=arguments["system"],
        stream=not arguments["no_stream"],
        store=arguments["store"],
        options=options,
        **fields,
    )


def _text(arguments: dict[str, Any], notes: Notes) -> str:
    """What is piped in, and after it what is said on the command line."""
    words = " ".join(arguments["prompt"])
    piped = ""
    if not arguments["no_stdin"]:
        try:
            piped = stdin.read(notes, wanted=not words)
        except OSError as error:
            raise UsageError(f"standard input cannot be read: {error.strerror}; --no-stdin ignores it") from error
    text = f"{piped}\n\n{words}" if piped and words else piped or words
    # What is not UTF-8 in arguments reaches Python as lone surrogates, which no request can carry.
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _value(text: str) -> Any:
    """The value of ``-o KEY VALUE``: JSON, or else the text itself."""
    import jiter

    try:
        return jiter.from_json(text.encode(), allow_inf_nan=False)
    except ValueError:
        return text


def _dry_run(endpoint: Endpoint, prompt: Prompt) -> int:
    import json

    exchange = Exchange(endpoint, prompt, journal=None)
    request = exchange.request()
    hidden = set(endpoint.auth_headers()) | set(endpoint.headers)
    lines = [f"{request.method} {request.url}"]
    lines += [f"{name}: {'***' if name in hidden else value}" for name, value in request.headers.items()]
    lines += ["", json.dumps(exchange.body, indent=2, ensure_ascii=False)]
    stdout = Output(1)
    stdout.write(stdout.safe("\n".join(lines) + "\n"))
    return 0


def _no_key(endpoint: Endpoint, view: Any, notes: Notes) -> int:
    ending = outcome.Ending(outcome.UNAUTHORIZED, missing_key(endpoint))
    # A program that reads JSON is told as well.
    view(Output(1), lambda output, text: output.write(text)).close(ending, None)
    notes.line(ending.message, always=True)
    return ending.exit_code
