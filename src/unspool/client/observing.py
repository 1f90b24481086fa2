"""Watching streams from outside: for tracing, metrics and logs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from unspool.outcome import CANCELLED, CLOSED, COMPLETE, FILTERED, LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.deltas import Usage
    from unspool.client.exchange import Exchange
    from unspool.outcome import Ending


@dataclass(slots=True, eq=False, weakref_slot=True)
class Observation:
    """What is known of one stream: the same object in all calls for it, with more in it each time. No key, header or text is in it.

    ``id`` is the stream's, None without a journal. ``api`` is the endpoint's name; ``method``, ``url`` (without its query) and ``model`` are
    of the newest request. ``attempt`` counts from 1; before a further one ``wait`` is the pause in seconds, and ``reason`` says why in one
    line. The server names ``response_id`` and ``response_model``. ``seconds`` from the newest request to the end, and to the first piece
    (``first_piece``, None where none came). ``ending``, ``usage`` and ``finish_reasons``, one for each choice, are there at the end.
    """

    id: str | None
    api: str
    method: str
    url: str
    model: str
    streams: bool
    attempt: int = 1
    wait: float = 0.0
    reason: str = ""
    response_id: str | None = None
    response_model: str | None = None
    first_piece: float | None = None
    seconds: float | None = None
    ending: Ending | None = None
    usage: Usage | None = None
    finish_reasons: tuple[str, ...] = ()


class Observer:
    """Base of what watches streams: ``unspool.Client(observer=…)``. Override what you need; the methods are called in the thread that reads.

    Each takes the stream's `Observation`. What a method raises reaches the reader of the stream.
    """

    def on_request(self, seen: Observation) -> None:
        """Called for a request that is about to be sent."""

    def on_attempt(self, seen: Observation) -> None:
        """Called when another attempt will be made after ``seen.wait`` seconds."""

    def on_end(self, seen: Observation) -> None:
        """Called when a stream has ended, as ``seen.ending`` says."""


class Watch:
    """Reports one exchange to an observer."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._seen: Observation | None = None

    def request(self, exchange: Exchange, method: str, url: str) -> None:
        """Report a request that is about to be sent."""
        seen, url = self._of(exchange), url.partition("?")[0]
        seen.method, seen.url = method, url
        self._observer.on_request(seen)

    def attempt(self, exchange: Exchange, wait: float) -> None:
        """Report a wait before another attempt."""
        seen = self._of(exchange)
        seen.attempt, seen.wait, seen.reason = exchange.attempt, wait, exchange.retry_reason
        self._observer.on_attempt(seen)

    def end(self, exchange: Exchange) -> None:
        """Report the end."""
        seen, decoder = self._of(exchange), exchange.decoder
        seen.ending, seen.seconds = exchange.ending, exchange.ended_at
        seen.first_piece = None if exchange.content_at is None else round(exchange.content_at, 3)
        seen.response_id, seen.response_model, seen.usage = decoder.response_id, decoder.model, decoder.usage
        seen.finish_reasons = tuple(reason for _, reason in sorted(decoder.finish_reasons.items()))
        self._observer.on_end(seen)

    def _of(self, exchange: Exchange) -> Observation:
        if self._seen is None:
            id = exchange.journal.id if exchange.journal is not None else None
            prompt, url = exchange.prompt, exchange.url.partition("?")[0]
            self._seen = Observation(id, exchange.api_name, "POST", url, prompt.model, prompt.stream)
        return self._seen


class Logging(Observer):
    """Writes what happens to the logger ``unspool``: requests and ends at INFO, further attempts at WARNING."""

    def __init__(self) -> None:
        import logging

        self._log = logging.getLogger("unspool")

    def on_request(self, seen: Observation) -> None:
        """Log a request."""
        self._log.info("%s: %s %s, model %s", seen.id, seen.method, seen.url, seen.model)

    def on_attempt(self, seen: Observation) -> None:
        """Log a wait."""
        self._log.warning("%s: attempt %d in %.1f s: %s", seen.id, seen.attempt, seen.wait, seen.reason)

    def on_end(self, seen: Observation) -> None:
        """Log an end."""
        outcome = seen.ending.outcome if seen.ending is not None else None
        self._log.info("%s: %s after %.2f s", seen.id, outcome, seen.seconds or 0.0)


# The providers that the conventions name, by the ends of their hosts. All others are named after the API that is spoken.
_PROVIDERS = {
    "groq.com": "groq",
    "deepseek.com": "deepseek",
    "mistral.ai": "mistral_ai",
    "x.ai": "x_ai",
    "perplexity.ai": "perplexity",
    "anthropic.com": "anthropic",
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "openai.azure.com": "azure.ai.openai",
    "cognitiveservices.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.openai",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "amazonaws.com": "aws.bedrock",
}


def provider_of(host: str) -> str:
    """The ``gen_ai.provider.name`` of a server."""
    host = f".{host}".replace("-aiplatform.", ".aiplatform.")  # a region stands before it
    for end, name in _PROVIDERS.items():
        if host.endswith(f".{end}"):
            return name
    return "openai"


# Ends that are no error of the operation.
_NO_ERRORS = (COMPLETE, LENGTH, FILTERED, CANCELLED, CLOSED)


class Tracing(Observer):
    """Makes an OpenTelemetry span of each stream, with the attributes of the GenAI semantic conventions. Needs ``unspool[otel]``.

    ``provider`` is a tracer provider, None for the global one. A span begins with the first request and ends with the stream; further
    attempts are events in it. A stream that failed has the outcome as ``error.type``. No text and no server's message is in a span.
    """

    def __init__(self, provider: Any = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError:
            raise ImportError("unspool.Tracing needs opentelemetry-api: pip install 'unspool[otel]'") from None

        from unspool import __version__

        self._trace = trace
        self._tracer = trace.get_tracer("unspool", __version__, provider)
        self._spans: WeakKeyDictionary[Observation, Any] = WeakKeyDictionary()

    def on_request(self, seen: Observation) -> None:
        """Begin the span, with the first request."""
        if seen in self._spans:
            return
        operation = "text_completion" if seen.api == "completions" else "chat"
        url = urlsplit(seen.url)
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider_of(url.hostname or ""),
            "gen_ai.request.model": seen.model,
            "gen_ai.request.stream": seen.streams,
            "server.address": url.hostname,
            "server.port": url.port or {"http": 80, "https": 443}.get(url.scheme),
            "unspool.stream.id": seen.id,
        }
        self._spans[seen] = self._tracer.start_span(
            f"{operation} {seen.model}", kind=self._trace.SpanKind.CLIENT, attributes=_present(attributes)
        )

    def on_attempt(self, seen: Observation) -> None:
        """Add an event for the attempt."""
        span = self._spans.get(seen)
        if span is not None:
            span.add_event("unspool.attempt", {"unspool.attempt": seen.attempt, "unspool.wait": seen.wait})

    def on_end(self, seen: Observation) -> None:
        """End the span."""
        span, ending, usage = self._spans.pop(seen, None), seen.ending, seen.usage
        if span is None or ending is None:
            return
        attributes = {
            "gen_ai.response.id": seen.response_id,
            "gen_ai.response.model": seen.response_model,
            "gen_ai.response.finish_reasons": seen.finish_reasons or None,
            "gen_ai.response.time_to_first_chunk": seen.first_piece,
            "unspool.outcome": ending.outcome,
        }
        if usage is not None:
            attributes["gen_ai.usage.input_tokens"] = usage.input_tokens
            attributes["gen_ai.usage.output_tokens"] = usage.output_tokens
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
            attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
        if ending.outcome not in _NO_ERRORS:
            attributes["error.type"] = ending.outcome
            attributes["http.response.status_code"] = ending.failure.status if ending.failure is not None else None
            span.set_status(self._trace.StatusCode.ERROR)
        span.set_attributes(_present(attributes))
        span.end()


def _present(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}
