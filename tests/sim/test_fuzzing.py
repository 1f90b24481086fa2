"""Requests that nobody would write: whatever they say, each is answered, or refused in OpenAI's words. None breaks the simulator.

The requests are made by schemathesis, from a document in which all that an endpoint reads has its type; half of them obey it.
"""

import json

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import validate

from support.effort import rounds

schemathesis = pytest.importorskip("schemathesis")

from unspool.sim.running import Simulator  # noqa: E402
from unspool.sim.simulator import SimulatorSettings  # noqa: E402

from .asking import CHAT, COMPLETIONS, RESPONSES  # noqa: E402

ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": {"const": "invalid_request_error"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}

TEXT, FLAG = {"type": "string", "maxLength": 20}, {"type": "boolean"}
WHOLE, NUMBER = {"type": "integer", "minimum": 0, "maximum": 20}, {"type": "number", "minimum": 0, "maximum": 1}


def fields(*required, **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def many(items):
    return {"type": "array", "items": items, "minItems": 1, "maxItems": 3}


def named(*values):
    return {"enum": list(values)}


PART = fields(
    "type",
    type=named("text", "input_text", "output_text", "refusal", "image_url", "input_image", "input_audio", "input_file"),
    text=TEXT,
    refusal=TEXT,
    image_url={"anyOf": [TEXT, fields("url", url=TEXT, detail=named("low", "auto"))]},
    input_audio=fields("data", "format", data=TEXT, format=named("wav", "mp3")),
    file_id=TEXT,
)
CHAT_PART = {
    "anyOf": [
        fields("type", "text", type=named("text"), text=TEXT),
        fields("type", "image_url", type=named("image_url"), image_url=fields("url", url=named("https://a/b", "c"))),
    ]
}
CONTENT = {"anyOf": [TEXT, many(PART)]}
SCHEMA = {
    "anyOf": [
        FLAG,
        fields(
            type=named("object", "array", "string", "integer", ["null", "string"]),
            properties={
                "type": "object",
                "maxProperties": 2,
                "additionalProperties": fields("type", type=named("string")),
            },
            items=fields("type", type=named("number", "thing")),
            required=many(TEXT),
            enum=many({}),
            minimum=NUMBER,
            maximum=NUMBER,
            minLength=WHOLE,
            pattern=TEXT,
            additionalProperties=FLAG,
        ),
    ]
}
FUNCTION = fields("name", name=named("f", "get_g", "?"), parameters=SCHEMA, strict=FLAG)
TOOL = fields("type", type=named("function", "custom", "web_search"), function=FUNCTION, custom=FUNCTION,
              name=named("f", "g"), parameters=SCHEMA)  # fmt: skip
CHOICE = {
    "anyOf": [
        named("none", "auto", "required", "x"),
        fields("type", type=named("function", "allowed_tools"), name=named("f"), function=fields(name=named("f")),
               mode=named("auto"), tools=many(TOOL)),
    ]
}  # fmt: skip
CALL = fields("id", "type", id=TEXT, type=named("function"),
              function=fields("name", "arguments", name=TEXT, arguments=TEXT))  # fmt: skip
SPOKEN = fields("role", "content", role=named("user", "system"), content={"anyOf": [TEXT, many(CHAT_PART)]})
MESSAGE = {
    "anyOf": [
        SPOKEN,
        SPOKEN,
        fields("role", "content", role=named("assistant", "tool", "function"), content=CONTENT, name=TEXT,
               tool_calls=many(CALL), tool_call_id=TEXT),
    ]
}  # fmt: skip
ITEM = fields("role", "content", role=named("user", "assistant", "developer"), content=CONTENT, call_id=TEXT,
              type=named("message", "function_call", "function_call_output", "reasoning"), output=CONTENT,
              arguments=TEXT, name=TEXT)  # fmt: skip
FORMAT = fields("type", type=named("text", "json_object", "json_schema"), name=named("n"), schema=SCHEMA, strict=FLAG,
                json_schema=fields("name", name=named("n"), schema=SCHEMA, strict=FLAG))  # fmt: skip
MODEL = named("m", "o3", "gpt-4o", "gpt-5.4", "gpt-4")
SHARED = {
    "model": MODEL,
    "stream": FLAG,
    "stream_options": fields(include_usage=FLAG, include_obfuscation=FLAG),
    "temperature": NUMBER,
    "top_p": NUMBER,
    "metadata": {"type": "object", "additionalProperties": TEXT, "maxProperties": 2},
    "user": TEXT,
}
BODIES = {
    CHAT: fields("model", "messages", **SHARED, messages=many(MESSAGE), n={"type": "integer", "minimum": 1, "maximum": 4}, tools=many(TOOL),
                 tool_choice=CHOICE, functions=many(FUNCTION), function_call=CHOICE, response_format=FORMAT, logprobs=FLAG,
                 top_logprobs=WHOLE, stop={"anyOf": [TEXT, many(TEXT)]}, max_tokens=WHOLE, logit_bias={"type": "object"},
                 reasoning_effort=named("low", "none"), parallel_tool_calls=FLAG, modalities=many(TEXT)),
    RESPONSES: fields("model", "input", **SHARED, input={"anyOf": [TEXT, many(ITEM)]}, tools=many(TOOL), tool_choice=CHOICE,
                      text=fields(format=FORMAT, verbosity=named("low")), include=many(TEXT), top_logprobs=WHOLE,
                      reasoning=fields(effort=named("low", "none"), summary=named("auto")), background=FLAG, store=FLAG,
                      max_output_tokens=WHOLE, previous_response_id=TEXT, conversation={}, truncation=named("auto")),
    COMPLETIONS: fields("model", "prompt", **SHARED, prompt={"anyOf": [TEXT, many(TEXT), many(WHOLE), many(many(WHOLE))]},
                        n={"type": "integer", "minimum": 1, "maximum": 4}, best_of=WHOLE, echo=FLAG, logprobs=WHOLE, suffix=TEXT,
                        max_tokens={"type": "integer", "minimum": 0, "maximum": 999}, stop={"anyOf": [TEXT, many(TEXT)]}),
}  # fmt: skip
PLAIN = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"model": "m", "input": "Hi"},
    COMPLETIONS: {"model": "m", "prompt": "Hi"},
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "What the simulator reads", "version": "1"},
    "paths": {
        path: {
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                "responses": {"200": {"description": "An answer."}},
            }
        }
        for path, schema in BODIES.items()
    },
}
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def target(client_of):
    with Simulator(SimulatorSettings()) as simulator:
        yield client_of(simulator.url)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("path", BODIES)
def test_no_request_breaks_it(target, path, mode):
    operation = schemathesis.openapi.from_dict(DOCUMENT)[path]["POST"]
    answered = 0

    def ask(body):
        status, headers, raw = target.request("POST", path, body)
        if status == 200:
            assert raw if "event-stream" in headers["content-type"] else json.loads(raw)
        else:
            assert 400 <= status < 500, (status, raw)
            validate(json.loads(raw), ERROR)
        return status == 200

    # The same requests each time: a failure is one that others see too.
    @settings(max_examples=rounds(80), derandomize=True, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask_both_ways(case):
        nonlocal answered
        ask(case.body if case.body is not None else b"null")
        if mode is schemathesis.GenerationMode.POSITIVE:
            # Few bodies with twenty random fields are valid; many with one of them are.
            for name, value in case.body.items():
                if name not in BODIES[path]["required"]:
                    answered += ask({**PLAIN[path], name: value})

    ask_both_ways()
    if mode is schemathesis.GenerationMode.POSITIVE:
        assert answered
