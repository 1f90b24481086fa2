"""Request bodies."""

import pytest

from unspool.api import NAMES, endpoint
from unspool.api.prompt import Prompt

chat, completions, responses = map(endpoint, ("chat", "completions", "responses"))


def asked(**more):
    return Prompt("Hi", "m", **more)


def test_the_three_endpoints_are_found_by_name_and_no_other_is():
    assert [endpoint(name).path for name in NAMES] == ["/responses", "/chat/completions", "/completions"]
    with pytest.raises(ValueError, match="responses, chat or completions"):
        endpoint("assistants")


def test_each_endpoint_asks_a_plain_question_with_the_least_body():
    assert responses.build(asked()) == {"model": "m", "input": "Hi", "store": False, "stream": True}
    assert chat.build(asked()) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert completions.build(asked()) == {
        "model": "m",
        "prompt": "Hi",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_token_limit_has_the_name_that_each_endpoint_gives_it():
    prompt = asked(max_tokens=5)
    assert responses.build(prompt)["max_output_tokens"] == 5
    assert chat.build(prompt)["max_tokens"] == 5
    assert completions.build(prompt)["max_tokens"] == 5
    assert "max_tokens" not in chat.build(prompt, is_openai=True)
    assert chat.build(prompt, is_openai=True)["max_completion_tokens"] == 5


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("o1", "max_completion_tokens"),
        ("o3-mini", "max_completion_tokens"),
        ("openai/o4-mini", "max_completion_tokens"),
        ("azure/eu/gpt-5-nano", "max_completion_tokens"),
        ("gpt-5.4-mini", "max_completion_tokens"),
        ("gpt-4o-mini", "max_tokens"),
        ("gpt-oss-20b", "max_tokens"),
        ("o10-chat", "max_tokens"),
        ("openai/", "max_tokens"),
    ],
)
def test_the_token_limit_of_a_reasoning_model_has_its_newer_name_on_every_server(model, name):
    body = chat.build(Prompt("Hi", model, max_tokens=5))
    assert {key for key in body if key.startswith("max_")} == {name}


@pytest.mark.parametrize("api", [chat, completions])
def test_every_setting_reaches_the_body_also_when_it_is_zero(api):
    settings = {"temperature": 0.0, "top_p": 0.5, "stop": ["\n"], "seed": 0, "n": 2}
    body = api.build(asked(**settings))
    assert {name: body[name] for name in settings} == settings


def test_a_system_prompt_goes_where_each_endpoint_wants_it():
    prompt = asked(system="Be brief.")
    assert responses.build(prompt)["instructions"] == "Be brief."
    assert chat.build(prompt)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert completions.build(prompt)["prompt"] == "Be brief.\n\nHi"


def test_building_does_not_change_the_prompt():
    prompt = asked(system="Be brief.", options={"stream": False})
    for name in NAMES:
        endpoint(name).build(prompt)
    assert prompt == asked(system="Be brief.", options={"stream": False})


def test_an_unstreamed_request_asks_for_no_stream_options():
    for api in (chat, completions):
        for prompt in (asked(stream=False), asked(options={"stream": False})):
            assert api.build(prompt)["stream"] is False
            assert "stream_options" not in api.build(prompt)


def test_an_answer_is_stored_only_if_asked():
    assert responses.build(asked(store=True))["store"] is True
    assert chat.build(asked(store=True))["store"] is True
    assert "store" not in chat.build(asked())


@pytest.mark.parametrize("name", NAMES)
def test_options_win_over_everything_and_none_removes_a_field(name):
    options = {
        "temperature": 0.1,
        "top_p": None,
        "logit_bias": {"50256": -100},
        "stream_options": {"include_obfuscation": False},
    }
    body = endpoint(name).build(asked(temperature=1.0, top_p=1.0, options=options))
    assert "top_p" not in body
    assert {key: body[key] for key in options if key != "top_p"} == {
        key: options[key] for key in options if key != "top_p"
    }


@pytest.mark.parametrize("setting", [{"stop": "x"}, {"seed": 1}, {"n": 2}])
def test_what_the_responses_api_lacks_is_refused_with_a_way_out(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"the Responses API does not support {name}; use --api chat"):
        responses.build(asked(**setting))


def test_what_the_responses_api_lacks_is_sent_if_the_options_insist():
    assert responses.build(asked(seed=1, options={"seed": 2}))["seed"] == 2
    assert "n" not in responses.build(asked(n=1))


# The content of messages


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ==", "detail": "low"}}


def test_the_parts_of_a_message_are_renamed_for_the_responses_api():
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]},
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        {"role": "user", "content": "Sure?"},
    ]
    assert responses.build(Prompt(messages, "m"))["input"] == [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What?"},
                {"type": "input_image", "image_url": "data:image/png;base64,QQ==", "detail": "low"},
            ],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A cat."}]},
        {"type": "message", "role": "user", "content": "Sure?"},
    ]


def test_a_tool_call_and_its_output_become_items_of_the_responses_api():
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
    ]
    assert responses.build(Prompt(messages, "m"))["input"] == [
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
    ]


def test_a_legacy_prompt_is_exactly_what_was_typed():
    assert completions.build(Prompt("  Once upon\n", "m"))["prompt"] == "  Once upon\n"


def test_several_messages_become_one_legacy_prompt_with_blank_lines_between():
    messages = [{"role": "user", "content": "A"}, {"role": "assistant", "content": [{"type": "text", "text": "B"}]}]
    assert completions.build(Prompt(messages, "m", system="S"))["prompt"] == "S\n\nA\n\nB"


def test_an_image_is_refused_by_the_legacy_endpoint():
    with pytest.raises(ValueError, match="takes only text"):
        completions.build(Prompt([{"role": "user", "content": [IMAGE]}], "m"))


# Defaults


def test_defaults_give_way_to_whatever_the_prompt_says():
    defaults = {"temperature": 0.5, "max_tokens": 9, "top_k": 1, "user": "u"}
    prompt = asked(temperature=0.0, options={"user": None}).with_defaults(defaults)
    body = chat.build(prompt)
    assert (body["temperature"], body["max_tokens"], body["top_k"]) == (0.0, 9, 1)
    assert "user" not in body
    assert responses.build(prompt)["max_output_tokens"] == 9
