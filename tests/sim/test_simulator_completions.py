"""POST /v1/completions."""

import pytest

PATH = "/completions"
ASK = {"model": "sim-1", "prompt": "What is Python?", "max_tokens": 400}


def texts(chunks, index=0):
    return [choice["text"] for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]


def test_a_stream_carries_the_text_of_the_whole_answer(client):
    whole = client.post(PATH, **ASK)
    assert "".join(texts(client.chunks(PATH, **ASK))) == whole["choices"][0]["text"]


def test_text_chunks_have_no_finish_reason_and_the_last_chunk_has_no_text(client):
    *chunks, last = (chunk["choices"][0] for chunk in client.chunks(PATH, **ASK))
    assert {chunk["finish_reason"] for chunk in chunks} == {None}
    assert last == {"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}


def test_a_chunk_has_the_fields_of_the_whole_object_and_padding(client):
    chunk = client.chunks(PATH, **ASK)[0]
    assert list(chunk) == ["id", "object", "created", "choices", "model", "obfuscation"]


def test_a_limit_below_the_answer_ends_it_with_length(client):
    *chunks, last = client.chunks(PATH, **{**ASK, "max_tokens": 5})
    assert (len(chunks), last["choices"][0]["finish_reason"]) == (5, "length")


def test_a_limit_of_exactly_the_answer_ends_it_with_stop(client):
    tokens = client.post(PATH, **ASK)["usage"]["completion_tokens"]
    assert client.post(PATH, **{**ASK, "max_tokens": tokens})["choices"][0]["finish_reason"] == "stop"


def test_without_a_limit_sixteen_tokens_come(client):
    assert client.post(PATH, model="sim-1", prompt="Go on")["usage"]["completion_tokens"] == 16


def test_echo_puts_the_prompt_before_the_text(client):
    echoed = client.chunks(PATH, **ASK, echo=True)
    assert texts(echoed)[0] == "What is Python?"
    assert client.post(PATH, **ASK, echo=True)["choices"][0]["text"] == "".join(texts(echoed))


def test_echo_without_tokens_gives_the_prompt_alone(client):
    assert client.post(PATH, model="sim-1", prompt="Hello", echo=True, max_tokens=0)["choices"][0] == {
        "text": "Hello",
        "index": 0,
        "logprobs": None,
        "finish_reason": "length",
    }


def test_choices_of_several_prompts_are_numbered_through_and_interleaved(client):
    chunks = client.chunks(PATH, model="sim-1", prompt=["one", "two"], n=2, max_tokens=2)
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [0, 1, 2, 3] * 3


def test_usage_counts_every_choice_and_comes_last(client):
    *chunks, last = client.chunks(PATH, **{**ASK, "max_tokens": 3}, n=2, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2, 3]]])
def test_token_numbers_are_a_prompt(client, prompt):
    assert len(client.post(PATH, model="sim-1", prompt=prompt)["choices"]) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
    ],
)
def test_a_wrong_field_is_named(client, fields, param):
    status, error = client.error("POST", PATH, {**ASK, **fields})
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)
