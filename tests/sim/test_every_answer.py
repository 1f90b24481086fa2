"""What holds for everything that the simulator can answer: see ``asking`` for the list.

Three judges who know nothing of the simulator: the openai SDK's models, applied strictly; its accumulators, which check the order of
events; and OpenAI's own OpenAPI document, where ``UNSPOOL_OPENAPI`` names a copy of its ``openapi.json``
(github.com/openai/openai-openapi, MIT; it is not kept here).
"""

import json
import os
import typing
from pathlib import Path

import jsonschema
import pytest

openai = pytest.importorskip("openai")
from openai.lib.streaming.chat import ChatCompletionStreamState  # noqa: E402
from openai.types import Completion  # noqa: E402
from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: E402
from openai.types.responses import Response, response_stream_event  # noqa: E402
from pydantic import BaseModel, ValidationError  # noqa: E402

from unspool.sim.endpoints import chat, completions, responses  # noqa: E402

from . import asking  # noqa: E402
from .asking import CHAT, COMPLETIONS, RESPONSES, said  # noqa: E402

every = pytest.mark.parametrize(("path", "ask"), [pytest.param(*rest, id=name) for name, *rest in asking.ALL])

EVENT_MODELS = {
    typing.get_args(model.model_fields["type"].annotation)[0]: model
    for model in typing.get_args(typing.get_args(response_stream_event.ResponseStreamEvent)[0])
}
WHOLE_MODELS = {CHAT: ChatCompletion, RESPONSES: Response, COMPLETIONS: Completion}

# Where OpenAI's servers send what its own models or document do not allow, and the simulator with them: the place, and why. A place is a
# path without its numbers.
SDK_DEVIATIONS = {
    "Completion choices finish_reason": "null until a choice has ended",
    "Completion choices logprobs token_logprobs": "null for the first token of an echoed prompt",
    "Completion choices logprobs top_logprobs": "the same",
    "ChatCompletionChunk choices delta tool_calls type": "custom tools stream under their own type",
}
SPEC_DEVIATIONS = {
    "Response user": "recorded snapshots have null where there is none",
    "Response usage": "the same, until it has ended",
    "Response text format": "the same for the description of a schema",
    **{
        f"Response{event}Event response {field}": "the same in events"
        for event in ("Created", "Queued", "InProgress", "Completed", "Incomplete")
        for field in ("user", "usage", "text format")
    },
    "CreateCompletionResponse choices finish_reason": "null until a choice has ended",
    "CreateCompletionResponse choices logprobs": "null for the first token of an echoed prompt",
    "CreateCompletionResponse usage": "null with include_usage until the last chunk",
    "CreateChatCompletionStreamResponse choices delta tool_calls type": "custom tools stream under their own type",
}


def place(root, path):
    return " ".join([root, *(str(step) for step in path if not isinstance(step, int))])


def json_events(client, path, ask):
    return [json.loads(event.data) for event in client.events(path, **ask) if event.data != "[DONE]"]


def streamable(ask):
    return {"stream_options": {"include_usage": True}} if "input" not in ask else {}


def sdk_faults(model, body):
    try:
        model.model_validate(body, strict=True)
    except ValidationError as error:
        # A member of a union is named after its model; what counts is where the field stands.
        return {place(model.__name__, fault["loc"]): fault for fault in error.errors()}
    return {}


@every
def test_the_sdk_s_models_take_it_strictly(client, path, ask):
    faults = sdk_faults(WHOLE_MODELS[path], client.post(path, **ask))
    for body in json_events(client, path, {**ask, **streamable(ask)}):
        model = {CHAT: ChatCompletionChunk, COMPLETIONS: Completion}.get(path) or EVENT_MODELS[body["type"]]
        faults |= sdk_faults(model, body)
    assert {where: fault for where, fault in faults.items() if where not in SDK_DEVIATIONS} == {}


@every
def test_the_same_request_gets_the_same_bytes(client, path, ask):
    # A background response still being made when it is asked for again has another id.
    for stream in (True,) if ask.get("background") else (False, True):
        assert len({client.request("POST", path, {**ask, "stream": stream})[2] for _ in range(2)}) == 1


@every
def test_the_stream_adds_up_to_the_whole(client, sdk, path, ask):
    whole = client.post(path, **ask)
    if path == RESPONSES:
        if ask.get("background"):
            pytest.skip("what is answered at once has no output yet")
        output = json_events(client, path, ask)[-1]["response"]["output"]
        assert without_ids(output) == without_ids(whole["output"])
        return
    if path == COMPLETIONS:
        choices = [choice for body in json_events(client, path, ask) for choice in body["choices"]]
        for index, choice in enumerate(whole["choices"]):
            own = [each for each in choices if each["index"] == index]
            assert "".join(each["text"] for each in own) == choice["text"]
            likely = [each["logprobs"] for each in own if each["logprobs"]]
            for name in choice["logprobs"] or {}:
                assert [entry for each in likely for entry in each[name] or ()] == (choice["logprobs"][name] or [])
        return
    ends = {choice["finish_reason"] for choice in whole["choices"]}
    if ends & {"length", "content_filter"} or "Now query" in json.dumps(ask):
        pytest.skip("its accumulator raises for an answer that is cut, and knows no custom tools")
    state = ChatCompletionStreamState()
    with sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}) as stream:
        for chunk in stream:
            state.handle_chunk(chunk)
    # Its accumulator adds up content, refusals, calls and likelihoods by rules of its own.
    final = json.loads(state.get_final_completion().model_dump_json(exclude_none=True, warnings=False))
    for ours, theirs in zip(without_ids(whole["choices"]), without_ids(final["choices"]), strict=True):
        message = {name: value for name, value in ours["message"].items() if value not in (None, [], "")}
        assert {name: theirs["message"].get(name) for name in message} == message
        assert theirs["finish_reason"] == ours["finish_reason"]
        for name, entries in (ours["logprobs"] or {}).items():
            assert (theirs["logprobs"].get(name) or None) == entries
    assert final["usage"] == whole["usage"]


def without_ids(value):
    """What is the same in a stream and in one piece: ids are drawn from the request's bytes, which differ in ``stream``."""
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if k not in ("id", "call_id", "encrypted_content", "index")}
    return [without_ids(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", list(asking.of(RESPONSES)))
def test_the_sdk_accumulates_every_response(client, sdk, name):
    ask = asking.of(RESPONSES)[name]
    if client.post(RESPONSES, **{**ask, "background": False})["status"] != "completed":
        pytest.skip("its helper takes nothing for an end but response.completed")
    with sdk.responses.stream(**ask) as stream:
        final = stream.get_final_response()
    assert final.status == "completed"


class Weather(BaseModel):
    city: str
    warm: bool
    hours: list[int]


class Report(BaseModel):
    best: Weather
    others: list[Weather]
    note: str | None


def test_the_sdk_parses_answers_into_models(sdk):
    chat_answer = sdk.chat.completions.parse(model="m", messages=said("Report"), response_format=Report)
    response = sdk.responses.parse(model="m", input="Report", text_format=Report)
    with sdk.chat.completions.stream(model="m", messages=said("Report"), response_format=Report) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(response.output_parsed, Report)
    assert chat_answer.choices[0].message.parsed == streamed
    assert isinstance(streamed, Report)


def test_the_sdk_parses_calls_into_models(sdk):
    tools = [openai.pydantic_function_tool(Weather)]
    ask = {"model": "m", "messages": said("Weather"), "tools": tools}
    [call] = sdk.chat.completions.parse(**ask).choices[0].message.tool_calls
    with sdk.chat.completions.stream(**ask) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    assert isinstance(call.function.parsed_arguments, Weather)
    assert [event.parsed_arguments for event in done] == [call.function.parsed_arguments]


@pytest.mark.parametrize(
    ("module", "fields"),
    [
        (completions, openai.types.completion_create_params.CompletionCreateParamsBase),
        (chat, openai.types.chat.completion_create_params.CompletionCreateParamsBase),
        (responses, openai.types.responses.response_create_params.ResponseCreateParamsBase),
    ],
)
def test_every_field_that_the_sdk_sends_is_known(module, fields):
    assert set(fields.__annotations__) | {"stream"} == module.FIELDS


@pytest.fixture(scope="session")
def spec():
    """The schemas of OpenAI's document by name, as JSON Schema reads them."""
    path = os.environ.get("UNSPOOL_OPENAPI")
    if not path:
        pytest.skip("UNSPOOL_OPENAPI names no copy of openapi.json")
    document = json.loads(Path(path).read_text())
    resolved = {"$defs": relaxed(document["components"]["schemas"])}

    def validator(name):
        return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", **resolved})

    events = [option["$ref"].rpartition("/")[2] for option in resolved["$defs"]["ResponseStreamEvent"]["anyOf"]]
    return validator, {resolved["$defs"][name]["properties"]["type"]["enum"][0]: name for name in events}


def relaxed(node):
    """The document with references that JSON Schema finds, and ``nullable``, a leftover of OpenAPI 3.0, in its terms."""
    if isinstance(node, list):
        return [relaxed(each) for each in node]
    if not isinstance(node, dict):
        return node
    out = {name: relaxed(value) for name, value in node.items() if name != "discriminator"}
    if isinstance(out.get("$ref"), str):
        out["$ref"] = out["$ref"].replace("#/components/schemas/", "#/$defs/")
    if out.pop("nullable", None) is True:
        return {"anyOf": [out, {"type": "null"}]}
    return out


WHOLE_SCHEMAS = {CHAT: "CreateChatCompletionResponse", RESPONSES: "Response", COMPLETIONS: "CreateCompletionResponse"}


def spec_faults(spec, name, body):
    validator, _ = spec
    return {place(name, error.absolute_path): error.message for error in validator(name).iter_errors(body)}


@every
def test_openai_s_own_document_takes_it(client, spec, path, ask):
    faults = spec_faults(spec, WHOLE_SCHEMAS[path], client.post(path, **ask))
    for body in json_events(client, path, {**ask, **streamable(ask)}):
        if path == RESPONSES:
            name = spec[1][body["type"]]
        else:
            name = "CreateChatCompletionStreamResponse" if path == CHAT else WHOLE_SCHEMAS[path]
        faults |= spec_faults(spec, name, body)
    assert {where: fault for where, fault in faults.items() if where not in SPEC_DEVIATIONS} == {}
