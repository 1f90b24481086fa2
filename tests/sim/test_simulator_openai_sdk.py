"""The openai SDK as a judge: its models, applied strictly, and its accumulators, which check the order of events.

The SDK itself parses leniently, so that it accepts a stream proves little; ``model_validate`` does not.
"""

import json
import typing

import pytest

openai = pytest.importorskip("openai")
from openai.lib.streaming.chat import ChatCompletionStreamState  # noqa: E402
from openai.types import Completion, Model  # noqa: E402
from openai.types.chat import ChatCompletion, ChatCompletionChunk  # noqa: E402
from openai.types.responses import Response, ResponseItemList, response_stream_event  # noqa: E402

from unspool.sim.running import Simulator  # noqa: E402
from unspool.sim.simulator import SimulatorSettings  # noqa: E402

QUESTION = "What is Python?"
MESSAGES = [{"role": "user", "content": QUESTION}]

# Not a discriminated union to pydantic: the model for an event is found by its type here.
EVENT_MODELS = {
    typing.get_args(model.model_fields["type"].annotation)[0]: model
    for model in typing.get_args(typing.get_args(response_stream_event.ResponseStreamEvent)[0])
}

VARIANTS = [
    {},
    {"limit": 5},
    {"stream_options": {"include_obfuscation": False}},
    {"n": 3, "stream_options": {"include_usage": True}},
]


def sdk_of(simulator):
    # Set here, so that no proxy or key of the environment takes part.
    http_client = openai.DefaultHttpxClient(trust_env=False)
    return openai.OpenAI(base_url=simulator.url, api_key="sk-test", max_retries=0, http_client=http_client)


def with_limit(variant, name):
    return {name if field == "limit" else field: value for field, value in variant.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_chat_chunks_are_valid(client, variant):
    variant = with_limit(variant, "max_completion_tokens")
    for chunk in client.chunks("/chat/completions", model="sim-1", messages=MESSAGES, **variant):
        ChatCompletionChunk.model_validate(chunk, strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_completion_chunks_are_valid_once_a_null_reason_is_allowed(client, variant):
    variant = {"max_tokens": 400} | with_limit(variant, "max_tokens")
    for chunk in client.chunks("/completions", model="sim-1", prompt=QUESTION, **variant):
        # The model calls finish_reason non-null; the API sends null until a choice has ended.
        for choice in chunk["choices"]:
            choice["finish_reason"] = choice["finish_reason"] or "stop"
        Completion.model_validate(chunk, strict=True)


@pytest.mark.parametrize(
    "variant",
    [v for v in VARIANTS if "n" not in v] + [{"instructions": "Be brief.", "user": "a"}, {"background": True}],
)
def test_response_events_are_valid(client, variant):
    variant = with_limit(variant, "max_output_tokens")
    for event in client.events("/responses", model="sim-1", input=QUESTION, **variant):
        body = json.loads(event.data)
        EVENT_MODELS[body["type"]].model_validate(body, strict=True)


def test_whole_answers_are_valid(client):
    ChatCompletion.model_validate(client.post("/chat/completions", model="m", messages=MESSAGES, n=2), strict=True)
    Completion.model_validate(client.post("/completions", model="m", prompt=QUESTION, echo=True), strict=True)
    Response.model_validate(client.post("/responses", model="m", input=QUESTION), strict=True)
    Response.model_validate(client.post("/responses", model="m", input=QUESTION, max_output_tokens=2), strict=True)


def test_a_stored_response_is_valid_in_every_status(client_of, eventually):
    with Simulator(SimulatorSettings(ttft=3600)) as slow:
        slow = client_of(slow.url)
        queued = slow.post("/responses", model="m", input=QUESTION, background=True)
        path = f"/responses/{queued['id']}"
        eventually(lambda: b'"in_progress"' in slow.request("GET", path)[2])
        running = json.loads(slow.request("GET", path)[2])
        cancelled = json.loads(slow.request("POST", path + "/cancel")[2])
    statuses = [Response.model_validate(each, strict=True).status for each in (queued, running, cancelled)]
    assert statuses == ["queued", "in_progress", "cancelled"]


def test_a_list_of_input_is_valid(client):
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"role": "assistant", "content": "Hello."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "What is it?"}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "3"},
        {"role": "user", "content": QUESTION},
    ]
    id = client.post("/responses", model="m", input=said)["id"]
    listed = json.loads(client.request("GET", f"/responses/{id}/input_items")[2])
    ResponseItemList.model_validate(listed, strict=True)
    assert len({item["id"] for item in listed["data"]}) == len(said)


def test_models_are_valid(client):
    for model in json.loads(client.request("GET", "/models")[2])["data"]:
        Model.model_validate(model, strict=True)


def test_the_sdk_streams_completions(sdk):
    with sdk.completions.create(model="m", prompt=QUESTION, max_tokens=400, stream=True) as stream:
        text = "".join(chunk.choices[0].text for chunk in stream)
    assert text == sdk.completions.create(model="m", prompt=QUESTION, max_tokens=400).choices[0].text


def test_the_sdk_streams_chat(sdk):
    with sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert text == sdk.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content


def test_the_sdk_streams_responses(sdk):
    with sdk.responses.create(model="m", input=QUESTION, stream=True) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text == sdk.responses.create(model="m", input=QUESTION).output_text


def test_the_sdk_accumulates_responses(sdk):
    with sdk.responses.stream(model="m", input=QUESTION) as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert (final.status, final.output_text) == ("completed", text)


def test_the_sdk_resumes_a_background_stream(sdk):
    with sdk.responses.create(model="m", input=QUESTION, stream=True, background=True) as stream:
        events = list(stream)
    id = events[0].response.id
    with sdk.responses.retrieve(id, stream=True, starting_after=6) as resumed:
        assert list(resumed) == events[7:]


def test_the_sdk_accumulates_a_background_response_from_any_event_on(sdk):
    with sdk.responses.create(model="m", input=QUESTION, stream=True, background=True) as stream:
        id = next(iter(stream)).response.id
    with sdk.responses.stream(response_id=id, starting_after=5) as stream:
        first = next(iter(stream))
        final = stream.get_final_response()
    assert first.sequence_number == 6
    assert (final.status, final.output_text) == ("completed", sdk.responses.retrieve(id).output_text)


def test_the_sdk_cancels():
    with Simulator(SimulatorSettings(ttft=3600)) as simulator, sdk_of(simulator) as sdk:
        id = sdk.responses.create(model="m", input=QUESTION, background=True).id
        assert sdk.responses.cancel(id).status == "cancelled"
        assert sdk.responses.cancel(id).status == "cancelled"


def test_the_sdk_lists_the_input_page_by_page(sdk):
    said = [{"role": "user", "content": f"Message {number}"} for number in range(5)]
    id = sdk.responses.create(model="m", input=said).id
    listed = [item.content[0].text for item in sdk.responses.input_items.list(id, limit=2, order="asc")]
    assert listed == [each["content"] for each in said]


def test_the_sdk_deletes(sdk):
    id = sdk.responses.create(model="m", input=QUESTION).id
    sdk.responses.delete(id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        sdk.responses.retrieve(id)


def test_the_sdk_raises_what_cannot_be_streamed_again(sdk):
    id = sdk.responses.create(model="m", input=QUESTION).id
    with pytest.raises(openai.BadRequestError, match="background=true"):
        sdk.responses.retrieve(id, stream=True, starting_after=0)
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        sdk.responses.cancel(id)
    with pytest.raises(openai.BadRequestError, match="resp_0"):
        sdk.responses.create(model="m", input=QUESTION, previous_response_id="resp_0")


def test_the_sdk_accumulates_chat(sdk):
    with sdk.chat.completions.stream(model="m", messages=MESSAGES, n=2) as stream:
        final = stream.get_final_completion()
    assert [choice.finish_reason for choice in final.choices] == ["stop", "stop"]
    whole = sdk.chat.completions.create(model="m", messages=MESSAGES, n=2)
    assert [choice.message.content for choice in final.choices] == [choice.message.content for choice in whole.choices]


def test_the_sdk_accumulates_chunks_of_chat(sdk):
    state = ChatCompletionStreamState()
    options = {"include_usage": True}
    with sdk.chat.completions.create(model="m", messages=MESSAGES, stream=True, stream_options=options) as stream:
        for chunk in stream:
            state.handle_chunk(chunk)
    final = state.get_final_completion()
    whole = sdk.chat.completions.create(model="m", messages=MESSAGES)
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.usage == whole.usage


def test_the_sdk_raises_what_the_status_means(sdk):
    with pytest.raises(openai.BadRequestError, match="max_output_tokens"):
        sdk.responses.create(model="m", input=QUESTION, max_output_tokens=0)
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        sdk.models.retrieve("no-such-model")
