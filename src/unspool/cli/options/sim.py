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


_SERVER = "server"
_MODEL = "timing"
_TROUBLE = "faults and limits"
_ANSWERS = "scripted answers"
_TAPES = "tapes"

_OPTIONS = (
    Option("--host ADDRESS", "the address to listen on (default: {default})", _SERVER),
    Option("--port N", "the port; 0 chooses a free one (default: {default})", _SERVER, type=port),
    Option(
        "--allow-origin ORIGIN...",
        "allow requests from web pages of this origin (CORS), besides those of this machine; * for all; repeatable",
        _SERVER,
    ),
    Option("--require-key KEY", "reject requests without this key", _SERVER),
    Option(
        "--resumable-for TIME",
        "how long a background response can be resumed (default: 5m); 0 for never",
        _SERVER,
        type=duration,
    ),
    Option("--event-ids", "also send the sequence number of Responses events as the SSE id", _SERVER),
    Option(
        "--dialect NAME",
        "the server to imitate: ollama, vllm, openrouter, … (default: openai)",
        _SERVER,
        type=_dialect,
    ),
    Option(
        "--models A,B",
        "serve only these models; names separated by commas (default: any name)",
        _SERVER,
        type=_names,
    ),
    Option(
        "--context-window N",
        "the context window in tokens (default: that of OpenAI's model of the same name)",
        _SERVER,
        type=positive,
    ),
    Option("--strict", "reject endpoints and parameters that OpenAI's real model does not support", _SERVER),
    Option("--lenient", "accept request fields that OpenAI does not know", _SERVER),
    Option(
        "--keepalive TIME",
        "send a keepalive on a Responses stream after this much silence (default: 30s); 0 for never",
        _SERVER,
        type=duration,
    ),
    Option(
        "--ttft TIME",
        "time to the first token (default: 300ms); a range or distribution is possible: 300ms±100, 0.2..1s, normal(300ms, 50ms),"
        " lognormal(300ms, 0.5), exponential(300ms)",
        _MODEL,
        type=_varying,
    ),
    Option(
        "--itl TIME", "time between two tokens (default: 20ms), with the same forms as --ttft", _MODEL, type=_varying
    ),
    Option("--tps N", "tokens per second, another way to set --itl", _MODEL, type=rate),
    Option("--burst N", "send tokens in groups of N, at the same average rate (default: 1)", _MODEL, type=positive),
    Option("--total-tps N", "tokens per second that all streams share", _MODEL, type=rate),
    Option("--seed N", "seed for ids and random timing", _MODEL, type=count),
    Option(
        "--rpm N",
        "limit all clients together to N requests per minute; reject more with 429",
        _TROUBLE,
        type=positive,
    ),
    Option("--tpm N", "limit them to N tokens per minute, in prompts and answers", _TROUBLE, type=positive),
    Option(
        "--fault NAME[=VALUE]...",
        "inject a fault into every request, such as cut=7; repeatable; unspool faults lists them",
        _TROUBLE,
        type=_faults,
    ),
    Option(
        "--script FAULTS...",
        "inject faults into the first request only; give it again for the second, and so on; '' means no fault",
        _TROUBLE,
        type=_faults,
    ),
    Option("--drop-after N", "cut each stream after N events", _TROUBLE, type=positive),
    Option(
        "--upstream URL",
        "forward requests to the server with this base URL, and inject the faults into its answers",
        _TROUBLE,
    ),
    Option("--answers FILE...", "a TOML or JSON file of scripted answers; repeatable", _ANSWERS),
    Option(
        "--answers-only", "reject requests that match no scripted answer with 404, and show the nearest one", _ANSWERS
    ),
    Option(
        "--control",
        "let clients set answers, faults and the clock under /_unspool, even on an address that is not loopback",
        _ANSWERS,
    ),
    Option(
        "--virtual-clock",
        "use a clock that moves only when a client advances it, so that tests need not wait",
        _ANSWERS,
    ),
    Option(
        "--tapes PATH...",
        "answer from this tape: a journal file, a folder of them, or an answer's id; repeatable",
        _TAPES,
    ),
    Option(
        "--tape-match HOW",
        "which parts of a request must match the tape: strict, the complete request (the default); messages, the model and the messages;"
        " last-message, the model and the last user message",
        _TAPES,
        type=_match,
    ),
    Option(
        "--tape-ignore WHAT...",
        "ignore this when matching: a request field, such as temperature or metadata.id, or a /regular expression/ for parts of any text,"
        " such as dates; repeatable",
        _TAPES,
    ),
    Option("--speed N", "speed factor for tapes, or max (default: 1)", _TAPES, type=speed),
    Option(
        "--tapes-only", "reject requests that are on no tape with 404, and show how the nearest one differs", _TAPES
    ),
    Option(
        "--record URL",
        "forward requests to the server with this base URL, and record each answer as a tape, without keys",
        _TAPES,
    ),
    Option("--into DIR", "the folder for recorded tapes (default: ./tapes)", _TAPES),
)

SIM = Command(
    "sim",
    "run the simulator, an OpenAI-compatible server for tests",
    lambda options: commands.sim.run(options),
    SimOptions,
    _OPTIONS,
    description="Run a server that behaves like the OpenAI API, without a model: it generates text, or sends answers that you write or record.",
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
    "paths", "PATH", "tape files, or folders of them", least=1, most=None, missing="which tapes? Name files or folders"
)
TAPES = Command(
    "tapes",
    "repair edited tapes, or convert them to scripted answers",
    lambda options: commands.tapes.renew(options),
    TapesOptions,
    words=(_PATHS,),
    description="Repair the checksums of tapes that you edited, or convert tapes to scripted answers.",
    examples="""\
unspool tapes renew tapes
unspool tapes answers tapes > answers.json\
""",
    actions=(
        Command(
            "tapes renew",
            "renumber the blocks and recompute the checksums (the default)",
            lambda options: commands.tapes.renew(options),
            TapesOptions,
            words=(_PATHS,),
            examples="unspool tapes renew tapes/0001-chat-hello.sse",
        ),
        Command(
            "tapes answers",
            "print the tapes as scripted answers, in JSON",
            lambda options: commands.tapes.answers(options),
            TapesOptions,
            words=(_PATHS,),
            examples="unspool tapes answers tapes > answers.json",
        ),
    ),
)

COMMANDS = (SIM, TAPES)
