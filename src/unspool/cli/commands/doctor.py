"""``unspool doctor``: tests every step from the configuration to the first token, with time and verdict.

What it prints is meant for a bug report: it names where the key comes from and never the key, nor passwords of a proxy, nor the name of
the home folder.
"""

from __future__ import annotations

import os
import time

from unspool import outcome
from unspool.api.deltas import Reasoning, Refusal, Text
from unspool.api.prompt import Prompt
from unspool.cli.access import advice, lacks_key, missing_key, whom_to_ask, with_simulator
from unspool.cli.commands import models
from unspool.client.answer import Answer
from unspool.client.exchange import Exchange
from unspool.client.http import Request, route_to, whole
from unspool.client.http.transport import proxy_for
from unspool.client.limits import Limits
from unspool.config import ConfigError, paths, settings
from unspool.config.url import has_version
from unspool.terminal.abilities import shows_utf8
from unspool.terminal.output import Output
from unspool.terminal.safety import one_line
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from unspool.cli.options.setup import DoctorOptions
    from unspool.client.http.whole import Connection, Reply
    from unspool.config.target import Target

# OpenAI's Responses API takes no lower limit than this.
_FEWEST_TOKENS = 16
_QUESTION = "Say hello."
# Where servers have their API, after scheme, host and port: nearly all, Open WebUI and others, Groq, Gemini, and none at all.
_BASE_PATHS = ("/v1", "/api/v1", "/api", "/openai/v1", "/v1beta/openai", "")

OK = "ok"
WARNING = "warning"
FAILED = "failed"
SKIPPED = "skipped"
_MARKS = {OK: "✓", WARNING: "!", FAILED: "✗", SKIPPED: "-"}


class Step(Fields):
    """One step: its verdict, what was found, how long it took in seconds (None where that means nothing), and its exit code."""

    name: str
    verdict: str
    found: str
    seconds: float | None = None
    code: int = 0


def run(options: DoctorOptions) -> int:
    """Print each step as it is done. The exit code is that of the first one that failed."""
    return with_simulator(options, _report)


def _report(options: DoctorOptions) -> int:
    stdout = Output(1)
    as_json = options.json
    code = 0
    failed: list[str] = []
    for step in examine(options):
        if step.verdict == FAILED:
            failed.append(step.name)
            code = code or step.code
        stdout.write(_json(step) if as_json else _line(step, ascii=not shows_utf8(os.environ)))
    if not as_json:
        stdout.write(f"\n{'All checks passed.' if not failed else 'Failed: ' + ', '.join(failed) + '.'}\n")
    return code


def examine(options: DoctorOptions) -> Iterator[Step]:
    """Test the steps from the configuration to the first token, until one fails that the next ones need."""
    yield Step("unspool", OK, _versions())
    began = time.monotonic()
    try:
        configuration = settings.load()
        target = whom_to_ask(options, options.model, configuration)
    except ConfigError as error:
        yield Step("config", FAILED, _without_home(str(error)), code=outcome.EXIT_CODES[outcome.ERROR])
        return
    path = paths.config_file()
    file = _without_home(path) if os.path.exists(path) else f"no {_without_home(path)} (optional)"
    yield Step(
        "config",
        WARNING if target.warnings else OK,
        "; ".join((f"{file}; profile {target.name}: {target.base_url}, {target.api}", *target.warnings)),
        time.monotonic() - began,
    )
    yield _journals()
    yield _key(target, options.key)
    if lacks_key(target):
        return
    use_proxy = not options.sim
    headers = {"Accept": "application/json", **target.headers, **target.auth_headers()}
    request = Request("GET", target.url("/models"), headers, route=route_to(target, use_proxy=use_proxy))
    proxy = proxy_for(request)
    yield Step("proxy", OK if proxy else SKIPPED, f"{proxy}, unless NO_PROXY excludes the host" if proxy else "none")
    reply = whole.fetch(request, options.timeout)
    yield from _way(target, reply)
    if not reply.status:
        return
    is_elsewhere = reply.status in (404, 405) or "html" in reply.headers.get("content-type", "")
    if is_elsewhere and not has_version(target.base_url):
        step = _base_url(target, headers, options.timeout, use_proxy)
        yield step
        if step.verdict == FAILED:
            return
    yield from _list(target, reply)
    if not target.model:
        return
    if options.no_ask:
        yield Step("first token", SKIPPED, "--no-ask")
        return
    yield from _ask(target, options.timeout, use_proxy)


def _journals() -> Step:
    from unspool.journal.writer import Writer

    folder = paths.streams_dir()
    began = time.monotonic()
    journal = Writer(folder)
    trouble = journal.trouble
    try:
        if journal.path is not None:
            # What a stream does: create, write, sync. The file is removed again.
            journal.sync()
            os.unlink(journal.path)
    finally:
        journal.close()
    if trouble:
        return Step("journals", WARNING, _without_home(f"{trouble}; answers are kept in memory only"))
    return Step("journals", OK, f"{_without_home(folder)} is writable", time.monotonic() - began)


def _key(target: Target, given: str | None) -> Step:
    if not target.key:
        if target.needs_key:
            return Step("key", FAILED, missing_key(target), code=outcome.EXIT_CODES[outcome.UNAUTHORIZED])
        return Step("key", SKIPPED, f"none; {target.name} may not need one")
    return Step("key", OK, f"{len(target.key)} characters, from {key_source(target.key, given)}")


def key_source(key: str, given: str | None) -> str:
    """Where a key came from, found by looking where it could have come from."""
    if given is not None:
        return "--key"
    variable = next((name for name, value in sorted(os.environ.items()) if value.strip() == key), None)
    if variable is not None:
        return variable
    from unspool.config.keys import key_names, read_key

    if any(read_key(name) == key for name in key_names()):
        return _without_home(paths.keys_file())
    return "key_cmd"


def _way(target: Target, reply: Reply) -> Iterator[Step]:
    """The steps of a connection: those that were done, and the one that failed."""
    seen = reply.connection
    secure = target.base_url.startswith("https:")
    parts = [("DNS", seen.resolved, "resolved"), ("TCP", seen.connected, seen.address)]
    if secure:
        parts.append(("TLS", seen.tls, _certificate(seen)))
    before = 0.0
    for name, done_at, found in parts:
        if not done_at:
            if reply.fault is not None:
                code = outcome.EXIT_CODES.get(reply.fault.outcome, 1)
                yield Step(name, FAILED, reply.fault.message, code=code)
                return
            continue
        yield Step(name, OK, found, done_at - before)
        before = done_at
    if not secure:
        yield Step("TLS", SKIPPED, "plain http")
    if not reply.status and reply.fault is not None:
        yield Step("HTTP", FAILED, reply.fault.message, code=outcome.EXIT_CODES.get(reply.fault.outcome, 1))
    elif reply.status:
        yield Step("HTTP", OK, f"HTTP/{seen.http_version}, status {reply.status}", seen.answered - before)


def _base_url(target: Target, headers: dict[str, str], timeout: float, use_proxy: bool) -> Step:
    """Look for a base URL of this server that has a list of models, or wants a key for it."""
    origin = "/".join(target.base_url.split("/", 3)[:3])
    began = time.monotonic()
    for base in dict.fromkeys([target.base_url + "/v1", *(origin + path for path in _BASE_PATHS)]):
        if base != target.base_url:
            reply = whole.fetch(
                Request("GET", base + "/models", headers, route=route_to(target, use_proxy=use_proxy)), timeout
            )
            if reply.status in (401, 403) or models.read_list(target, reply)[0] is None:
                found = f"no API at {target.base_url}, but one at {base}: use --base-url {base}"
                return Step(
                    "base URL", FAILED, found, time.monotonic() - began, outcome.EXIT_CODES[outcome.UNREACHABLE]
                )
    tried = ", ".join(path or "/" for path in _BASE_PATHS)
    return Step(
        "base URL", WARNING, f"no list of models at {target.base_url}, nor at {tried}", time.monotonic() - began
    )


def _certificate(seen: Connection) -> str:
    words = f"certificate by {one_line(seen.issuer)}" if seen.issuer else "trusted"
    return f"{words}, until {one_line(seen.expires)}" if seen.expires else words


def _list(target: Target, reply: Reply) -> Iterator[Step]:
    """Whether the key is accepted and the model exists, as far as the list of models shows."""
    ending, offered = models.read_list(target, reply)
    if ending is not None and ending.outcome == outcome.UNAUTHORIZED:
        yield Step("auth", FAILED, outcome.sentence(ending, None, advice(ending, target)), code=ending.exit_code)
        return
    if ending is not None:
        yield Step("auth", WARNING, f"unknown: the list of models is not available ({ending.message})")
        names = None
    else:
        yield Step("auth", OK, "the server listed its models" + ("" if target.key else " without a key"))
        names = models.names(offered)
    model = one_line(target.model or "")
    if not model:
        yield Step(
            "model", FAILED, f"name one with -m; {target.name} has no default model", code=outcome.USAGE_EXIT_CODE
        )
    elif names is None:
        yield Step("model", WARNING, f"{model}: not known to be there")
    elif model in names:
        yield Step("model", OK, f"{model} is one of {len(names)}")
    else:
        yield Step(
            "model", WARNING, f"{model} is not in the list of {len(names)}; unspool models{target.flags} prints it"
        )


def _ask(target: Target, timeout: float, use_proxy: bool) -> Iterator[Step]:
    prompt = Prompt(_QUESTION, target.model or "", max_tokens=_FEWEST_TOKENS)
    exchange = Exchange(target, prompt, journal=None, retries=0, use_proxy=use_proxy)
    began = time.monotonic()
    first: float | None = None
    kind = ""
    with Answer(exchange, Limits(timeout, timeout, timeout), check=False) as answer:
        for delta in answer.deltas():
            if first is None and isinstance(delta, Text | Refusal | Reasoning):
                first = time.monotonic()
                kind = type(delta).__name__.lower()
    ending = answer.ending
    assert ending is not None
    if first is not None:
        yield Step("first token", OK, f"{target.api}, {kind}", first - began)
    elif ending.outcome == outcome.LENGTH:
        yield Step("first token", OK, f"no text within {_FEWEST_TOKENS} tokens: the model reasons first")
    else:
        yield Step("first token", FAILED, f"{target.api}: no token arrived", code=ending.exit_code)
    took = time.monotonic() - began
    # The limit is this command's own, so that reaching it is as good an end as any.
    if ending.outcome in (outcome.COMPLETE, outcome.LENGTH):
        yield Step("end", OK, ending.outcome, took)
    else:
        said = outcome.sentence(ending, None, advice(ending, target)) or ending.outcome
        yield Step("end", FAILED, said, took, ending.exit_code)


def _versions() -> str:
    import platform

    from unspool import __version__
    from unspool.client.http.curl import pycurl

    # "PycURL/7.47 libcurl/8.23.0 OpenSSL/3.6.5 …": what else it was built with rarely matters.
    library = " ".join(pycurl.version.split()[1:3])
    python = platform.python_version()
    return f"{__version__}, Python {python}, {platform.system()} {platform.release()} {platform.machine()}, {library}"


def _without_home(text: str) -> str:
    """A text without the home folder, whose name is a person's."""
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text


def _line(step: Step, *, ascii: bool) -> str:
    mark = step.verdict[0].upper() if ascii else _MARKS[step.verdict]
    took = "" if step.seconds is None else _duration(step.seconds)
    return f"{mark} {step.name:<11} {took:>8}  {one_line(step.found)}\n"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


def _json(step: Step) -> str:
    from unspool.jsontext import dumps

    took = None if step.seconds is None else round(step.seconds, 6)
    return dumps({"step": step.name, "verdict": step.verdict, "found": step.found, "seconds": took}) + "\n"
