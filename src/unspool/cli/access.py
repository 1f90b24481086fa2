"""The server that a command asks, and what to say about the model and the key for it."""

from __future__ import annotations

from unspool import outcome
from unspool.api import NAMES
from unspool.cli.options import CommandError, UsageError
from unspool.config.url import has_version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from unspool.cli.options.shared import AddressOptions, ServerOptions
    from unspool.config import Settings
    from unspool.config.target import Target
    from unspool.outcome import Ending
    from unspool.sim.running import Simulator
    from unspool.terminal.output import Notes

    _Options = TypeVar("_Options", bound=ServerOptions)

#: The profile of the built-in simulator in journals. No table of a configuration file is likely to have this name.
SIMULATOR = "built-in simulator"
# Seconds for the list of models of a server that has no default one.
_MODELS_TIMEOUT = 5.0


def whom_to_ask(options: ServerOptions, model: str | None, settings: Settings | None = None) -> Target:
    """Where the options say to ask, and for which model. Raises ConfigError."""
    from unspool.config.settings import resolve

    target = resolve(
        settings=settings,
        profile=options.profile,
        base_url=options.base_url,
        key=options.key,
        model=model or ("sim-1" if options.sim else None),
        api=options.api,
    )
    if options.sim:
        target.name = SIMULATOR
    return with_headers(target, options)


def with_headers(target: Target, options: AddressOptions) -> Target:
    """Return the target with the headers of ``-H``, which take the place of those of its profile."""
    if not options.headers:
        return target
    given = dict(one.split(":", 1) for one in options.headers)
    names = {name.lower() for name in given}
    headers = {name: value for name, value in target.headers.items() if name.lower() not in names}
    return target.replace(headers=headers | {name: value.strip() for name, value in given.items()})


def with_model(target: Target, *, use_proxy: bool = True, looks: bool = True) -> Target:
    """Return the target with a model: its own, or the only one that its server has. Raises UsageError where there are others.

    The server is asked for its models only where the caller ``looks``.
    """
    if target.model:
        return target
    from unspool.cli.commands import models

    names: list[str] = []
    if looks and not lacks_key(target):
        ending, found = models.fetch(target, _MODELS_TIMEOUT, use_proxy=use_proxy)
        names = models.names(found) if ending is None else []
    if len(names) == 1:
        return target.replace(model=names[0])
    some = f", such as {names[0]}" if names else ""
    raise UsageError(
        f"name a model with -m{some}: {target.name} has no default model; unspool models{target.flags} lists its models"
    )


def with_simulator(
    options: _Options, work: Callable[[_Options], int], announce: Callable[[str], None] | None = None
) -> int:
    """Do the work of a command that asks a server, and return its exit code.

    With ``--sim`` the built-in simulator runs as long as the work does, and is the server that its options name. One that is
    ``announced``, with its URL, takes as long as a model does; else it answers at once.
    """
    if not options.sim:
        return work(options)
    with simulator(at_once=announce is None) as running:
        if announce is not None:
            announce(running.url)
        return work(options.replace(base_url=running.url, profile=None))


def simulator(*, at_once: bool = False) -> Simulator:
    """Return the built-in simulator, which runs in a ``with`` block. It takes as long as a model does unless it answers ``at_once``."""
    from unspool.sim.running import Simulator
    from unspool.sim.simulator import REALISTIC_ITL, REALISTIC_TTFT, SimulatorSettings

    pace = SimulatorSettings() if at_once else SimulatorSettings(ttft=REALISTIC_TTFT, itl=REALISTIC_ITL)
    return Simulator(pace)


def lacks_key(target: Target) -> bool:
    """Whether asking is no use, for the server wants a key and there is none."""
    return target.needs_key and not target.key


def check(target: Target, notes: Notes) -> None:
    """Report what a person should know before this server is asked. Raises CommandError where the key for it is missing."""
    if lacks_key(target):
        raise CommandError(missing_key(target), outcome.EXIT_CODES[outcome.UNAUTHORIZED])
    for warning in target.warnings:
        notes.line(warning)


def missing_key(target: Target) -> str:
    """Say that there is no key, and the ways to give one or to do without."""
    from unspool.cli.engines import running

    engines = "".join(f", or use {name}, which runs on this machine: {command}" for name, command in running())
    return f"no API key for {target.name}: {target.key_hint}{engines}, or use the built-in simulator, which needs no key: --sim"


def advice(ending: Ending, target: Target) -> str:
    """Say what to do about an error of this server; "" where nothing is known to help."""
    if ending.outcome == outcome.UNAUTHORIZED:
        return f"to use {'another' if target.key else 'a'} key, {target.key_hint}"
    failure = ending.failure
    said = ending.message.lower()
    if failure is None:
        return url_advice(target) if "web page" in said else ""
    if failure.code == "model_not_found" or (
        "model" in said and (failure.status == 404 or "invalid model name" in said)
    ):
        return f"unspool models{target.flags} lists the server's models"
    if failure.status == 407:
        return "the proxy requires a user name and a password: HTTP_PROXY=http://USER:PASSWORD@HOST:PORT"
    if "max_completion_tokens" in said:
        return "try -o max_tokens null -o max_completion_tokens N"
    # What unspool sends without being asked to, as servers name it that do not know it.
    for field, words in (("stream_options", "stream_options"), ("store", "'store'"), ("include", "encrypted content")):
        if words in said:
            return f"try -o {field} null, which leaves that field out"
    if "stream" in said and "verified" in said:
        return "try --no-stream, which requests the answer in one piece"
    if "https port" in said or "https server" in said:
        return f"the server uses TLS: try --base-url https{target.base_url.removeprefix('http')}"
    if "use --api" in said:
        return ""
    if failure.status in (404, 405) or "web page" in said:
        return url_advice(target)
    return ""


def url_advice(target: Target) -> str:
    """Say which URL or endpoint to try after the server has nothing at this one."""
    if not has_version(target.base_url):
        # That most have a version is in the message already.
        return f"try --base-url {target.base_url}/v1; unspool doctor{target.flags} finds the URL that works"
    others = " or ".join(f"--api {name}" for name in NAMES if name != target.api)
    return f"the server may not have this endpoint: try {others}; unspool doctor{target.flags} looks for the right URL"
