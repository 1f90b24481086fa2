"""``unspool sim``: the simulator as a server of its own."""

from __future__ import annotations

import os

from unspool.cli.flags import count, number, positive, seconds
from unspool.cli.options import Option, scan
from unspool.outcome import USAGE_EXIT_CODE
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _delay(text: str) -> float:
    return 0.0 if text in ("0", "0s", "0ms") else seconds(text)


def _port(text: str) -> int:
    port = count(text)
    if port > 65535:
        raise ValueError(f"{text} is above 65535, the last port")
    return port


def _varying(text: str) -> tuple[float, float]:
    """A time, and how much it varies: 20ms, 20ms±5, 20ms+-5ms."""
    mean, sign, jitter = text.replace("+-", "±").partition("±")
    if not sign:
        return _delay(mean), 0.0
    unit = mean.lstrip("0123456789.")
    return _delay(mean), _delay(jitter if jitter[-1:].isalpha() else jitter + unit)


def _rate(text: str) -> float:
    rate = number(text)
    if rate <= 0:
        raise ValueError(f"{text} is not above zero")
    return rate


def _dialect(text: str) -> str:
    from unspool.server.faults.dialects import BY_NAME

    if text not in BY_NAME:
        raise ValueError(f"{text!r} is none of {', '.join(BY_NAME)}")
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("it names no model")
    return names


def _faults(text: str) -> str:
    from unspool.server.faults.table import read

    read(text)
    return text


_SERVER = "as a server"
_MODEL = "as a model"
_TROUBLE = "in trouble"

OPTIONS = (
    Option(
        ("--host",),
        "value",
        "the address to listen at (default: 127.0.0.1)",
        group=_SERVER,
        metavar="ADDRESS",
        default="127.0.0.1",
    ),
    Option(
        ("--port",),
        "value",
        "the port (default: 0, any that is free)",
        group=_SERVER,
        metavar="N",
        type=_port,
        default=0,
    ),
    Option(("--require-key",), "value", "refuse requests without this key", group=_SERVER, metavar="KEY"),
    Option(
        ("--resumable-for",),
        "value",
        "how long a background response is streamed again (default: 5m); 0 for never",
        group=_SERVER,
        metavar="TIME",
        type=_delay,
    ),
    Option(("--event-ids",), "flag", "send each response event's number as its id too", group=_SERVER),
    Option(
        ("--dialect",),
        "value",
        "the server to take after: ollama, vllm, openrouter, … (default: openai)",
        group=_SERVER,
        metavar="NAME",
        type=_dialect,
    ),
    Option(
        ("--models",),
        "value",
        "the only models there are, by name, with commas between them (default: any)",
        group=_SERVER,
        metavar="A,B",
        type=_names,
    ),
    Option(
        ("--context-window",),
        "value",
        "the tokens that a model takes (default: as many as OpenAI's of that name)",
        group=_SERVER,
        metavar="N",
        type=positive,
    ),
    Option(("--strict",), "flag", "hold OpenAI's models to their endpoints and parameters", group=_SERVER),
    Option(("--lenient",), "flag", "let fields pass that OpenAI does not know", group=_SERVER),
    Option(
        ("--keepalive",),
        "value",
        "the silence after which a response's stream says that it lives (default: 30s); 0 for never",
        group=_SERVER,
        metavar="TIME",
        type=_delay,
    ),
    Option(
        ("--ttft",),
        "value",
        "the time to the first token (default: 300ms), and by how much it varies: 300ms±100",
        group=_MODEL,
        metavar="TIME[±TIME]",
        type=_varying,
    ),
    Option(
        ("--itl",),
        "value",
        "the time between two tokens (default: 20ms), and by how much it varies: 20ms±5",
        group=_MODEL,
        metavar="TIME[±TIME]",
        type=_varying,
    ),
    Option(
        ("--tps",),
        "value",
        "the tokens in a second, another way to say --itl",
        group=_MODEL,
        metavar="N",
        type=_rate,
    ),
    Option(("--seed",), "value", "another seed gives other ids and other times", group=_MODEL, metavar="N", type=count),
    Option(
        ("--fault",),
        "append",
        "what every request meets with, such as cut=7; repeatable; unspool faults lists them",
        group=_TROUBLE,
        metavar="NAME[=VALUE]",
        type=_faults,
    ),
    Option(
        ("--script",),
        "append",
        "what the first request meets with, given again what the second does, and so on; '' is success",
        group=_TROUBLE,
        metavar="FAULTS",
        type=_faults,
    ),
    Option(
        ("--drop-after",),
        "value",
        "cut each stream after so many events",
        group=_TROUBLE,
        metavar="N",
        type=positive,
    ),
    Option(
        ("--upstream",),
        "value",
        "pass requests on to this server, a base URL, and break its answers",
        group=_TROUBLE,
        metavar="URL",
    ),
)

# What has no meaning before another server, which has a pace, keys and responses of its own.
_OF_THE_SIMULATOR = (
    "require_key",
    "resumable_for",
    "event_ids",
    "dialect",
    "models",
    "context_window",
    "strict",
    "lenient",
    "keepalive",
    "ttft",
    "itl",
    "tps",
    "seed",
)

EXAMPLES = """\
  unspool sim --port 8080
  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 unspool "What is Python?"
  unspool sim --itl 20ms±15 --fault cut=40,reset
  unspool sim --script status=429,retry-after:1 --script cut=7 --script ''
  unspool sim --upstream http://127.0.0.1:11434/v1 --fault stall=10,5s\
"""


def run(name: str, argv: list[str]) -> int:
    """Serve until Ctrl-C, after printing the base URL."""
    arguments = scan(OPTIONS, argv, "words")
    if arguments is None or arguments["words"]:
        from unspool.cli.parser import build, read

        parser = build(
            "unspool sim",
            OPTIONS,
            rest="words",
            metavar="",
            rest_help="(none)",
            examples=EXAMPLES,
            description="Run a server that answers like the OpenAI API, from written answers and not from a model.",
        )
        arguments = read(parser, argv)
        if arguments["words"]:
            parser.error("it takes options only")
    notes = Notes(Output(2))
    if arguments["upstream"]:
        given = [name for name in _OF_THE_SIMULATOR if arguments[name] not in (None, False)]
        if given:
            option = given[0].replace("_", "-")
            notes.line(f"--{option} does not go with --upstream: that server answers as it does", always=True)
            return USAGE_EXIT_CODE
    elif arguments["itl"] is not None and arguments["tps"] is not None:
        notes.line("--itl and --tps say the same: give one of them", always=True)
        return USAGE_EXIT_CODE

    def ready(url: str) -> None:
        Output(1).write(url + "\n")
        what = f"the proxy to {arguments['upstream']}" if arguments["upstream"] else "the simulator"
        notes.line(f"{what} is running; Ctrl-C ends it")

    try:
        signal = _serve(arguments, ready)
    except ValueError as error:
        notes.line(str(error), always=True)
        return USAGE_EXIT_CODE
    except OSError as error:
        # The socket module's own words, where there is a number for it, repeat the address in brackets.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        notes.line(f"cannot listen at {arguments['host']} port {arguments['port']}: {reason}", always=True)
        return 1
    # Ending is what the signal asked for: only SIGTERM, which may come from anywhere, is told by the exit code.
    return 0 if signal == 2 else 128 + signal


def _serve(arguments: dict[str, Any], ready: Callable[[str], None]) -> int:
    faults, script = arguments["fault"] or (), arguments["script"] or ()
    if arguments["upstream"]:
        from unspool.server.proxy import serve_proxy

        cut = () if arguments["drop_after"] is None else (f"cut={arguments['drop_after']}",)
        return serve_proxy(
            arguments["upstream"],
            arguments["host"],
            arguments["port"],
            faults=[*faults, *cut],
            script=script,
            on_ready=ready,
        )
    from unspool.server.running import serve
    from unspool.server.simulator import REALISTIC_ITL, REALISTIC_TTFT, Settings

    ttft, ttft_jitter = arguments["ttft"] or (REALISTIC_TTFT, 0.0)
    itl, itl_jitter = arguments["itl"] or (REALISTIC_ITL, 0.0)
    more = {name: arguments[name] for name in ("resumable_for", "keepalive") if arguments[name] is not None}
    settings = Settings(
        ttft=ttft,
        itl=1 / arguments["tps"] if arguments["tps"] else itl,
        ttft_jitter=ttft_jitter,
        itl_jitter=itl_jitter,
        seed=arguments["seed"] or 0,
        require_key=arguments["require_key"],
        event_ids=arguments["event_ids"],
        drop_after=arguments["drop_after"],
        faults=faults,
        script=script,
        dialect=arguments["dialect"] or "openai",
        models=arguments["models"],
        context_window=arguments["context_window"],
        strict=arguments["strict"],
        lenient=arguments["lenient"],
        **more,
    )
    return serve(arguments["host"], arguments["port"], settings=settings, on_ready=ready)
