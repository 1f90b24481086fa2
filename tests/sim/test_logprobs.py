"""How likely each token was: numbers that could be true, and that are about the tokens sent."""

import json
import math

import pytest

from unspool.sim.endpoints import logprobs, tokens

from . import asking
from .asking import CHAT, COMPLETIONS, RESPONSES, said


def test_the_likelihoods_of_one_place_are_no_more_than_certain():
    for token in set(tokens.split("The quick brown fox, and the lazy dog. It is a fox!")):
        [one] = logprobs.each([token], 20, before=" x")
        everything = [one.logprob, *(logprob for _, logprob in one.others)]
        assert sum(map(math.exp, everything)) <= 1
        assert everything == sorted(everything, reverse=True)
        assert len({token, *(other for other, _ in one.others)}) == 20


@pytest.mark.parametrize("top", [0, 1, 20])
def test_chat_lists_as_many_as_are_asked_for(client, top):
    choice = client.post(CHAT, model="m", messages=said("Héllo"), logprobs=True, top_logprobs=top)["choices"][0]
    entries = choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in entries) == choice["message"]["content"]
    for entry in entries:
        assert bytes(entry["bytes"]).decode() == entry["token"]
        assert len(entry["top_logprobs"]) == top
        assert [entry[name] for name in ("token", "logprob")] in [
            [each[name] for name in ("token", "logprob")] for each in entry["top_logprobs"] or [entry]
        ]


def test_the_first_chunk_of_chat_has_an_empty_list_and_the_last_none(client):
    chunks = [chunk["choices"][0] for chunk in client.chunks(CHAT, **asking.of(CHAT)["logprobs"])]
    assert chunks[0]["logprobs"] == {"content": [], "refusal": None}
    assert [len(chunk["logprobs"]["content"]) for chunk in chunks[1:-1]] == [1] * (len(chunks) - 2)
    assert chunks[-1]["logprobs"] is None


def test_a_refusal_has_its_own(client):
    choice = client.post(CHAT, **asking.of(CHAT)["refusal"])["choices"][0]
    assert choice["logprobs"]["content"] is None
    assert "".join(entry["token"] for entry in choice["logprobs"]["refusal"]) == choice["message"]["refusal"]


def test_responses_have_them_only_when_they_are_included(client):
    ask = {"model": "m", "input": "Hello", "top_logprobs": 2}
    assert client.post(RESPONSES, **ask)["output"][0]["content"][0]["logprobs"] == []
    events = [
        json.loads(event.data) for event in client.events(RESPONSES, **ask, include=["message.output_text.logprobs"])
    ]
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    done = next(event for event in events if event["type"] == "response.output_text.done")
    assert [entry for event in deltas for entry in event["logprobs"]] == done["logprobs"]
    assert {len(entry["top_logprobs"]) for entry in done["logprobs"]} == {2}


def test_completions_say_where_each_token_stands(client):
    prompt = "Hello there"
    [choice] = client.post(COMPLETIONS, model="m", prompt=prompt, logprobs=2, max_tokens=8)["choices"]
    likely = choice["logprobs"]
    for token, offset in zip(likely["tokens"], likely["text_offset"], strict=True):
        assert (prompt + choice["text"])[offset:].startswith(token)
    assert [len(top) for top in likely["top_logprobs"]] == [2] * 8


def test_an_echoed_prompt_is_scored_but_for_its_first_token(client):
    [choice] = client.post(COMPLETIONS, **asking.of(COMPLETIONS)["echo"])["choices"]
    assert choice["text"] == "Hello there"
    assert choice["logprobs"]["tokens"] == ["Hello", " there"]
    assert choice["logprobs"]["text_offset"] == [0, 5]
    assert [logprob is None for logprob in choice["logprobs"]["token_logprobs"]] == [True, False]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"top_logprobs": 3}, "top_logprobs"),
        (CHAT, {"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (CHAT, {"logprobs": 3}, "logprobs"),
        (COMPLETIONS, {"logprobs": 6}, "logprobs"),
        (COMPLETIONS, {"logprobs": True}, "logprobs"),
        (RESPONSES, {"top_logprobs": 21}, "top_logprobs"),
        (RESPONSES, {"include": ["logprobs"]}, "include[0]"),
    ],
)
def test_a_wrong_number_is_refused(client, path, fields, param):
    ask = {CHAT: {"messages": said("x")}, COMPLETIONS: {"prompt": "x"}, RESPONSES: {"input": "x"}}[path]
    status, error = client.error("POST", path, {"model": "m", **ask, **fields})
    assert (status, error["param"]) == (400, param)
