"""POST /v1/chat/completions."""

import pytest

PATH = "/chat/completions"
ASK = {"model": "sim-1", "messages": [{"role": "user", "content": "What is Python?"}]}


def deltas(chunks, index=0):
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]


def text(chunks, index=0):
    return "".join(delta.get("content", "") for delta in deltas(chunks, index))


def test_a_stream_opens_with_the_role_and_closes_with_the_reason(client):
    first, *middle, last = (chunk["choices"][0] for chunk in client.chunks(PATH, **ASK))
    assert first["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all(list(choice["delta"]) == ["content"] and choice["finish_reason"] is None for choice in middle)
    assert last == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}


def test_a_stream_carries_the_text_of_the_whole_answer(client):
    assert text(client.chunks(PATH, **ASK)) == client.post(PATH, **ASK)["choices"][0]["message"]["content"]


def test_all_chunks_share_id_time_model_and_fingerprint(client):
    heads = {(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"], chunk["service_tier"])
             for chunk in client.chunks(PATH, **ASK)}  # fmt: skip
    [(id, created, model, fingerprint, tier)] = heads
    assert id.startswith("chatcmpl-")
    assert fingerprint.startswith("fp_")
    assert (created, model, tier) == (1_800_000_000, "sim-1", "default")


def test_choices_are_opened_one_after_the_other_and_then_take_turns(client):
    chunks = client.chunks(PATH, **ASK, n=3, max_tokens=2)
    indexes = [chunk["choices"][0]["index"] for chunk in chunks]
    assert indexes == [0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2]


def test_each_choice_of_several_has_its_own_text(client):
    chunks = client.chunks(PATH, **ASK, n=3)
    assert len({text(chunks, index) for index in range(3)}) == 3


def test_usage_comes_last_and_is_null_before(client):
    *chunks, last = client.chunks(PATH, **ASK, max_tokens=7, stream_options={"include_usage": True})
    assert {chunk["usage"] for chunk in chunks} == {None}
    assert last["choices"] == []
    assert (last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (7, 11)


def test_without_include_usage_no_chunk_has_the_field(client):
    assert not any("usage" in chunk for chunk in client.chunks(PATH, **ASK))


def test_padding_hides_the_length_of_the_text(client):
    for chunk in client.chunks(PATH, **ASK):
        assert len(chunk["choices"][0]["delta"].get("content", "") + chunk["obfuscation"]) % 16 == 0


def test_padding_can_be_turned_off(client):
    chunks = client.chunks(PATH, **ASK, stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in chunk for chunk in chunks)


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_either_limit_ends_the_answer_with_length(client, limit):
    choice = client.post(PATH, **ASK, **{limit: 3})["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("# What is", "length")


@pytest.mark.parametrize("stop", ["high-level", ["no such words", "high-level", "language"]])
def test_the_answer_ends_before_a_stop_sequence(client, stop):
    choice = client.post(PATH, **ASK, stop=stop)["choices"][0]
    assert choice["message"]["content"].endswith("**Python** is a ")
    assert choice["finish_reason"] == "stop"


def test_an_answer_that_stops_at_its_first_character_still_has_a_role(client):
    role, end = client.chunks(PATH, **ASK, stop="#")
    assert (role["choices"][0]["delta"]["role"], end["choices"][0]["finish_reason"]) == ("assistant", "stop")


def test_content_may_come_in_parts(client):
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "Python?"}]
    assert text(client.chunks(PATH, model="m", messages=[{"role": "user", "content": parts}])).startswith("# What")


def test_half_a_surrogate_pair_in_the_prompt_breaks_nothing(client):
    ask = b'{"model":"m","messages":[{"role":"user","content":"\\ud83d"}],"stream":%s}'
    for stream in (b"true", b"false"):
        status, _, raw = client.request("POST", PATH, ask % stream)
        assert status == 200
        raw.decode()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 3}, "model", "invalid_type"),
        ({"messages": None}, "messages", "missing_required_parameter"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
        ({"messages": [None]}, "messages[0]", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_tokens": True}, "max_tokens", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"stop": 3}, "stop", "invalid_type"),
        ({"stop": list("abcde")}, "stop", "array_above_max_length"),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
    ],
)
def test_a_wrong_field_is_named(client, fields, param, code):
    status, error = client.error("POST", PATH, {**ASK, **fields})
    assert (status, error["param"], error["code"]) == (400, param, code)
