"""``unspool ask``, which is ``unspool`` alone: a prompt in, an answer on stdout as it arrives."""

from __future__ import annotations

import os

from unspool import outcome
from unspool.api.prompt import Prompt
from unspool.cli import formats
from unspool.cli.access import ask_simulator, check_model, lacks_key, missing_key, whom_to_ask
from unspool.cli.display import Display
from unspool.cli.options import Option, UsageError, scan
from unspool.cli.options.flags import (
    LIMIT_OPTIONS,
    MATERIAL_OPTIONS,
    OUTPUT_OPTIONS,
    SERVER_OPTIONS,
    number,
    positive,
    value_of,
)
from unspool.cli.prompt import stdin
from unspool.cli.signals import Signals
from unspool.cli.streaming import report, shows_reasoning, stream, wanted_stats
from unspool.client.answer import Answer, Limits
from unspool.client.exchange import Exchange, build_body
from unspool.client.http.transport import Reactor
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.cli.formats import View
    from unspool.cli.prompt.conversation import History
    from unspool.cli.prompt.material import Material
    from unspool.config import Settings
    from unspool.config.target import Target

EXAMPLES = """\
  unspool "What is Python?"
  unspool -m gpt-5.4-mini -s "Answer in one sentence" "Why is the sky blue?"
  git diff | unspool "Write a commit message for this"
  unspool -a photo.jpg "What is this?"          images, PDF, sound; -f for text
  unspool --schema "name, age int" "Invent a person"
  unspool -x "A shell script that prints the largest files here" > largest.sh
  unspool -P ollama -m llama3.2 "Hello"
  unspool --sim "Hello"                         no key, no network
  unspool --api completions -m gpt-3.5-turbo-instruct --max-tokens 100 --temperature 0 "What is Python?"\
"""

_MODEL = "what to ask for"
_OUTPUT = "what comes out"

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
    Option(
        ("-c", "--continue"),
        "flag",
        "go on with the last conversation, with its model and server unless others are named",
        group=_MODEL,
        dest="goes_on",
    ),
    Option(
        ("--cid",),
        "value",
        "go on with the conversation of this stream: a piece of its id",
        group=_MODEL,
        metavar="ID",
    ),
    Option(
        ("--background",),
        "flag",
        "let OpenAI keep the answer and go on with it when the connection breaks, so that it can be taken up again; implies"
        " --store, and the first token comes later",
        group=_MODEL,
    ),
    Option(("--store",), "flag", "let the server keep the answer", group=_MODEL),
    Option(("--no-stream",), "flag", "ask for the answer in one piece", group=_MODEL),
    *MATERIAL_OPTIONS,
    *SERVER_OPTIONS,
    *OUTPUT_OPTIONS,
    Option(("-n", "--no-log"), "flag", "keep the journal in memory only, gone when the command ends", group=_OUTPUT),
    Option(
        ("-d", "--detach"),
        "flag",
        "print the stream's id and let it run in the background, whatever becomes of this terminal",
        group=_OUTPUT,
    ),
    Option(("--dry-run",), "flag", "show the request, without the key, and do not send it", group=_OUTPUT),
    Option(("--no-stdin",), "flag", "do not read standard input", group=_OUTPUT),
    *LIMIT_OPTIONS,
)

# Fields of the request that -o sets through the prompt, so that each endpoint gives them its own name and checks them.
_PROMPT_FIELDS = ("temperature", "top_p", "max_tokens", "stop", "seed", "n")
# What makes a prompt more than words.
_MATERIAL = (
    "attachments",
    "attachment_types",
    "files",
    "schema",
    "schema_multi",
    "tools",
    "tool_choice",
    "tool_results",
)


def run(name: str, argv: list[str]) -> int:
    """Ask, and return the exit code."""
    arguments = scan(OPTIONS, argv, "prompt")
    if arguments is None:
        from unspool.cli.options.parser import read

        arguments = read(parser(), argv)
    notes = Notes(Output(2), quiet=arguments["quiet"])
    if arguments["detach"]:
        from unspool.cli import detach

        return detach.begin(lambda started: _begin(arguments, notes, started), arguments, notes)
    return _begin(arguments, notes)


def parser() -> Any:
    """The argparse parser of this command, which is also the program's."""
    from unspool.cli import COMMANDS
    from unspool.cli.options.parser import build

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


def _begin(arguments: dict[str, Any], notes: Notes, started: Callable[[str], None] | None = None) -> int:
    if arguments["save"] is not None or arguments["template"] or arguments["params"]:
        from unspool.cli.prompt import templating

        try:
            if arguments["save"] is not None:
                return templating.save(arguments, notes, value_of)
            templating.apply(arguments)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if not arguments["sim"]:
        return _ask(arguments, notes, started)
    from unspool.sim.running import Simulator
    from unspool.sim.simulator import REALISTIC_ITL, REALISTIC_TTFT, SimulatorSettings

    with Simulator(SimulatorSettings(ttft=REALISTIC_TTFT, itl=REALISTIC_ITL)) as simulator:
        notes.line(f"the answer comes from the built-in simulator ({simulator.url}), not from a model")
        ask_simulator(arguments, simulator.url)
        return _ask(arguments, notes, started)


def _ask(arguments: dict[str, Any], notes: Notes, started: Callable[[str], None] | None) -> int:
    from unspool.config.settings import load

    settings = load()
    if arguments["reasoning"] == "auto":
        arguments["reasoning"] = settings.reasoning
    target, history = whom(arguments, settings)
    view = _view(arguments)
    keyless = lacks_key(target) and not arguments["dry_run"]
    # Nobody should type a prompt, or wait for one, only to hear that it cannot be asked.
    if keyless and (arguments["prompt"] or os.isatty(0)):
        return _no_key(target, view, notes)
    prompt = prompt_of(arguments, target, notes, history)
    try:
        build_body(target, prompt, target.api)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if arguments["dry_run"]:
        from unspool.cli.prompt import dry_run

        return dry_run.show(Exchange(target, prompt, journal=None))
    if keyless:
        return _no_key(target, view, notes)
    for warning in target.warnings:
        notes.line(warning)

    from unspool.config.paths import streams_dir
    from unspool.journal.writer import Writer

    told = shows_reasoning(arguments["reasoning"], arguments["format"], notes)
    display = Display(notes, view, shows_reasoning=told)
    with Signals(display) as signals:
        journal = Writer(None if arguments["no_log"] else streams_dir(), sync=settings.sync)
        if started is not None:
            if journal.path is None:
                raise UsageError(f"--detach needs a journal, and {journal.trouble}")
            started(journal.id)
        exchange = Exchange(
            target,
            prompt,
            journal=journal,
            retries=arguments["retries"],
            parent=history.parent if history is not None else None,
            pid=os.getpid(),
            use_proxy=not arguments["sim"],
        )
        if arguments["verbose"]:
            kept = f", stream {journal.id}" if journal.path is not None else ""
            notes.line(f"POST {exchange.url.partition('?')[0]} model {prompt.model}{kept}")
        limits = Limits(arguments["connect_timeout"], arguments["idle_timeout"], arguments["timeout"])
        with Answer(exchange, limits, reactor=Reactor(), keep_text=False) as answer:
            stats = wanted_stats(arguments["usage"], arguments["stats"], arguments["copy"])
            ending = stream(answer, display, signals, stats)
            report(answer, ending, display, verbose=arguments["verbose"])
    return ending.exit_code


def whom(arguments: dict[str, Any], settings: Settings) -> tuple[Target, History | None]:
    """Where to ask, and the conversation to go on with. Raises UsageError, ConfigError."""
    history = _history(arguments, settings) if arguments["goes_on"] or arguments["cid"] else None
    target = whom_to_ask(arguments, settings)
    if history is not None and history.target is not None:
        target = history.target
    return target, history


def _view(arguments: dict[str, Any]) -> View:
    """What makes the format that the arguments ask for, and looks after the schema where there is one."""
    if not arguments["schema"] and not arguments["schema_multi"]:
        return formats.choose(arguments)
    from unspool.cli.formats import structured

    try:
        return structured.choose(arguments)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _history(arguments: dict[str, Any], settings: Settings) -> History:
    """The conversation to go on with."""
    from unspool.cli.prompt import conversation
    from unspool.journal.folder import NotFound

    named = any(arguments[name] for name in ("profile", "base_url", "model", "api", "sim"))
    try:
        return conversation.find(arguments["cid"], arguments["key"], settings, same_server=not named)
    except NotFound as error:
        raise UsageError(str(error)) from error


def prompt_of(arguments: dict[str, Any], target: Target, notes: Notes, history: History | None) -> Prompt:
    """What to ask, by the command line and standard input, after what the history says. Raises UsageError."""
    check_model(target)
    material = _material(arguments, notes, history)
    filling = arguments["template"]
    # Nobody is asked to type what nothing waits for.
    suffices = (material is not None and material.stands_alone) or (filling is not None and not filling.asks)
    text = _text(arguments, notes, suffices=suffices)
    system = arguments["system"]
    if filling is not None:
        text, instruction = filling.fill(text)
        system = system or instruction
    if not text.strip() and not suffices:
        raise UsageError('there is no prompt; try: unspool "What is Python?", or see unspool --help')
    options = {key: value_of(value) for key, value in arguments["options"] or ()}
    fields = {name: arguments.get(name) for name in _PROMPT_FIELDS}
    fields.update({name: options.pop(name) for name in _PROMPT_FIELDS if name in options})
    n = fields["n"]
    if n is not None and (type(n) is not int or n < 1):
        raise UsageError(f"-o n takes a whole number above zero, not {n!r}")
    messages: str | list[dict[str, Any]] = text
    if material is not None:
        fields.update(material.fields)
        messages = material.messages(text)
    if history is not None:
        system = system or history.system
        if history.response_id is not None and arguments["store"] and "previous_response_id" not in options:
            # The server has the conversation; only what is new need be sent.
            options["previous_response_id"] = history.response_id
        else:
            said = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
            messages = [*history.messages, *said]
    if arguments["background"]:
        if target.api != "responses":
            raise UsageError("--background is only known to the Responses API; use --api responses")
        options.setdefault("background", True)
    return Prompt(
        messages,
        target.model or "",
        system=system,
        stream=not arguments["no_stream"],
        store=arguments["store"] or arguments["background"],
        options=options,
        **fields,
    )


def _material(arguments: dict[str, Any], notes: Notes, history: History | None) -> Material | None:
    """What goes with the words, None where there is nothing but words. Raises UsageError."""
    tools = history is not None and (history.tools or history.pending)
    if not tools and not any(arguments[name] for name in _MATERIAL):
        return None
    from unspool.cli.prompt import material

    try:
        return material.gather(arguments, notes, history)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _text(arguments: dict[str, Any], notes: Notes, *, suffices: bool) -> str:
    """What is piped in, and after it what is said on the command line, which may be nothing if the rest ``suffices``."""
    given = arguments["prompt"]
    # "-" is standard input by custom; that is read anyway, but at a terminal only where it is all there is.
    words = " ".join(word for word in given if word != "-")
    piped = ""
    if not arguments["no_stdin"]:
        try:
            piped = stdin.read(notes, wanted=(not words and not suffices) or "-" in given)
        except OSError as error:
            raise UsageError(f"standard input cannot be read: {error.strerror}; --no-stdin ignores it") from error
    text = f"{piped}\n\n{words}" if piped and words else piped or words
    # What is not UTF-8 in arguments reaches Python as lone surrogates, which no request can carry.
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _no_key(target: Target, view: View, notes: Notes) -> int:
    ending = outcome.Ending(outcome.UNAUTHORIZED, missing_key(target))
    # A program that reads JSON is told as well.
    view(Output(1)).close(ending, None)
    notes.line(ending.message, always=True)
    return ending.exit_code
