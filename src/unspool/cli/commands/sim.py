"""``unspool sim``: the simulator as a server of its own."""

from __future__ import annotations

import os

from unspool import durations
from unspool.cli.options import Option, scan
from unspool.cli.options.flags import count, number, positive, speed
from unspool.outcome import USAGE_EXIT_CODE
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext
    from typing import Any

    from unspool.sim.pace import Delay


def _port(text: str) -> int:
    port = count(text)
    if port > 65535:
        raise ValueError(f"{text} is above 65535, the last port")
    return port


def _varying(text: str) -> Delay:
    from unspool.sim.pace import Delay

    return Delay.read(text)


def _rate(text: str) -> float:
    rate = number(text)
    if rate <= 0:
        raise ValueError(f"{text} is not above zero")
    return rate


def _dialect(text: str) -> str:
    from unspool.sim.faults.dialects import BY_NAME

    if text not in BY_NAME:
        raise ValueError(f"{text!r} is none of {', '.join(BY_NAME)}")
    return text


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise ValueError("it names no model")
    return names


def _faults(text: str) -> str:
    from unspool.sim.faults.table import read

    read(text)
    return text


def _match(text: str) -> str:
    from unspool.sim.tapes.matcher import MATCHES

    if text not in MATCHES:
        raise ValueError(f"{text!r} is none of {', '.join(MATCHES)}")
    return text


_SERVER = "as a server"
_MODEL = "as a model"
_TROUBLE = "in trouble"
_ANSWERS = "with scripted answers"
_TAPES = "with tapes"

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
    Option(
        ("--allow-origin",),
        "append",
        "let web pages of this origin ask, besides those of this machine; * for all; repeatable",
        group=_SERVER,
        metavar="ORIGIN",
    ),
    Option(("--require-key",), "value", "refuse requests without this key", group=_SERVER, metavar="KEY"),
    Option(
        ("--resumable-for",),
        "value",
        "how long a background response is streamed again (default: 5m); 0 for never",
        group=_SERVER,
        metavar="TIME",
        type=durations.parse,
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
        type=durations.parse,
    ),
    Option(
        ("--ttft",),
        "value",
        "the time to the first token (default: 300ms); it may vary: 300ms±100, 0.2..1s, normal(300ms, 50ms),"
        " lognormal(300ms, 0.5), exponential(300ms)",
        group=_MODEL,
        metavar="TIME",
        type=_varying,
    ),
    Option(
        ("--itl",),
        "value",
        "the time between two tokens (default: 20ms); it may vary in the same ways",
        group=_MODEL,
        metavar="TIME",
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
    Option(
        ("--burst",),
        "value",
        "the tokens that come at a time, as often as the pace allows (default: 1)",
        group=_MODEL,
        metavar="N",
        type=positive,
    ),
    Option(
        ("--total-tps",),
        "value",
        "the tokens in a second that all streams get together",
        group=_MODEL,
        metavar="N",
        type=_rate,
    ),
    Option(("--seed",), "value", "another seed gives other ids and other times", group=_MODEL, metavar="N", type=count),
    Option(
        ("--rpm",),
        "value",
        "the requests a minute that all clients together may make; more are refused with 429",
        group=_TROUBLE,
        metavar="N",
        type=positive,
    ),
    Option(
        ("--tpm",),
        "value",
        "the tokens a minute, of prompts and answers, that they may ask for",
        group=_TROUBLE,
        metavar="N",
        type=positive,
    ),
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
    Option(
        ("--answers",),
        "append",
        "scripted answers, a TOML or JSON file; repeatable",
        group=_ANSWERS,
        metavar="FILE",
    ),
    Option(
        ("--answers-only",),
        "flag",
        "refuse what no scripted answer matches with 404, and name the nearest",
        group=_ANSWERS,
    ),
    Option(
        ("--control",),
        "flag",
        "let clients set answers, faults and the clock below /_unspool, also on an address that is not loopback",
        group=_ANSWERS,
    ),
    Option(
        ("--virtual-clock",),
        "flag",
        "a clock that stands still until a client advances it, for waits that take no time",
        group=_ANSWERS,
    ),
    Option(
        ("--tapes",),
        "append",
        "answer what is on this tape: a journal's file, a folder of them, or a piece of an id; repeatable",
        group=_TAPES,
        metavar="PATH",
    ),
    Option(
        ("--tape-match",),
        "value",
        "what has to be as it is on the tape: strict, the whole request (the default); messages, the model and the messages;"
        " last-message, the model and what the user said last",
        group=_TAPES,
        metavar="HOW",
        type=_match,
    ),
    Option(
        ("--speed",),
        "value",
        "play tapes so many times as fast as they were recorded, or max (default: 1)",
        group=_TAPES,
        metavar="N",
        type=speed,
    ),
    Option(
        ("--tapes-only",), "flag", "refuse what is on no tape with 404, and say what the nearest has else", group=_TAPES
    ),
    Option(
        ("--record",),
        "value",
        "pass requests on to this server, a base URL, and make a tape of each answer, without keys",
        group=_TAPES,
        metavar="URL",
    ),
    Option(
        ("--into",),
        "value",
        "the folder for what is recorded (default: tapes, in this one)",
        group=_TAPES,
        metavar="DIR",
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
    "burst",
    "total_tps",
    "seed",
    "rpm",
    "tpm",
    "allow_origin",
    "answers",
    "answers_only",
    "control",
    "virtual_clock",
)
_INTO = "tapes"
_OF_TAPES = ("tapes", "tape_match", "speed", "tapes_only")
_OF_FAULTS = ("fault", "script", "drop_after", "upstream")

EXAMPLES = """\
  unspool sim --port 8080
  OPENAI_BASE_URL=http://127.0.0.1:8080/v1 unspool "What is Python?"
  unspool sim --itl 20ms±15 --fault cut=40,reset
  unspool sim --ttft 'lognormal(300ms, 0.6)' --itl 15..40ms --rpm 60
  unspool sim --script status=429,retry-after:1 --script cut=7 --script ''
  unspool sim --upstream http://127.0.0.1:11434/v1 --fault stall=10,5s
  unspool sim --answers answers.toml --answers-only
  unspool sim --record https://api.openai.com/v1 --into tapes
  unspool sim --tapes tapes --tapes-only\
"""


def run(name: str, argv: list[str]) -> int:
    """Serve until Ctrl-C, after printing the base URL."""
    arguments = scan(OPTIONS, argv, "words")
    if arguments is None or arguments["words"]:
        from unspool.cli.options.parser import build, read

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
    if wrong := _contradiction(arguments):
        notes.line(wrong, always=True)
        return USAGE_EXIT_CODE
    if arguments["itl"] is not None and arguments["tps"] is not None:
        notes.line("--itl and --tps say the same: give one of them", always=True)
        return USAGE_EXIT_CODE

    def ready(url: str) -> None:
        Output(1).write(url + "\n")
        what = f"the proxy to {arguments['upstream']}" if arguments["upstream"] else "the simulator"
        if arguments["record"]:
            what = f"the recorder of {arguments['record']}, into {arguments['into'] or _INTO},"
        notes.line(f"{what} is running; Ctrl-C ends it")

    try:
        arguments["tapes"] = [_located(path) for path in arguments["tapes"] or ()]
        signal = _serve(arguments, ready, notes)
    except (ValueError, LookupError) as error:
        notes.line(str(error), always=True)
        return USAGE_EXIT_CODE
    except (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
        if error.filename is None:
            raise
        notes.line(f"{error.filename}: {error.strerror}", always=True)
        return USAGE_EXIT_CODE
    except OSError as error:
        # The socket module's own words, where there is a number for it, repeat the address in brackets.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        notes.line(f"cannot listen at {arguments['host']} port {arguments['port']}: {reason}", always=True)
        return 1
    # Ending is what the signal asked for: only SIGTERM, which may come from anywhere, is told by the exit code.
    return 0 if signal == 2 else 128 + signal


def _contradiction(arguments: dict[str, Any]) -> str:
    """What of the options does not go together, in a sentence; empty where all does."""

    def given(names: tuple[str, ...]) -> list[str]:
        return [f"--{name.replace('_', '-')}" for name in names if arguments[name] not in (None, False)]

    for option in given(_OF_FAULTS) if arguments["record"] else ():
        return f"{option} does not go with --record: a tape has what the server did"
    other = "--record" if arguments["record"] else "--upstream" if arguments["upstream"] else ""
    for option in given((*_OF_THE_SIMULATOR, *_OF_TAPES)) if other else ():
        return f"{option} does not go with {other}: that server answers as it does"
    if arguments["into"] and not arguments["record"]:
        return "--into says where to record: --record URL is missing"
    for option in given(("tape_match", "speed", "tapes_only")) if not arguments["tapes"] else ():
        return f"{option} says how tapes are played: --tapes PATH is missing"
    return ""


def _located(path: str) -> str:
    """A tape by its path, or by a piece of its id where it is kept with the journals. Raises a LookupError."""
    if os.path.exists(path) or "." in path or "/" in path:
        return path
    from unspool.config.paths import streams_dir
    from unspool.journal import folder

    return folder.locate(streams_dir(), path)


def _serve(arguments: dict[str, Any], ready: Callable[[str], None], notes: Notes) -> int:
    faults, script = arguments["fault"] or (), arguments["script"] or ()
    if arguments["record"]:
        from unspool.sim.proxy import serve_proxy
        from unspool.sim.tapes.recording import Recorder

        recorder = Recorder(arguments["into"] or _INTO, tell=notes.line)
        return serve_proxy(
            arguments["record"],
            arguments["host"],
            arguments["port"],
            record=recorder,
            tls=_tls(arguments["record"]),
            on_ready=ready,
        )
    if arguments["upstream"]:
        from unspool.sim.proxy import serve_proxy

        cut = () if arguments["drop_after"] is None else (f"cut={arguments['drop_after']}",)
        return serve_proxy(
            arguments["upstream"],
            arguments["host"],
            arguments["port"],
            faults=[*faults, *cut],
            script=script,
            tls=_tls(arguments["upstream"]),
            on_ready=ready,
        )
    from unspool.sim.clock import VirtualClock
    from unspool.sim.running import serve
    from unspool.sim.simulator import REALISTIC_ITL, REALISTIC_TTFT, SimulatorSettings

    ttft = REALISTIC_TTFT if arguments["ttft"] is None else arguments["ttft"]
    itl = REALISTIC_ITL if arguments["itl"] is None else arguments["itl"]
    more = {name: arguments[name] for name in ("resumable_for", "keepalive") if arguments[name] is not None}
    settings = SimulatorSettings(
        ttft=ttft,
        itl=1 / arguments["tps"] if arguments["tps"] else itl,
        burst=arguments["burst"] or 1,
        total_tps=arguments["total_tps"],
        rpm=arguments["rpm"],
        tpm=arguments["tpm"],
        seed=arguments["seed"] or 0,
        require_key=arguments["require_key"],
        event_ids=arguments["event_ids"],
        drop_after=arguments["drop_after"],
        faults=faults,
        script=script,
        dialect=arguments["dialect"] or "openai",
        tapes=arguments["tapes"],
        tape_match=arguments["tape_match"] or "strict",
        tape_speed=arguments["speed"] or 1.0,
        tapes_only=arguments["tapes_only"],
        models=arguments["models"],
        context_window=arguments["context_window"],
        strict=arguments["strict"],
        lenient=arguments["lenient"],
        answers=arguments["answers"] or (),
        answers_only=arguments["answers_only"],
        control=True if arguments["control"] else None,
        origins=arguments["allow_origin"] or (),
        clock=VirtualClock() if arguments["virtual_clock"] else None,
        **more,
    )
    host, port = arguments["host"], arguments["port"]
    return serve(host, port, settings=settings, on_ready=ready, on_miss=notes.line)


def _tls(upstream: str) -> SSLContext | None:
    """How an https server is verified: by the roots that all of unspool trusts."""
    if not upstream.startswith("https:"):
        return None
    from unspool.client.http import roots

    return roots.context()
