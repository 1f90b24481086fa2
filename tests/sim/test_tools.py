"""Tools: when the simulator calls them, with what, and what it makes of their results."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.endpoints.tools import FUNCTION, Tool, Toolbox

from . import asking
from .asking import CHAT, CHAT_TOOLS, DICE, RESPONSES, TOOLS, WEATHER, said

SCHEMAS = {"get_weather": WEATHER, "roll_dice": DICE}


def chat_calls(client, content, **more):
    body = client.post(CHAT, model="m", messages=said(content), **{"tools": CHAT_TOOLS, **more})
    message = body["choices"][0]["message"]
    return [call[call["type"]] for call in message.get("tool_calls", [])]


def names(calls):
    return [call["name"] for call in calls]


def streamed_calls(client, **ask):
    """The calls of a stream, put together, and the choices they came in."""
    choices = [choice for chunk in client.chunks(CHAT, model="m", **ask) for choice in chunk["choices"]]
    pieces = [call for choice in choices for call in choice["delta"].get("tool_calls", [])]
    return pieces, choices


@pytest.mark.parametrize(
    ("content", "more", "called"),
    [
        ("Hello", {}, []),
        ("get_weather", {}, ["get_weather"]),
        ("Please Get Weather for me", {}, ["get_weather"]),
        ("forget_weather and roll_dices", {}, []),
        ("roll dice, then get-weather, then roll dice", {}, ["roll_dice", "get_weather"]),
        ("roll dice, then get-weather", {"parallel_tool_calls": False}, ["roll_dice"]),
        ("get weather", {"tool_choice": "none"}, []),
        ("Hello", {"tool_choice": "required"}, ["get_weather"]),
        ("roll dice", {"tool_choice": "required"}, ["roll_dice"]),
        ("Hello", {"tool_choice": {"type": "function", "function": {"name": "roll_dice"}}}, ["roll_dice"]),
        ("Hello", {"tool_choice": {"type": "custom", "custom": {"name": "query"}}}, ["query"]),
    ],
)
def test_a_tool_is_called_when_it_is_named_or_has_to_be(client, content, more, called):
    assert names(chat_calls(client, content, **more)) == called


@pytest.mark.parametrize(("mode", "called"), [("auto", []), ("required", ["roll_dice"])])
def test_only_allowed_tools_are_called(client, mode, called):
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "roll_dice"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert names(chat_calls(client, "get weather", tool_choice=choice)) == called
    allowed["tools"] = [{"type": "function", "name": "roll_dice"}]
    choice = {"type": "allowed_tools", **allowed}
    output = client.post(RESPONSES, model="m", input="get weather", tools=TOOLS, tool_choice=choice)["output"]
    assert names([item for item in output if item["type"] == "function_call"]) == called


def test_a_name_within_a_longer_one_is_not_called():
    box = Toolbox([Tool("get", FUNCTION), Tool("get_weather", FUNCTION)])
    stamp = RequestIdentity(seed=0, method="POST", path="/", body=b"", clock=lambda: 0.0)
    assert [call.name for call in box.calls("get weather, please", stamp, called=[])] == ["get_weather"]


@given(st.text(max_size=40))
@settings(max_examples=rounds(60), deadline=None)
def test_arguments_are_valid_whatever_is_asked(prompt):
    box = Toolbox([Tool("f", FUNCTION, WEATHER)], must=True)
    stamp = RequestIdentity(seed=0, method="POST", path="/", body=b"", clock=lambda: 0.0)
    [call] = box.calls(prompt.replace("{", ""), stamp, called=[])
    jsonschema.validate(json.loads(call.arguments), WEATHER)


def test_a_json_object_after_the_name_is_what_it_is_called_with(client):
    [weather, dice] = chat_calls(client, 'get_weather {"city": "Rome"} and roll_dice with {"sides": 8}.')
    assert (weather["arguments"], dice["arguments"]) == ('{"city": "Rome"}', '{"sides": 8}')


def test_a_custom_tool_gets_a_text_that_its_grammar_takes(client):
    [call] = chat_calls(client, "query")
    assert call["input"].startswith("SELECT ")


def test_id_type_and_name_of_a_call_come_once_and_its_arguments_in_pieces(client):
    pieces, choices = streamed_calls(client, messages=said("get weather and roll dice"), tools=CHAT_TOOLS)
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]
    for index, name in enumerate(("get_weather", "roll_dice")):
        first, *rest = [piece for piece in pieces if piece["index"] == index]
        assert first["id"].startswith("call_")
        assert (first["type"], first["function"]) == ("function", {"name": name, "arguments": ""})
        assert len(rest) > 1
        assert all(set(piece) == {"index", "function"} and set(piece["function"]) == {"arguments"} for piece in rest)
        jsonschema.validate(json.loads("".join(piece["function"]["arguments"] for piece in rest)), SCHEMAS[name])


def test_a_single_call_is_announced_with_the_role_and_two_are_not(client):
    [[one, *_], [two, *_]] = (
        streamed_calls(client, messages=said(content), tools=CHAT_TOOLS)[1]
        for content in ("get weather", "get weather and roll dice")
    )
    assert (one["delta"]["role"], len(one["delta"]["tool_calls"])) == ("assistant", 1)
    assert two["delta"] == {"role": "assistant", "content": None}


def test_functions_of_old_are_called_the_old_way(client):
    ask = {"model": "m", "messages": said("roll"), "functions": [{"name": "roll", "parameters": DICE}]}
    choice = client.post(CHAT, **ask)["choices"][0]
    assert choice["finish_reason"] == "function_call"
    chunks = [chunk["choices"][0] for chunk in client.chunks(CHAT, **ask)]
    deltas = [chunk["delta"].get("function_call", {}) for chunk in chunks]
    assert deltas[0] == {"name": "roll", "arguments": ""}
    assert "".join(delta.get("arguments", "") for delta in deltas) == choice["message"]["function_call"]["arguments"]
    assert chunks[-1]["finish_reason"] == "function_call"
    assert "function_call" not in client.post(CHAT, **ask, function_call="none")["choices"][0]["message"]


def test_results_are_quoted_and_their_tools_not_called_again(client):
    choice = client.post(CHAT, **{"model": "m"} | asking.of(CHAT)["results"])["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert all(f"> {result}" in choice["message"]["content"] for result in ("19 degrees", "rain"))


def test_a_new_question_after_results_calls_again(client):
    messages = [*asking.of(CHAT)["results"]["messages"], {"role": "assistant", "content": "Rain."}, *said("roll dice")]
    choice = client.post(CHAT, model="m", messages=messages, tools=CHAT_TOOLS)["choices"][0]
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["roll_dice"]


def test_a_response_s_calls_are_answered_in_the_next_turn(client):
    first = client.post(RESPONSES, model="m", input="get weather", tools=TOOLS)
    [call] = first["output"]
    answered = [{"type": "function_call_output", "call_id": call["call_id"], "output": "19 degrees"}]
    second = client.post(RESPONSES, model="m", input=answered, previous_response_id=first["id"], tools=TOOLS)
    text = second["output"][0]["content"][0]["text"]
    assert "`get_weather`" in text
    assert "> 19 degrees" in text


def test_a_response_s_calls_are_items_that_are_opened_filled_and_closed(client):
    events = [json.loads(e.data) for e in client.events(RESPONSES, **asking.of(RESPONSES)["calls"])]
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert events[-1]["response"]["output"] == items
    for index, item in enumerate(items):
        own = [event for event in events if event.get("output_index") == index]
        deltas = [event["delta"] for event in own if event["type"] == "response.function_call_arguments.delta"]
        assert own[0]["item"] == {**item, "status": "in_progress", "arguments": ""}
        assert own[-2]["arguments"] == "".join(deltas) == item["arguments"]
        jsonschema.validate(json.loads(item["arguments"]), SCHEMAS[item["name"]])


def test_a_call_that_the_limit_cuts_is_incomplete(client):
    response = client.post(RESPONSES, **asking.of(RESPONSES)["cut call"])
    assert (response["status"], response["output"][0]["status"]) == ("incomplete", "incomplete")
    assert not response["output"][0]["arguments"].endswith("}")
    assert response["usage"]["output_tokens"] == 3


@pytest.mark.parametrize(
    ("ask", "param", "words"),
    [
        ({"tools": []}, "tools", "empty array"),
        ({"tools": [{"type": "tool"}]}, "tools[0].type", "Supported values"),
        ({"tools": [{"type": "function"}]}, "tools[0].function.name", "Missing"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "pattern"),
        ({"tool_choice": "auto"}, "tool_choice", "only allowed when"),
        ({"tools": CHAT_TOOLS, "tool_choice": "always"}, "tool_choice", "Supported values"),
        (
            {"tools": CHAT_TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "tool_choice",
            "not found",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "strict": True, "parameters": DICE}}]},
            "tools[0].function.parameters",
            "'additionalProperties' is required",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters",
            'type: "object"',
        ),
    ],
)
def test_a_wrong_tool_is_named(client, ask, param, words):
    status, error = client.error("POST", CHAT, {"model": "m", "messages": said("Hi"), **ask})
    assert (status, error["param"]) == (400, param)
    assert words in error["message"]


def test_calls_and_results_have_to_fit_together(client):
    messages = asking.of(CHAT)["results"]["messages"]
    for wrong, param in ((messages[:-1], "messages"), ([messages[0], messages[-1]], "messages.[1].role")):
        status, error = client.error("POST", CHAT, {"model": "m", "messages": wrong})
        assert (status, error["param"]) == (400, param)
    output = {"type": "function_call_output", "call_id": "call_9", "output": "3"}
    call = {"type": "function_call", "call_id": "call_9", "name": "f", "arguments": "{}"}
    for wrong, words in ((output, "No tool call found"), (call, "No tool output found")):
        status, error = client.error("POST", RESPONSES, {"model": "m", "input": [*said("Hi"), wrong]})
        assert (status, error["param"]) == (400, "input")
        assert words in error["message"]


def test_a_required_tool_is_one_that_has_not_been_called_since_the_user_spoke():
    box = Toolbox(
        [Tool("get_weather", FUNCTION), Tool("get_time", FUNCTION), Tool("final_result", FUNCTION)], must=True
    )
    identity = RequestIdentity(seed=0, method="POST", path="/", body=b"", clock=lambda: 0.0)

    def called(prompt, *before):
        return [call.name for call in box.calls(prompt, identity, called=before)]

    assert called("get weather") == ["get_weather"]
    assert called("get weather", "get_weather") == ["final_result"]
    assert called("get weather, get time", "get_weather") == ["get_time"]
    assert called("Hello") == ["get_weather"]


def test_a_result_in_a_user_s_message_is_a_result(client):
    tools = [{"type": "function", "function": {"name": name, "parameters": DICE}} for name in ("roll", "final_answer")]
    messages = [
        *said("roll the dice"),
        {
            "role": "assistant",
            "content": "Calling tools:\n[{'id': 'c', 'type': 'function', 'function': {'name': 'roll', 'arguments': {}}}]",
        },
        *said("Observation:\n4"),
    ]
    answer = client.post(CHAT, model="m", messages=messages, tools=tools, tool_choice="required")
    assert [call["function"]["name"] for call in answer["choices"][0]["message"]["tool_calls"]] == ["final_answer"]
