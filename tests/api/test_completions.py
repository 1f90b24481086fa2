"""The legacy endpoint, and bodies that have another endpoint's shape."""

import pytest

from unspool.api import endpoint
from unspool.api.deltas import Failure, Finish, Started, Text, Usage

from .feeding import DONE, Decoded, data, legacy, message, response

chat, completions, responses = map(endpoint, ("chat", "completions", "responses"))


def test_a_text_stream_becomes_start_text_finish_and_usage_in_this_order():
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    stream = data(legacy("This"), legacy(" is"), legacy("", "length"), legacy("", usage=usage) | {"choices": []})
    assert Decoded("completions", stream + DONE).deltas == [
        Started("cmpl-C7", "gpt-3.5-turbo-instruct"),
        Text("This"),
        Text(" is"),
        Finish("length"),
        Usage(5, 7, 12, raw=usage),
    ]


def test_choices_of_several_prompts_interleave_in_any_order():
    stream = data(legacy("c", index=2), legacy("a", index=0), legacy("b", index=1), legacy("C", index=2))
    decoded = Decoded("completions", stream + DONE, choices=3)
    assert [decoded.text(choice) for choice in range(3)] == ["a", "b", "cC"]


def test_logprobs_whose_first_is_null_do_not_disturb_the_echoed_prompt():
    echoed = legacy("Say")
    echoed["choices"][0]["logprobs"] = {"tokens": ["Say"], "token_logprobs": [None], "top_logprobs": [None]}
    assert Decoded("completions", data(echoed, legacy(" hi")) + DONE).text() == "Say hi"


def test_a_zero_usage_on_each_chunk_as_ollama_sends_is_replaced_by_the_last():
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    last = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    stream = data(legacy("x", usage=zero), legacy("", "stop", usage=zero), legacy("", usage=last) | {"choices": []})
    decoded = Decoded("completions", stream + DONE)
    assert decoded.of(Usage) == [Usage(3, 1, 4, raw=last)]
    assert decoded.text() == "x"


def test_text_that_is_null_is_nothing():
    assert Decoded("completions", data(legacy(None), legacy("x")) + DONE).of(Text) == [Text("x")]


@pytest.mark.parametrize("api", ["chat", "completions", "responses"])
def test_a_whole_answer_of_any_endpoint_is_understood_by_each(api):
    bodies = [
        {"object": "text_completion", "choices": [{"text": "Hi", "index": 0, "finish_reason": "stop"}]},
        {"object": "chat.completion", "choices": [{"message": {"content": "Hi"}, "index": 0, "finish_reason": "stop"}]},
        response("completed", output=[message("Hi")]),
    ]
    for body in bodies:
        decoder = {"chat": chat, "completions": completions, "responses": responses}[api].decoder()
        deltas = decoder.decode_body(body) + decoder.close()
        assert [delta for delta in deltas if type(delta) is not Started] == [Text("Hi"), Finish("stop")]
        assert decoder.ended


@pytest.mark.parametrize(
    ("status", "code", "message", "said"),
    [
        (404, None, "This is a chat model and not supported in the v1/completions endpoint.", "this model"),
        (404, None, "Not Found", "this server"),
        (405, None, "Method Not Allowed", "this server"),
        (404, "model_not_found", "The model `text-davinci-003` has been deprecated", "shut down"),
    ],
)
def test_an_error_that_means_the_endpoint_is_gone_is_explained_with_a_way_out(status, code, message, said):
    sentence = completions.explain(Failure(message, status=status, code=code))
    assert said in sentence
    assert "--api chat" in sentence
    assert "--api responses" in sentence


@pytest.mark.parametrize(
    "failure",
    [
        Failure("max_tokens is deprecated", 400),
        Failure("no such model", 404, code="model_not_found"),
        Failure("slow down", 429),
        Failure("broken"),
    ],
)
def test_any_other_error_is_not_explained_away(failure):
    assert completions.explain(failure) == ""
