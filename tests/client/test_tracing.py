"""Spans of OpenTelemetry, made by its own SDK."""

from __future__ import annotations

from typing import Any

import pytest

import unspool
from support.server import Server, sends, then_silence
from support.wire import DONE, SSE_HEAD, error, event

from .reading import KEY, finish, piece

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

pytestmark = pytest.mark.usefixtures("home")

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
ANSWER = piece("Hello") + finish() + event({"id": "c", "model": "m-1", "choices": [], "usage": USAGE}) + DONE


class Traced:
    """A tracer provider, the spans that it has had, and the arguments of a call that is traced."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.observer = unspool.Tracing(self.provider)

    def asked(self, server: Server, **more: Any) -> dict[str, Any]:
        return {"base_url": server.url, "model": "m", "key": KEY, "api": "chat", "observer": self.observer, **more}


@pytest.fixture
def traced() -> Traced:
    return Traced()


def test_a_stream_is_a_span_with_the_attributes_of_the_genai_conventions(traced: Traced) -> None:
    with Server(sends(SSE_HEAD, ANSWER)) as server:
        with traced.provider.get_tracer("mine").start_as_current_span("request") as mine:
            answer = unspool.stream("a secret prompt", **traced.asked(server))
            answer.read()
    span = traced.exporter.get_finished_spans()[0]
    attributes = dict(span.attributes or {})
    assert (span.name, span.kind, span.status.status_code) == ("chat m", SpanKind.CLIENT, StatusCode.UNSET)
    assert span.parent is not None
    assert span.parent.span_id == mine.get_span_context().span_id
    assert span.events == ()
    assert 0 <= attributes.pop("gen_ai.response.time_to_first_chunk") < 60  # type: ignore[operator]
    host, _, port = server.host.partition(":")
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.response.id": answer.response_id,
        "gen_ai.response.model": answer.model,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 3,
        "gen_ai.usage.reasoning.output_tokens": 1,
        "server.address": host,
        "server.port": int(port),
        "unspool.outcome": "complete",
        "unspool.stream.id": answer.id,
    }
    assert [word for word in ("secret prompt", "Hello", KEY) if word in span.to_json()] == []


def test_a_failure_is_an_error_of_the_span_and_says_nothing_that_a_server_said(traced: Traced) -> None:
    with Server(sends(error(503, "busy with secrets")), sends(error(503, "busy with secrets"))) as server:
        with pytest.raises(unspool.ServerError):
            unspool.stream("hi", **traced.asked(server, retries=1)).read()
    (span,) = traced.exporter.get_finished_spans()
    attributes = dict(span.attributes or {})
    assert span.status.status_code is StatusCode.ERROR
    assert (attributes["error.type"], attributes["http.response.status_code"]) == ("server_error", 503)
    assert [one.name for one in span.events] == ["unspool.attempt"]
    assert "secrets" not in span.to_json()


def test_an_answer_that_is_cut_is_an_error_and_one_that_the_program_leaves_is_none(traced: Traced) -> None:
    with Server(sends(SSE_HEAD, piece("Hel")), then_silence(SSE_HEAD, piece("Hel"))) as server:
        with pytest.raises(unspool.StreamCut):
            unspool.stream("hi", **traced.asked(server)).read()
        answer = unspool.stream("hi", **traced.asked(server))
        with answer:
            assert next(iter(answer)) == "Hel"
    cut, left = traced.exporter.get_finished_spans()
    assert (cut.attributes or {})["error.type"] == "cut"
    assert ((left.attributes or {})["unspool.outcome"], left.status.status_code) == (answer.outcome, StatusCode.UNSET)


async def test_spans_of_asyncio_belong_to_the_span_of_their_task(traced: Traced) -> None:
    import asyncio

    tracer = traced.provider.get_tracer("mine")
    mine: list[int] = []

    async def ask(server: Server) -> None:
        with tracer.start_as_current_span("request") as span:
            mine.append(span.get_span_context().span_id)
            assert await unspool.astream("hi", **traced.asked(server)).read() == "Hello"

    with Server(sends(SSE_HEAD, ANSWER), sends(SSE_HEAD, ANSWER)) as server:
        await asyncio.gather(ask(server), ask(server))
    spans = [one for one in traced.exporter.get_finished_spans() if one.name == "chat m"]
    assert {one.parent.span_id for one in spans if one.parent is not None} == set(mine)


def test_an_agent_s_answers_are_spans_of_one_trace(traced: Traced) -> None:
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    calls = event({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})

    def look() -> str:
        """Look."""
        return "seen"

    with Server(sends(SSE_HEAD, calls, finish("tool_calls"), DONE), sends(SSE_HEAD, ANSWER)) as server:
        with traced.provider.get_tracer("mine").start_as_current_span("agent"):
            unspool.converse("Look", tools=[look], **traced.asked(server)).read()
    spans = traced.exporter.get_finished_spans()
    assert [one.name for one in spans] == ["chat m", "chat m", "agent"]
    assert len({one.context.trace_id for one in spans if one.context is not None}) == 1


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("api.groq.com", "groq"),
        ("api.x.ai", "x_ai"),
        ("mine.openai.azure.com", "azure.ai.openai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("bedrock-runtime.us-west-2.amazonaws.com", "aws.bedrock"),
        ("openrouter.ai", "openai"),
        ("vertex.ai", "openai"),
        ("not-groq.com", "openai"),
        ("localhost", "openai"),
    ],
)
def test_the_provider_is_named_after_its_host(host: str, provider: str, traced: Traced) -> None:
    with Server(sends(SSE_HEAD, ANSWER)) as proxy:
        given = {"base_url": f"http://{host}/v1", "proxy": f"http://{proxy.host}", "retries": 0}
        unspool.stream("hi", **{**traced.asked(proxy), **given}).read()
    (span,) = traced.exporter.get_finished_spans()
    assert (span.attributes or {})["gen_ai.provider.name"] == provider
    assert (span.attributes or {})["server.address"] == host
