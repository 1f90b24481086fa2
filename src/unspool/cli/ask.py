"""``unspool ask``, which is ``unspool`` alone: a prompt in, an answer on stdout as it arrives."""

from __future__ import annotations

import gc
import os
import sys
import time

from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.cli import formats
from unspool.cli.options import SERVER_OPTIONS, Option, count, positive, scan, seconds
from unspool.cli.signals import Signals, Stopped
from unspool.client.answer import IDLE_TIMEOUT, Answer, Limits
from unspool.client.exchange import Exchange
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
examples:
  unspool "What is Python?"
  unspool -m gpt-5.4-mini -s "Answer in one sentence" "Why is the sky blue?"
  git diff | unspool "Write a commit message for this"
  unspool -P ollama -m llama3.2 "Hello"
  unspool --sim "Hello"                         no key, no network
  unspool --api completions -m gpt-3.5-turbo-instruct --max-tokens 100 --temperature 0 "What is Python?"
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
        type=float,
    ),
    Option(
        ("--top-p",),
        "value",
        "choose among the likeliest words that make up this share",
        group=_MODEL,
        metavar="N",
        type=float,
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

# Seconds for which a pipe may be silent before it is said that we wait for it.
_STDIN_PATIENCE = 1.0
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
        from unspool.server.simulator import REALISTIC_ITL, REALISTIC_TTFT, Settings

        with Simulator(Settings(ttft=REALISTIC_TTFT, itl=REALISTIC_ITL)) as simulator:
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
        description="Stream an answer from the OpenAI API, or from any server that speaks it, and keep every token.\n\n"
        + EXAMPLES,
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
    except (UsageError, ValueError) as error:
        notes.line(f"{error}", always=True)
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
    prompt = _prompt(arguments, endpoint, notes)
    if arguments["dry_run"]:
        return _dry_run(endpoint, prompt)
    if endpoint.needs_key and not endpoint.key and not arguments["sim"]:
        return _no_key(endpoint, notes)
    for warning in endpoint.warnings:
        notes.line(warning)

    from unspool.config.paths import streams_dir
    from unspool.journal.writer import Writer

    journal = Writer(None if arguments["no_log"] else streams_dir(), sync=settings.sync)
    exchange = Exchange(endpoint, prompt, journal=journal, retries=arguments["retries"], use_proxy=not arguments["sim"])
    limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
    if arguments["verbose"]:
        notes.line(f"POST {exchange.url.partition('?')[0]} model {prompt.model}, stream {journal.id}")
    with Answer(exchange, limits, reactor=Reactor(), keep_text=False) as answer:
        view = formats.FORMATS[arguments["format"]]
        ending = stream(answer, view, notes, arguments["verbose"])
    return ending.exit_code


def stream(answer: Answer, view: Any, notes: Notes, verbose: bool) -> Ending:
    """Show an answer as it arrives, until it ends or somebody ends it; then say how it ended."""
    stdout = Output(1)
    # The start is over: what it made is never looked at again, and what the stream leaves behind is.
    gc.freeze()
    gc.enable()
    exchange = answer.exchange
    journal = exchange.journal
    with Signals() as signals:
        format = view(stdout, signals.write)
        countdown = _Countdown(notes)
        readers = (1,) if stdout.has_reader else ()
        troubled = False
        try:
            while answer.ending is None:
                deltas = answer.step(countdown.tell(answer), (signals.fd,), readers)
                if signals.number:
                    deltas = deltas + answer.cancel(signal=signals.number)
                elif 1 in answer.woken:
                    answer.cancel(outcome=outcome.CLOSED)
                if deltas:
                    notes.clear()
                    _show(format, deltas, exchange, signals)
                if journal is not None and journal.trouble and not troubled:
                    troubled = True
                    notes.line(journal.trouble)
            ending = answer.ending
            notes.clear()
            format.close(ending, _kept_id(answer))
        except Stopped:
            answer.cancel(signal=signals.number)
        except BrokenPipeError:
            answer.cancel(outcome=outcome.CLOSED)
        except OSError as error:
            answer.cancel(outcome=outcome.ERROR, message=f"stdout cannot be written: {error.strerror}")
    assert answer.ending is not None
    _tell(answer, answer.ending, format, notes, verbose)
    return answer.ending


def _show(format: Any, deltas: list[Any], exchange: Exchange, signals: Signals) -> None:
    if signals.number:
        # Somebody has said stop; what had arrived by then is shown if that does not have to wait for a reader.
        return
    format.show(deltas, exchange.events, exchange.at)


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
        from unspool.terminal.safety import one_line

        words = one_line(f"trying again in {-int(-left // 1)} s: {answer.exchange.retry_reason}")
        if self._notes.is_tty:
            self._notes.passing(words)
        elif self._told != attempt:
            self._notes.line(words)
        self._told = attempt
        return left % 1 or 1.0


def _tell(answer: Answer, ending: Ending, format: Any, notes: Notes, verbose: bool) -> None:
    from unspool.terminal.safety import one_line

    id = _kept_id(answer)
    sentence = outcome.sentence(ending, id, answer.exchange.endpoint.name)
    if sentence:
        notes.line(one_line(sentence), always=True)
    for call in getattr(format, "tool_calls", ()):
        notes.line(one_line(f"the model calls the tool {call.name} with {call.arguments}"))
    if verbose:
        _describe(answer, ending, notes)


def _describe(answer: Answer, ending: Ending, notes: Notes) -> None:
    from unspool.terminal.safety import one_line

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
    notes.line(one_line(", ".join(parts)))


def _kept_id(answer: Answer) -> str | None:
    journal = answer.exchange.journal
    return journal.id if journal is not None and journal.path is not None else None


def _prompt(arguments: dict[str, Any], endpoint: Endpoint, notes: Notes) -> Prompt:
    words = " ".join(arguments["prompt"])
    piped = "" if arguments["no_stdin"] else _read_stdin(notes, wanted=not words)
    text = f"{piped}\n\n{words}" if piped and words else piped or words
    # What is not UTF-8 in arguments reaches Python as lone surrogates, which no request can carry.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if not text.strip():
        raise UsageError('what shall I ask? Try: unspool "What is Python?", or unspool --help')
    if not endpoint.model:
        raise UsageError(
            f"name a model with -m: the profile {endpoint.name!r} has no default one (unspool models -P {endpoint.name} lists them)"
        )
    options = {key: _value(value) for key, value in arguments["options"] or ()}
    fields = {name: arguments.get(name) for name in _PROMPT_FIELDS}
    fields.update({name: options.pop(name) for name in _PROMPT_FIELDS if name in options})
    return Prompt(
        text,
        endpoint.model,
        system=arguments["system"],
        stream=not arguments["no_stream"],
        store=arguments["store"],
        options=options,
        **fields,
    )


def _value(text: str) -> Any:
    """The value of ``-o KEY VALUE``: JSON, or else the text itself."""
    import jiter

    try:
        return jiter.from_json(text.encode())
    except ValueError:
        return text


def _read_stdin(notes: Notes, *, wanted: bool) -> str:
    """Return what is piped in. Says so when it has to wait, for an open pipe that nobody writes to looks like a hang."""
    try:
        if os.isatty(0):
            if not wanted or not os.isatty(2):
                return ""
            notes.line("type the prompt, then Ctrl-D (unspool --help shows what else there is)")
        elif os.fstat(0).st_mode & 0o170000 != 0o100000:
            _wait_for_stdin(notes)
    except OSError:  # stdin is closed
        return ""
    chunks = []
    while chunk := os.read(0, 1 << 16):
        chunks.append(chunk)
    return b"".join(chunks).decode("utf-8", "replace").rstrip("\n")


def _wait_for_stdin(notes: Notes) -> None:
    import select

    if sys.platform != "win32" and not select.select([0], [], [], _STDIN_PATIENCE)[0]:
        notes.line("reading standard input (Ctrl-D ends it, --no-stdin ignores it)")


def _dry_run(endpoint: Endpoint, prompt: Prompt) -> int:
    import json

    exchange = Exchange(endpoint, prompt, journal=None)
    request = exchange.request()
    hidden = set(endpoint.auth_headers()) | set(endpoint.headers)
    lines = [f"{request.method} {request.url}"]
    lines += [f"{name}: {'***' if name in hidden else value}" for name, value in request.headers.items()]
    lines += ["", json.dumps(exchange.body, indent=2, ensure_ascii=False)]
    Output(1).write("\n".join(lines) + "\n")
    return 0


def _no_key(endpoint: Endpoint, notes: Notes) -> int:
    notes.line(
        f"no API key for {endpoint.name}. Give one in one of three ways:\n"
        f"  unspool keys set {endpoint.name}      stores it, readable by you alone\n"
        f"  export {endpoint.key_hint}=…       for this shell\n"
        f"  unspool --sim …              needs none: asks the built-in simulator",
        always=True,
    )
    return outcome.EXIT_CODES[outcome.UNAUTHORIZED]
