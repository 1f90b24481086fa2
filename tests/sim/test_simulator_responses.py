"""POST /v1/responses."""

import json

import pytest

PATH = "/responses"
ASK = {"model": "sim-1", "input": "What is Python?"}


def bodies(events):
    return [json.loads(event.data) for event in events]


def test_events_come_in_the_documented_order(client):
    types = [body["type"] for body in bodies(client.events(PATH, **ASK))]
    assert types[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(types[4:-4]) == {"response.output_text.delta"}
    assert types[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_the_event_line_says_what_the_data_says(client):
    assert all(event.type == json.loads(event.data)["type"] for event in client.events(PATH, **ASK))


def test_sequence_numbers_count_from_zero_without_a_hole(client):
    numbers = [body["sequence_number"] for body in bodies(client.events(PATH, **ASK))]
    assert numbers == list(range(len(numbers)))


def test_the_deltas_are_the_text_of_the_snapshot(client):
    events = bodies(client.events(PATH, **ASK))
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == text
    assert events[-4]["text"] == text


def test_the_last_snapshot_is_the_unstreamed_answer_but_for_its_ids(client):
    snapshot = bodies(client.events(PATH, **ASK))[-1]["response"]
    whole = client.post(PATH, **ASK)
    whole["id"], whole["output"][0]["id"] = snapshot["id"], snapshot["output"][0]["id"]
    assert whole == snapshot


def test_a_limit_below_the_answer_leaves_it_incomplete(client):
    ended = bodies(client.events(PATH, **ASK, max_output_tokens=3))[-1]
    response = ended["response"]
    assert ended["type"] == "response.incomplete"
    assert (response["status"], response["output"][0]["status"]) == ("incomplete", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == 3


def test_the_snapshot_gives_the_settings_back(client):
    settings = {
        "instructions": "Be brief.",
        "max_output_tokens": 900,
        "metadata": {"run": "7"},
        "previous_response_id": client.post(PATH, **ASK)["id"],
        "store": False,
        "temperature": 0.5,
        "tools": [
            {"type": "function", "name": "f", "description": None, "parameters": {"type": "object"}, "strict": False}
        ],
        "user": "ada",
    }
    response = client.post(PATH, **ASK, **settings)
    assert {name: response[name] for name in settings} == settings


def test_the_tier_asked_for_becomes_the_tier_used(client):
    events = bodies(client.events(PATH, **ASK))
    assert (events[0]["response"]["service_tier"], events[-1]["response"]["service_tier"]) == ("auto", "default")


def test_the_last_user_message_of_a_list_is_answered(client):
    items = [
        {"role": "user", "content": "Hello"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "3"},
        {"role": "user", "content": [{"type": "input_text", "text": "What is Python?"}]},
    ]
    text = client.post(PATH, model="sim-1", input=items)["output"][0]["content"][0]["text"]
    assert text.startswith("# What is Python?")


def test_padding_can_be_turned_off(client):
    events = bodies(client.events(PATH, **ASK, stream_options={"include_obfuscation": False}))
    assert not any("obfuscation" in event for event in events)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 3}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"model": None}, "model"),
        ({"background": True, "store": False}, "background"),
        ({"background": 1}, "background"),
        ({"store": "yes"}, "store"),
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": {}}, "tools"),
        ({"text": "plain"}, "text"),
    ],
)
def test_a_wrong_field_is_named(client, fields, param):
    status, error = client.error("POST", PATH, {**ASK, **fields})
    assert (status, error["param"]) == (400, param)
