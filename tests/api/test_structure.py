"""Tools, schemas and parts of messages in request bodies, with the openai SDK's own types as the judge."""

from __future__ import annotations

import copy

import pytest

from unspool.api import endpoint
from unspool.api.prompt import Prompt
from unspool.api.schema import can_be_strict

pydantic = pytest.importorskip("pydantic")
pytest.importorskip("openai")
from openai.types.chat import completion_create_params as chat_params  # noqa: E402
from openai.types.responses import response_create_params as responses_params  # noqa: E402

chat, completions, responses = map(endpoint, ("chat", "completions", "responses"))

NESTED = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
FLAT = {"type": "function", **NESTED["function"]}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}


_CHAT = pydantic.TypeAdapter(chat_params.CompletionCreateParamsStreaming)
_RESPONSES = pydantic.TypeAdapter(responses_params.ResponseCreateParamsStreaming)


def plain(value):
    """A validated value, with what is validated only while it is iterated over. Fields that the type does not know are gone."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value if value is None or isinstance(value, str | int | float) else [plain(item) for item in value]


def judged_chat(prompt: Prompt) -> dict:
    body = chat.build(prompt)
    assert plain(_CHAT.validate_python(copy.deepcopy(body))) == body
    return body


def judged_responses(prompt: Prompt) -> dict:
    body = responses.build(prompt)
    assert plain(_RESPONSES.validate_python(copy.deepcopy(body))) == body
    return body


def asked(**more) -> Prompt:
    return Prompt("Hi", "m", **more)


# Tools


@pytest.mark.parametrize("tool", [NESTED, FLAT, NESTED["function"]], ids=["nested", "flat", "bare"])
def test_a_tool_in_any_form_has_for_each_endpoint_the_form_that_it_wants(tool):
    prompt = asked(tools=[tool])
    before = copy.deepcopy(prompt)
    assert judged_chat(prompt)["tools"] == [NESTED]
    assert judged_responses(prompt)["tools"] == [{**FLAT, "strict": False}]
    assert prompt == before


def test_a_function_stays_as_lax_as_it_was_where_the_default_is_strict():
    assert judged_responses(asked(tools=[NESTED]))["tools"][0]["strict"] is False
    strict = {**FLAT, "strict": True}
    assert judged_responses(asked(tools=[strict]))["tools"][0]["strict"] is True
    assert judged_chat(asked(tools=[strict]))["tools"][0]["function"]["strict"] is True


def test_a_function_without_parameters_has_none_for_both_endpoints():
    bare = {"type": "function", "function": {"name": "now"}}
    assert judged_chat(asked(tools=[bare]))["tools"] == [bare]
    assert judged_responses(asked(tools=[bare]))["tools"][0]["parameters"] == {"type": "object", "properties": {}}


def test_a_tool_that_is_no_function_is_sent_as_it_is():
    assert judged_responses(asked(tools=[{"type": "web_search"}, FLAT]))["tools"][0] == {"type": "web_search"}
    assert chat.build(asked(tools=[{"type": "vendor:search"}]))["tools"] == [{"type": "vendor:search"}]


def test_a_custom_tool_is_nested_for_chat_alone():
    flat = {"type": "custom", "name": "sql", "description": "Runs SQL"}
    nested = {"type": "custom", "custom": {"name": "sql", "description": "Runs SQL"}}
    for tool in (flat, nested):
        assert judged_chat(asked(tools=[tool]))["tools"] == [nested]
        assert judged_responses(asked(tools=[tool]))["tools"] == [flat]


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ([{"type": "function", "function": {}}], "no name"),
        ([{"description": "x"}], "no name"),
        ([{"name": "f", "parameters": []}], "parameters of the tool f"),
        (["weather"], "a JSON object, not str"),
        ([NESTED, FLAT], "two tools called weather"),
    ],
)
@pytest.mark.parametrize("api", [chat, responses])
def test_what_describes_no_tool_is_refused(api, tools, words):
    with pytest.raises(ValueError, match=words):
        api.build(asked(tools=tools))


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_the_words_for_choosing_a_tool_are_the_same(choice):
    for judged in (judged_chat, judged_responses):
        assert judged(asked(tools=[FLAT], tool_choice=choice))["tool_choice"] == choice


@pytest.mark.parametrize(
    "choice",
    ["weather", {"type": "function", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}],
)
def test_a_tool_is_chosen_by_its_name_in_any_form(choice):
    prompt = asked(tools=[NESTED], tool_choice=choice)
    assert judged_chat(prompt)["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
    assert judged_responses(prompt)["tool_choice"] == {"type": "function", "name": "weather"}


def test_choosing_a_tool_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match="no tool called 'wether' to choose; there are weather"):
        chat.build(asked(tools=[NESTED], tool_choice="wether"))


def test_earlier_calls_and_their_results_reach_both_endpoints():
    messages = [
        {"role": "user", "content": "Weather in Ulm?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain"},
    ]
    assert judged_chat(Prompt(messages, "m"))["messages"] == messages
    assert judged_responses(Prompt(messages, "m"))["input"] == [
        {"type": "message", "role": "user", "content": "Weather in Ulm?"},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Ulm"}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain"},
    ]


def test_words_beside_a_call_are_a_message_of_their_own():
    messages = [{"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}]
    first, second = judged_responses(Prompt(messages, "m"))["input"]
    assert (first["content"], second["type"]) == ("Let me look.", "function_call")


def test_what_a_tool_brought_may_be_an_image_to_the_responses_api():
    image = {"type": "image_url", "image_url": "https://x.test/a.png"}
    messages = [{"role": "tool", "tool_call_id": "call_1", "content": [image]}]
    (item,) = judged_responses(Prompt(messages, "m"))["input"]
    assert item["output"] == [{"type": "input_image", "image_url": "https://x.test/a.png", "detail": "auto"}]


def test_an_item_of_the_responses_api_among_the_messages_stays_as_it_is():
    item = {"type": "reasoning", "id": "rs_1", "summary": []}
    messages = [item, {"role": "user", "content": "Hi"}]
    assert judged_responses(Prompt(messages, "m"))["input"][0] == item


# Schemas


def test_a_schema_goes_where_each_endpoint_wants_it():
    described = {"name": "answer", "schema": SCHEMA, "strict": True}
    prompt = asked(schema=SCHEMA)
    assert judged_chat(prompt)["response_format"] == {"type": "json_schema", "json_schema": described}
    assert judged_responses(prompt)["text"] == {"format": {"type": "json_schema", **described}}


def test_the_schema_is_not_lost_among_the_options_for_the_text():
    prompt = asked(schema=SCHEMA, options={"text": {"verbosity": "low"}})
    text = judged_responses(prompt)["text"]
    assert (text["verbosity"], text["format"]["schema"]) == ("low", SCHEMA)
    assert prompt.options == {"text": {"verbosity": "low"}}


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "answer"),
        ({"schema": {**SCHEMA, "title": "A dog's life"}}, "A_dog_s_life"),
        ({"schema_name": "dog"}, "dog"),
        ({"schema": {**SCHEMA, "title": ""}}, "answer"),
    ],
)
def test_a_schema_is_named_by_the_caller_or_its_title(more, name):
    assert judged_responses(asked(**{"schema": SCHEMA, **more}))["text"]["format"]["name"] == name


def test_a_name_that_the_api_would_refuse_is_refused():
    with pytest.raises(ValueError, match="letters, digits"):
        chat.build(asked(schema=SCHEMA, schema_name="a dog"))
    with pytest.raises(ValueError, match="JSON object"):
        chat.build(asked(schema=["string"]))


def test_strictness_is_asked_for_only_where_the_schema_allows_it():
    lax = {"type": "object", "properties": {"name": {"type": "string"}}}
    assert "strict" not in judged_chat(asked(schema=lax))["response_format"]["json_schema"]
    assert judged_chat(asked(schema=lax, schema_strict=True))["response_format"]["json_schema"]["strict"] is True
    assert judged_chat(asked(schema=SCHEMA, schema_strict=False))["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(
    ("schema", "can"),
    [
        (SCHEMA, True),
        ({**SCHEMA, "required": []}, False),
        ({**SCHEMA, "additionalProperties": True}, False),
        ({**SCHEMA, "properties": {"name": {"type": "object"}}}, False),
        ({**SCHEMA, "properties": {"name": {"type": "array", "items": SCHEMA}}}, True),
        ({**SCHEMA, "properties": {"name": {"type": "array", "items": {"type": "object"}}}}, False),
        ({**SCHEMA, "properties": {"name": {"anyOf": [SCHEMA, {"type": "null"}]}}}, True),
        ({**SCHEMA, "$defs": {"x": {"type": ["object", "null"]}}}, False),
        ({"type": "object", "properties": {"properties": {"type": "string"}}}, False),
    ],
)
def test_strict_schemas_are_told_from_lax_ones_at_any_depth(schema, can):
    assert can_be_strict(schema) is can


# Parts of messages


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
PDF = {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}}
PDF_URL = {"type": "file", "file": {"file_url": "https://x.test/a.pdf"}}
SOUND = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}}


def with_parts(*parts) -> Prompt:
    return Prompt([{"role": "user", "content": [{"type": "text", "text": "What?"}, *parts]}], "m")


def test_images_files_and_sound_are_what_chat_takes():
    parts = judged_chat(with_parts(IMAGE, PDF, SOUND))["messages"][0]["content"]
    assert parts[1:] == [IMAGE, PDF, SOUND]


def test_images_and_files_are_renamed_for_the_responses_api():
    parts = judged_responses(with_parts(IMAGE, PDF, PDF_URL))["input"][0]["content"]
    assert parts[1:] == [
        {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
        {"type": "input_file", "file_url": "https://x.test/a.pdf"},
    ]


def test_what_an_endpoint_cannot_take_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"Responses API does not take audio; use --api chat"):
        responses.build(with_parts(SOUND))
    with pytest.raises(ValueError, match="not take files by URL: download it first, or use --api responses"):
        chat.build(with_parts(PDF_URL))
    for part, word in ((IMAGE, "image"), (SOUND, "audio"), (PDF, "file")):
        with pytest.raises(ValueError, match=f"takes only text, not {word}; use --api chat"):
            completions.build(with_parts(part))


def test_openai_is_sent_only_the_sounds_that_it_takes():
    flac = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "flac"}}
    assert chat.build(with_parts(flac))["messages"][0]["content"][1] == flac
    with pytest.raises(ValueError, match="WAV or MP3, not as flac"):
        chat.build(with_parts(flac), is_openai=True)


@pytest.mark.parametrize(
    "more", [{"tools": [FLAT]}, {"tool_choice": "auto"}, {"schema": SCHEMA}], ids=["tools", "choice", "schema"]
)
def test_what_the_legacy_endpoint_lacks_is_refused_with_a_way_out(more):
    (name,) = more
    with pytest.raises(ValueError, match=f"the completions API does not support {name}; use --api chat"):
        completions.build(asked(**more))


def test_a_conversation_with_tool_calls_is_refused_by_the_legacy_endpoint():
    for message in ({"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": "x"}):
        with pytest.raises(ValueError, match="does not support tool calls"):
            completions.build(Prompt([message], "m"))
