"""``unspool serve`` as data."""

from __future__ import annotations

from unspool.cli.options import Command, Option, Options
from unspool.cli.options.values import duration, port, positive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class ServeOptions(Options):
    """The options of ``unspool serve``."""

    upstream: str | None = None
    profile: str | None = None
    sim: bool = False
    host: str = "127.0.0.1"
    port: int = 8400
    workers: int = 1
    store: str | None = None
    tokens: str | None = None
    new_token: str | None = None
    allowed_hosts: Sequence[str] = ()
    cors: Sequence[str] = ()
    cert: str | None = None
    key: str | None = None
    abandon_after: float | None = 60.0
    idle_timeout: float = 300.0
    drain: float = 30.0
    keep: float = 86400.0
    keep_bytes: int | None = None
    streams: int = 2000
    metrics: int | None = None
    logs: str = "text"


def _time_or_never(text: str) -> float | None:
    return None if text == "never" else duration(text)


def size(text: str) -> int:
    """A size in bytes, with an optional unit: 500M, 20G."""
    units = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
    digits, unit = (text[:-1], units[text[-1].lower()]) if text[-1:].lower() in units else (text, 1)
    try:
        number = float(digits) * unit
    except ValueError:
        number = -1
    if not 0 < number < 1e18:
        raise ValueError(f"{text!r} is not a size such as 500M or 20G")
    return int(number)


_UPSTREAM, _CLIENTS, _STREAMS, _OPERATION = "upstream", "who may ask", "streams", "operation"

COMMANDS = (
    Command(
        "serve",
        "put a durable gateway before a server, for all its clients",
        "serve:run",
        ServeOptions,
        (
            Option(
                ("--upstream",),
                "value",
                "the server that answers; most URLs end in /v1",
                group=_UPSTREAM,
                metavar="URL",
            ),
            Option(
                ("-P", "--profile"),
                "value",
                "the server by its name in the configuration",
                group=_UPSTREAM,
                metavar="NAME",
            ),
            Option(("--sim",), "flag", "the built-in simulator", group=_UPSTREAM),
            Option(
                ("--idle-timeout",),
                "value",
                "end a stream when upstream sends nothing for this long (default: {default} s)",
                group=_UPSTREAM,
                metavar="TIME",
                type=duration,
            ),
            Option(
                ("--tokens",),
                "value",
                "ask with the key of this gateway, for callers with a token in this file",
                group=_CLIENTS,
                metavar="FILE",
            ),
            Option(
                ("--new-token",),
                "value",
                "print a new token and its entry for the file, and do nothing else",
                group=_CLIENTS,
                metavar="NAME",
            ),
            Option(
                ("--allowed-hosts",),
                "append",
                "a further name in the Host header to answer to, on loopback",
                group=_CLIENTS,
                metavar="HOST",
            ),
            Option(
                ("--cors",), "append", "a web origin whose pages may use the gateway", group=_CLIENTS, metavar="ORIGIN"
            ),
            Option(
                ("--host",),
                "value",
                "the address to listen at (default: {default})",
                group=_OPERATION,
                metavar="ADDRESS",
            ),
            Option(
                ("--port",),
                "value",
                "the port (default: {default}; 0 is any free one)",
                group=_OPERATION,
                metavar="N",
                type=port,
            ),
            Option(
                ("--workers",),
                "value",
                "processes that share the port and the store (default: {default})",
                group=_OPERATION,
                metavar="N",
                type=positive,
            ),
            Option(("--cert",), "value", "the certificate for https, with its chain", group=_OPERATION, metavar="FILE"),
            Option(("--key",), "value", "the private key of the certificate", group=_OPERATION, metavar="FILE"),
            Option(
                ("--drain",),
                "value",
                "how long running streams may continue after SIGTERM (default: {default} s)",
                group=_OPERATION,
                metavar="TIME",
                type=duration,
            ),
            Option(
                ("--metrics",),
                "value",
                "serve /metrics for Prometheus on this port of 127.0.0.1",
                group=_OPERATION,
                metavar="PORT",
                type=port,
            ),
            Option(
                ("--logs",),
                "value",
                "the form of the log on stderr (default: {default})",
                group=_OPERATION,
                choices=("text", "json"),
            ),
            Option(
                ("--abandon-after",),
                "value",
                "cancel a stream that has had no viewer for this long, or never (default: {default} s)",
                group=_STREAMS,
                metavar="TIME",
                type=_time_or_never,
            ),
            Option(
                ("--streams",),
                "value",
                "how many streams one worker runs at once (default: {default})",
                group=_STREAMS,
                metavar="N",
                type=positive,
            ),
            Option(("--store",), "value", "the folder that keeps the streams", group=_STREAMS, metavar="FOLDER"),
            Option(
                ("--keep",),
                "value",
                "how long a stream is kept after its end (default: 1d)",
                group=_STREAMS,
                metavar="TIME",
                type=duration,
            ),
            Option(
                ("--keep-bytes",),
                "value",
                "how much is kept in all, such as 20G; the oldest goes first",
                group=_STREAMS,
                metavar="SIZE",
                type=size,
            ),
        ),
        description=(
            "Any OpenAI client works with its base URL changed to the gateway's. Every event is on disk before a client sees it; a client\n"
            "that lost its connection continues from its last event, and a stream outlives its client and the worker's restart."
        ),
        examples=(
            "unspool serve --upstream https://api.openai.com/v1\n"
            "unspool serve -P groq --workers 4\n"
            "unspool serve --sim                               try it without a key\n"
            "unspool serve --new-token app                     a token for --tokens"
        ),
    ),
)
