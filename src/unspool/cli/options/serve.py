"""``unspool serve`` as data."""

from __future__ import annotations

from unspool.cli import commands
from unspool.cli.options import Command, Option, Options, duration, port, positive

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
    secret: str | None = None
    sync: str = "interval"
    tokens: str | None = None
    new_token: str | None = None
    allowed_hosts: Sequence[str] = ()
    cors: Sequence[str] = ()
    cert: str | None = None
    key: str | None = None
    abandon_after: float | None = 60.0
    idle_timeout: float | None = None
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


_UPSTREAM, _CLIENTS, _STREAMS, _OPERATION = "upstream", "access", "streams", "operation"

COMMANDS = (
    Command(
        "serve",
        "run a durable gateway in front of a server",
        lambda options: commands.serve.run(options),
        ServeOptions,
        (
            Option("--upstream URL", "the base URL of the server behind the gateway; most end in /v1", _UPSTREAM),
            Option("-P, --profile NAME", "the server, as a profile of the configuration", _UPSTREAM),
            Option("--sim", "use the built-in simulator as the server", _UPSTREAM),
            Option(
                "--idle-timeout TIME",
                "end a stream if the upstream server sends nothing for this long (default: the profile's, or 300 s)",
                _UPSTREAM,
                type=duration,
            ),
            Option("--tokens FILE", "use the gateway's key, for clients with a token in this file", _CLIENTS),
            Option("--new-token NAME", "print a new token and its entry for the token file, then exit", _CLIENTS),
            Option(
                "--allowed-hosts HOST...", "also accept this name in the Host header, on loopback; repeatable", _CLIENTS
            ),
            Option("--cors ORIGIN...", "allow web pages of this origin to use the gateway; repeatable", _CLIENTS),
            Option("--host ADDRESS", "the address to listen on (default: {default})", _OPERATION),
            Option("--port N", "the port; 0 chooses a free one (default: {default})", _OPERATION, type=port),
            Option(
                "--workers N",
                "number of processes, which share the port and the store (default: {default})",
                _OPERATION,
                type=positive,
            ),
            Option("--cert FILE", "the certificate for HTTPS, with its chain", _OPERATION),
            Option("--key FILE", "the private key of the certificate", _OPERATION),
            Option(
                "--drain TIME",
                "how long running streams may continue after SIGTERM (default: {default} s)",
                _OPERATION,
                type=duration,
            ),
            Option("--metrics PORT", "serve /metrics for Prometheus on this port of 127.0.0.1", _OPERATION, type=port),
            Option("--logs text|json", "the log format on stderr (default: {default})", _OPERATION),
            Option(
                "--abandon-after TIME",
                "cancel a stream after this long without a viewer, or never (default: {default} s)",
                _STREAMS,
                type=_time_or_never,
            ),
            Option(
                "--streams N",
                "maximum number of streams at once per worker (default: {default})",
                _STREAMS,
                type=positive,
            ),
            Option(
                "--store WHERE",
                "where streams are stored: a folder, or for many machines the URL of Valkey or Redis (valkey://HOST:PORT/DB)",
                _STREAMS,
            ),
            Option("--secret FILE", "with a URL: the secret that all nodes share, at least 32 bytes", _STREAMS),
            Option(
                "--sync interval|always|replica",
                "when an event counts as stored: once written, synced to disk, or (with a URL) received by a replica"
                " (default: {default})",
                _STREAMS,
            ),
            Option("--keep TIME", "how long a stream is stored after its end (default: 1d)", _STREAMS, type=duration),
            Option(
                "--keep-bytes SIZE",
                "maximum size of the store, such as 20G; the oldest streams are removed first",
                _STREAMS,
                type=size,
            ),
        ),
        description=(
            "Run a gateway in front of a server. Any OpenAI client works with it: change only the base URL. Every event is on disk before a"
            " client sees it. A client that lost its connection continues from its last event; streams survive the loss of their client and"
            " restarts of the workers."
        ),
        examples=(
            "unspool serve --upstream https://api.openai.com/v1\n"
            "unspool serve -P groq --workers 4\n"
            "unspool serve -P groq --store valkey://10.0.0.5:6379/0 --secret /etc/unspool/secret\n"
            "unspool serve --sim                               try it without a key\n"
            "unspool serve --new-token app                     a token for --tokens"
        ),
    ),
)
