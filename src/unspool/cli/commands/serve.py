"""``unspool serve``: the gateway."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import ssl
import sys
import time

from unspool import Error
from unspool.cli.options import UsageError
from unspool.config.target import Route, Target
from unspool.config.url import is_loopback
from unspool.terminal.output import Notes, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.cli.options.serve import ServeOptions
    from unspool.serve.running import Configuration


def run(options: ServeOptions) -> int:
    """Serve until Ctrl-C or SIGTERM, after printing the base URL."""
    if options.new_token is not None:
        return _new_token(options.new_token)
    if sum(map(bool, (options.upstream, options.profile, options.sim))) > 1:
        raise UsageError("name the server with one of --upstream, -P and --sim")
    if bool(options.cert) != bool(options.key):
        raise UsageError("https needs both files: --cert and --key")
    _check_store(options)
    notes = Notes(Output(2))
    if not options.sim:
        return _serve(options, _target(options), notes)
    from unspool.sim.subprocess_simulator import SubprocessSimulator

    with SubprocessSimulator() as simulator:
        notes.line("answers come from the built-in simulator, not from a model")
        return _serve(options, Target("sim", simulator.url, "responses", needs_key=False), notes)


def _check_store(options: ServeOptions) -> None:
    """Raise UsageError for options that do not go with the store."""
    from unspool.serve.engine import is_engine

    if is_engine(options.store):
        if options.secret is None:
            raise UsageError("nodes that share a store share a secret: give each the same file with --secret FILE")
        if options.keep_bytes is not None:
            raise UsageError(
                "--keep-bytes is for a folder; with a URL, --keep and the engine's maxmemory bound the size"
            )
        if options.sync == "always":
            raise UsageError(
                "with a URL, the engine's appendfsync says when it syncs; --sync replica waits for a replica"
            )
    elif options.sync == "replica":
        raise UsageError("--sync replica needs a store with replicas: --store valkey://HOST:PORT/DB")


def _target(options: ServeOptions) -> Target:
    from unspool.config.settings import resolve

    return resolve(profile=options.profile, base_url=options.upstream)


def _serve(options: ServeOptions, target: Target, notes: Notes) -> int:
    from unspool.serve.running import listen, run_workers

    if options.tokens is None:
        # Callers bring their own keys: ours must not pay for strangers.
        target.key = None
        if not _is_local(options.host) and not target.needs_key:
            raise UsageError(
                f"{target.name} needs no key, so anyone who can reach {options.host} could use it: give --tokens FILE"
                " (unspool serve --new-token NAME makes one), or listen on 127.0.0.1"
            )
    elif target.needs_key and not target.key:
        raise Error(f"--tokens needs a key for the gateway, and {target.name} has none: {target.key_hint}")
    _configure_logging(options.logs)
    configuration = _configuration(options, target)
    if notes.is_tty:
        # Only where a person reads it: in a log it would outlive its purpose.
        configuration.settings.page_token = secrets.token_urlsafe(24)
    try:
        configuration.owners()
        configuration.store()
        configuration.tls()
        listener = listen(options.host, options.port)
    except ssl.SSLError as error:
        raise Error(f"the certificate or its key cannot be used: {error.reason or error}") from error
    except OSError as error:
        if error.filename is not None:
            raise
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Error(f"cannot listen on {options.host} port {options.port}: {reason}") from error
    scheme = "https" if options.cert else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"{scheme}://{host}:{listener.getsockname()[1]}/v1"

    def ready() -> None:
        with contextlib.suppress(OSError):
            Output(1).write(url + "\n")
        notes.line(f"the gateway to {target.base_url} is running; press Ctrl-C to stop it")
        if configuration.settings.page_token is not None:
            page = url.removesuffix("/v1") + "/page/"
            notes.line(f"to see its streams in a browser: {page} with the token {configuration.settings.page_token}")

    return run_workers(configuration, listener, options.workers, ready)


def _configuration(options: ServeOptions, target: Target) -> Configuration:
    from unspool.client.limits import IDLE_TIMEOUT
    from unspool.config.paths import state_dir
    from unspool.serve.engine import is_engine
    from unspool.serve.gateway import Settings
    from unspool.serve.running import Configuration

    network = target.network or Route()
    engine, folder = (options.store, None) if is_engine(options.store) else (None, options.store)
    return Configuration(
        target,
        folder or os.path.join(state_dir(), "gateway"),
        Settings(
            allowed_hosts=tuple(options.allowed_hosts),
            origins=tuple(options.cors),
            is_loopback=_is_local(options.host),
            abandon_after=options.abandon_after,
            silence=options.idle_timeout or network.idle_timeout or IDLE_TIMEOUT,
            longest=network.timeout,
            streams=options.streams,
            drain=options.drain,
        ),
        engine=engine,
        secret=options.secret,
        sync=options.sync,
        tokens=options.tokens,
        keep=options.keep,
        keep_bytes=options.keep_bytes,
        use_proxy=not options.sim,
        certificate=(options.cert, options.key) if options.cert and options.key else None,
        metrics=options.metrics,
    )


def _is_local(host: str) -> bool:
    return is_loopback(host) or host == "localhost"


def _new_token(name: str) -> int:
    from unspool.serve.owners import hash_token, new_token

    token = new_token()
    quoted = json.dumps(name)
    Output(1).write(f'# {token}\n[[token]]\nname = {quoted}\nhash = "{hash_token(token)}"\n')
    Notes(Output(2)).line("give the first line, without #, to the client; put the rest into the file for --tokens")
    return 0


class _JSONFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        said.update(getattr(record, "unspool", {}))
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return json.dumps(said, default=str)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(
            f"{key}={value}" for key, value in getattr(record, "unspool", {}).items() if value is not None
        )
        line = f"unspool: {record.getMessage()}{' ' if fields else ''}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _configure_logging(form: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONFormatter() if form == "json" else _TextFormatter())
    logger = logging.getLogger("unspool.serve")
    logger.addHandler(handler)
    logger.propagate = False
    # Requests are many: a person at a terminal sees warnings, a log collector everything.
    logger.setLevel(logging.INFO if form == "json" else logging.WARNING)
