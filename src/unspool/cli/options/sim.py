"""``unspool sim`` as data."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Option, Options, Words, count, duration, port, positive, rate, speed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.sim.pace import Delay


class SimOptions(Options):
    """The options of ``unspool sim``; None where the simulator's own default holds."""

    host: str = "127.0.0.1"
    port: int = 0
    require_key: str | None = None
    resumable_for: float | None = None
    event_ids: bool = False
    dialect: str | None = None
    models: tuple[str, ...] | None = None
    context_window: int | None = None
    strict: bool = False
    lenient: bool = False
    allow_origin: Sequence[str] = ()
    answers: Sequence[str] = ()
    answers_only: bool = False
    control: bool = False
    virtual_clock: bool = False
    keepalive: float | None = None
    ttft: Delay | None = None
    itl: Delay | None = None
    tps: float | None = None
    burst: int | None = None
    total_tps: float | None = None
    seed: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    fault: Sequence[str] = ()
    script: Sequence[str] = ()
    drop_after: int | None = None
    upstream: str | None = None
    tapes: Sequence[str] = ()
    tape_match: str | None = None
    tape_ignore: Sequence[str] = ()
    speed: float | None = None
    tapes_only: bool = False
    record: str | None = None
    into: str | None = None


class TapesOptions(Options):
    """The options of ``unspool tapes`` and its actions."""

    paths: Sequence[str] = ()


def _varying(text: str) -> Delay:
    from unspool.sim.pace import Delay

    return Delay.read(text)


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

_OPTIONS = (
    Option("--host ADDRESS", "the address to listen at (default: {default})", _SERVER),
    Option("--port N", "the port (default: {default}, any that is free)", _SERVER, type=port),
    Option(
        "--allow-origin ORIGIN...",
        "let web pages of this origin ask, besides those of this machine; * for all; repeatable",
        _SERVER,
    ),
    Option("--require-key KEY", "refuse requests without this key", _SERVER),
    Option(
        "--resumable-for TIME",
        "how long a background response is streamed again (default: 5m); 0 for never",
        _SERVER,
        type=duration,
    ),
    Option("--event-ids", "send each response event's number as its id too", _SERVER),
    Option(
        "--dialect NAME",
        "the server to take after: ollama, vllm, openrouter, … (default: openai)",
        _SERVER,
        type=_dialect,
    ),
    Option(
        "--models A,B",
        "the only models there are, by name, with commas between them (default: any)",
        _SERVER,
        type=_names,
    ),
    Option(
        "--context-window N",
        "the tokens that a model takes (default: as many as OpenAI's of that name)",
        _SERVER,
        type=positive,
    ),
    Option("--strict", "hold OpenAI's models to their endpoints and parameters", _SERVER),
    Option("--lenient", "let fields pass that OpenAI does not know", _SERVER),
    Option(
        "--keepalive TIME",
        "the silence after which a response's stream says that it lives (default: 30s); 0 for never",
        _SERVER,
        type=duration,
    ),
    Option(
        "--ttft TIME",
        "the time to the first token (default: 300ms); it may vary: 300ms±100, 0.2..1s, normal(300ms, 50ms),"
        " lognormal(300ms, 0.5), exponential(300ms)",
        _MODEL,
        type=_varying,
    ),
    Option(
        "--itl TIME", "the time between two tokens (default: 20ms); it may vary in the same ways", _MODEL, type=_varying
    ),
    Option("--tps N", "the tokens in a second, another way to say --itl", _MODEL, type=rate),
    Option(
        "--burst N", "the tokens that come at a time, as often as the pace allows (default: 1)", _MODEL, type=positive
    ),
    Option("--total-tps N", "the tokens in a second that all streams get together", _MODEL, type=rate),
    Option("--seed N", "another seed gives other ids and other times", _MODEL, type=count),
    Option(
        "--rpm N",
        "the requests a minute that all clients together may make; more are refused with 429",
        _TROUBLE,
        type=positive,
    ),
    Option("--tpm N", "the tokens a minute, of prompts and answers, that they may ask for", _TROUBLE, type=positive),
    Option(
        "--fault NAME[=VALUE]...",
        "what every request meets with, such as cut=7; repeatable; unspool faults lists them",
        _TROUBLE,
        type=_faults,
    ),
    Option(
        "--script FAULTS...",
        "what the first request meets with, given again what the second does, and so on; '' is success",
        _TROUBLE,
        type=_faults,
    ),
    Option("--drop-after N", "cut each stream after so many events", _TROUBLE, type=positive),
    Option("--upstream URL", "pass requests on to this server, a base URL, and break its answers", _TROUBLE),
    Option("--answers FILE...", "scripted answers, a TOML or JSON file; repeatable", _ANSWERS),
    Option("--answers-only", "refuse what no scripted answer matches with 404, and name the nearest", _ANSWERS),
    Option(
        "--control",
        "let clients set answers, faults and the clock below /_unspool, also on an address that is not loopback",
        _ANSWERS,
    ),
    Option(
        "--virtual-clock", "a clock that stands still until a client advances it, for waits that take no time", _ANSWERS
    ),
    Option(
        "--tapes PATH...",
        "answer what is on this tape: a journal's file, a folder of them, or a piece of an id; repeatable",
        _TAPES,
    ),
    Option(
        "--tape-match HOW",
        "what has to be as it is on the tape: strict, the complete request (the default); messages, the model and the messages;"
        " last-message, the model and what the user said last",
        _TAPES,
        type=_match,
    ),
    Option(
        "--tape-ignore WHAT...",
        "what may differ from the tape: a field of the request, such as temperature or metadata.id, or what a /regular expression/ finds in"
        " any text, such as a date; repeatable",
        _TAPES,
    ),
    Option(
        "--speed N", "play tapes so many times as fast as they were recorded, or max (default: 1)", _TAPES, type=speed
    ),
    Option("--tapes-only", "refuse what is on no tape with 404, and say what the nearest has else", _TAPES),
    Option(
        "--record URL",
        "pass requests on to this server, a base URL, and make a tape of each answer, without keys",
        _TAPES,
    ),
    Option("--into DIR", "the folder for what is recorded (default: tapes, in this one)", _TAPES),
)

SIM = Command(
    "sim",
    "run the simulator, a server for tests",
    lambda options: commands.sim.run(options),
    SimOptions,
    _OPTIONS,
    description="Run a server that answers like the OpenAI API, from written answers and not from a model.",
    examples="""\
unspool sim --port 8080
OPENAI_BASE_URL=http://127.0.0.1:8080/v1 unspool "What is Python?"
unspool sim --itl 20ms±15 --fault cut=40,reset
unspool sim --ttft 'lognormal(300ms, 0.6)' --itl 15..40ms --rpm 60
unspool sim --script status=429,retry-after:1 --script cut=7 --script ''
unspool sim --upstream http://127.0.0.1:11434/v1 --fault stall=10,5s
unspool sim --answers answers.toml --answers-only
unspool sim --record https://api.openai.com/v1 --into tapes
unspool sim --tapes tapes --tapes-only\
""",
    excess="it takes options only",
)

_PATHS = Words(
    "paths", "PATH", "tapes, or folders of them", least=1, most=None, missing="which tapes? Name files or folders"
)
TAPES = Command(
    "tapes",
    "renew edited tapes, or make scripted answers of them",
    lambda options: commands.tapes.renew(options),
    TapesOptions,
    words=(_PATHS,),
    description="Renew the checksums of tapes that were edited, or make scripted answers of what they say.",
    examples="""\
unspool tapes renew tapes
unspool tapes answers tapes > answers.json\
""",
    actions=(
        Command(
            "tapes renew",
            "number the blocks again and renew the checksums (the default)",
            lambda options: commands.tapes.renew(options),
            TapesOptions,
            words=(_PATHS,),
            examples="unspool tapes renew tapes/0001-chat-hello.sse",
        ),
        Command(
            "tapes answers",
            "print scripted answers that say the same, as JSON",
            lambda options: commands.tapes.answers(options),
            TapesOptions,
            words=(_PATHS,),
            examples="unspool tapes answers tapes > answers.json",
        ),
    ),
)

COMMANDS = (SIM, TAPES)
