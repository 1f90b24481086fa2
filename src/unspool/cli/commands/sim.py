"""``unspool sim``: the simulator as a server of its own."""

from __future__ import annotations

import os

from unspool.cli.options import CommandError, UsageError
from unspool.cli.options.sim import SimOptions
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext


_INTO = "tapes"
_OF_TAPES = ("tapes", "tape_match", "tape_ignore", "speed", "tapes_only")
_OF_FAULTS = ("fault", "script", "drop_after", "upstream")
_OF_SERVERS = ("host", "port", "record", "into")
# What has no meaning before another server, which has a pace, keys and responses of its own.
_OF_THE_SIMULATOR = [name for name in SimOptions.field_names() if name not in (*_OF_TAPES, *_OF_FAULTS, *_OF_SERVERS)]


def run(options: SimOptions) -> int:
    """Serve until Ctrl-C, after printing the base URL."""
    notes = Notes(Output(2))
    if wrong := _contradiction(options):
        raise UsageError(wrong)

    def ready(url: str) -> None:
        Output(1).write(url + "\n")
        what = f"the proxy to {options.upstream}" if options.upstream else "the simulator"
        if options.record:
            what = f"the recorder of {options.record}, into {options.into or _INTO},"
        notes.line(f"{what} is running; press Ctrl-C to stop it")
        if notes.is_tty:
            # For another terminal: other programs find the server by these.
            notes.write(f"export OPENAI_BASE_URL={url}\n")
            if not (options.upstream or options.record or options.require_key):
                notes.write("export OPENAI_API_KEY=sim\n")

    try:
        options = options.replace(tapes=[_located(path) for path in options.tapes])
        signal = _serve(options, ready, notes)
    except (ValueError, LookupError) as error:
        raise UsageError(str(error)) from error
    except (FileNotFoundError, FileExistsError, NotADirectoryError, PermissionError) as error:
        if error.filename is None:
            raise
        raise UsageError(f"{error.filename}: {error.strerror}") from error
    except OSError as error:
        # The socket module's own words, where there is a number for it, repeat the address in brackets.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        raise CommandError(f"cannot listen on {options.host} port {options.port}: {reason}") from error
    # Ending is what the signal asked for: only SIGTERM, which may come from anywhere, shows in the exit code.
    return 0 if signal == 2 else 128 + signal


def _contradiction(options: SimOptions) -> str:
    """What of the options does not go together, in a sentence; empty where all does."""

    def given(names: tuple[str, ...]) -> list[str]:
        return [f"--{name.replace('_', '-')}" for name in options.given(names)]

    for option in given(_OF_FAULTS) if options.record else ():
        return f"{option} does not work with --record: a tape holds what the server sent"
    other = "--record" if options.record else "--upstream" if options.upstream else ""
    for option in given((*_OF_THE_SIMULATOR, *_OF_TAPES)) if other else ():
        return f"{option} does not work with {other}: the answers come from that server"
    if options.into and not options.record:
        return "--into needs --record URL"
    for option in given(("tape_match", "tape_ignore", "speed", "tapes_only")) if not options.tapes else ():
        return f"{option} needs --tapes PATH"
    return "--itl and --tps set the same thing: give only one of them" if None not in (options.itl, options.tps) else ""


def _located(path: str) -> str:
    """A tape by its path, or by a piece of its id where it is kept with the journals. Raises a LookupError."""
    if os.path.exists(path) or "." in path or "/" in path:
        return path
    from unspool.config.paths import streams_dir
    from unspool.journal import folder

    return folder.locate(streams_dir(), path)


def _serve(options: SimOptions, ready: Callable[[str], None], notes: Notes) -> int:
    faults, script = options.fault, options.script
    if options.record:
        from unspool.sim.proxy import serve_proxy
        from unspool.sim.tapes.recording import Recorder

        recorder = Recorder(options.into or _INTO, tell=notes.line)
        return serve_proxy(
            options.record, options.host, options.port, record=recorder, tls=_tls(options.record), on_ready=ready
        )
    if options.upstream:
        from unspool.sim.proxy import serve_proxy

        cut = () if options.drop_after is None else (f"cut={options.drop_after}",)
        return serve_proxy(
            options.upstream,
            options.host,
            options.port,
            faults=[*faults, *cut],
            script=script,
            tls=_tls(options.upstream),
            on_ready=ready,
        )
    from unspool.sim.clock import VirtualClock
    from unspool.sim.running import serve
    from unspool.sim.simulator import REALISTIC_ITL, REALISTIC_TTFT, SimulatorSettings

    ttft = REALISTIC_TTFT if options.ttft is None else options.ttft
    itl = REALISTIC_ITL if options.itl is None else options.itl
    settings = SimulatorSettings(
        ttft=ttft,
        itl=1 / options.tps if options.tps else itl,
        burst=options.burst or 1,
        total_tps=options.total_tps,
        rpm=options.rpm,
        tpm=options.tpm,
        seed=options.seed or 0,
        require_key=options.require_key,
        event_ids=options.event_ids,
        drop_after=options.drop_after,
        faults=faults,
        script=script,
        dialect=options.dialect or "openai",
        tapes=options.tapes,
        tape_match=options.tape_match or "strict",
        tape_ignore=options.tape_ignore,
        tape_speed=options.speed or 1.0,
        tapes_only=options.tapes_only,
        models=options.models,
        context_window=options.context_window,
        strict=options.strict,
        lenient=options.lenient,
        answers=options.answers,
        answers_only=options.answers_only,
        control=True if options.control else None,
        origins=options.allow_origin,
        clock=VirtualClock() if options.virtual_clock else None,
    )
    if options.resumable_for is not None:
        settings.resumable_for = options.resumable_for
    if options.keepalive is not None:
        settings.keepalive = options.keepalive
    host, port = options.host, options.port
    return serve(host, port, settings=settings, on_ready=ready, on_miss=notes.line)


def _tls(upstream: str) -> SSLContext | None:
    """How an https server is verified: by the roots that all of unspool trusts."""
    if not upstream.startswith("https:"):
        return None
    from unspool.client.http import roots

    return roots.context()
