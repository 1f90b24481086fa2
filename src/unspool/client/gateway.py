"""The streams of a gateway (``unspool serve``), as its clients list, find and cancel them."""

from __future__ import annotations

from dataclasses import dataclass

from unspool import Error
from unspool.api import failure as failures
from unspool.api.prompt import Prompt
from unspool.client.exchange import Exchange
from unspool.client.http import Request, route_to, whole
from unspool.config.target import Target
from unspool.journal import ulid
from unspool.jsontext import parse
from unspool.masking import Mask, secrets_of
from unspool.outcome import RUNNING, UNREACHABLE, Ending, of_failure

# Seconds for a list or a cancel.
_TIMEOUT = 30.0
_LONGEST_LIST = 16 << 20


class GatewayError(Error):
    """The gateway did not do what was asked; ``ending`` says it as an outcome."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.message)
        self.ending = ending


@dataclass(slots=True, frozen=True)
class GatewayStream:
    """A stream that a gateway keeps. Times are Unix time, ``ttft`` seconds; ``state`` is ``running`` or the outcome."""

    id: str
    endpoint: str
    model: str
    state: str
    created: float
    ended: float | None = None
    ttft: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the answer is still being written."""
        return self.state == RUNNING


def streams(target: Target) -> list[GatewayStream]:
    """The streams of this key's owner, newest first. Raises GatewayError."""
    value = _ask(target, "GET", "/streams")
    entries = value.get("data") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        message = f"{target.base_url} is not an unspool gateway: it has no list of streams"
        raise GatewayError(Ending(UNREACHABLE, message))
    found = [_stream(entry) for entry in entries if isinstance(entry, dict)]
    return [one for one in found if ulid.is_ulid(one.id)]


def find(target: Target, piece: str) -> GatewayStream:
    """The stream that a part of an id names. Raises GatewayError, and Error where none or several have it."""
    wanted = piece.upper()
    found = [one for one in streams(target) if wanted in one.id]
    if not found and ulid.is_ulid(wanted):
        # Streams that were asked with "store": false are in no list.
        return GatewayStream(wanted, target.api, "", RUNNING, ulid.milliseconds(wanted) / 1000)
    if not found:
        raise Error(f"the gateway has no stream {piece!r}; unspool log{target.flags} lists its streams")
    if len(found) > 1:
        some = ", ".join(one.id[-8:] for one in found[:4])
        raise Error(f"{len(found)} streams of the gateway match {piece!r}, such as {some}: give more of the id")
    return found[0]


def cancel(target: Target, stream: GatewayStream) -> None:
    """Stop a stream; what has arrived is kept. Raises GatewayError."""
    _ask(target, "POST", f"/streams/{stream.id}/cancel")


def viewing(target: Target, stream: GatewayStream, *, retries: int) -> Exchange:
    """A stream from its beginning to its end, as whoever asked for it sees it. Reading it to its end is all that it does to it."""
    exchange = Exchange(
        target, Prompt([], stream.model), journal=None, api_name=stream.endpoint, body={}, retries=retries
    )
    exchange.view(stream.id)
    return exchange


def _ask(target: Target, method: str, path: str) -> object:
    headers = {"Accept": "application/json", **target.headers, **target.auth_headers()}
    body = b"" if method == "POST" else None
    request = Request(method, target.url(path), headers, body, route_to(target))
    reply = whole.fetch(request, _TIMEOUT, most=_LONGEST_LIST)
    if reply.fault is not None:
        raise GatewayError(Ending(reply.fault.outcome, reply.fault.message))
    if reply.status >= 300:
        failure = failures.from_response(reply.status, reply.headers, reply.body)
        message = Mask([target.key], secrets_of(target.headers, target.query)).text(failure.message)
        if reply.status in (404, 405) and path == "/streams":
            message = f"{target.base_url} is not an unspool gateway: {message}"
        raise GatewayError(Ending(of_failure(failure), message, failure=failure))
    return parse(reply.body)


def _stream(entry: dict[str, object]) -> GatewayStream:
    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    def number(name: str) -> float | None:
        value = entry.get(name)
        return float(value) if type(value) in (int, float) and 0 <= value < 1e12 else None  # type: ignore[operator, arg-type]

    def count(name: str) -> int | None:
        value = number(name)
        return None if value is None else int(value)

    return GatewayStream(
        text("id"),
        text("endpoint") if text("endpoint") in ("responses", "chat", "completions") else "chat",
        text("model"),
        text("state"),
        number("created") or 0.0,
        number("ended"),
        number("ttft"),
        count("input_tokens"),
        count("output_tokens"),
    )
