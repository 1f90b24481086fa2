"""What apps use besides text: embeddings, counts of tokens, compaction, and a clear answer for all else."""

import base64
import json
import struct

import pytest

from .asking import RESPONSES, said


def embed(client, texts, **more):
    answer = client.post("/embeddings", model="text-embedding-3-small", input=texts, **more)
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return [one["embedding"] for one in answer["data"]]


def cosine(first, second):
    return sum(a * b for a, b in zip(first, second, strict=True))


def test_similar_texts_have_similar_vectors_of_length_one(client):
    texts = ["The cat sat on the mat", "A cat sat on a mat", "Quarterly revenue rose sharply", "the CAT sat on the mat"]
    mat, near, far, same = embed(client, texts)
    assert len(mat) == 1536
    assert [cosine(one, one) for one in (mat, near, far)] == pytest.approx([1, 1, 1])
    assert cosine(mat, same) == pytest.approx(1)
    assert cosine(mat, near) > 0.6 > 0.3 > abs(cosine(mat, far))
    assert embed(client, texts)[0] == mat


def test_dimensions_and_base64_are_those_that_are_asked_for(client):
    [short] = embed(client, "Hello there", dimensions=64)
    [encoded] = embed(client, ["Hello there"], dimensions=64, encoding_format="base64")
    assert len(short) == 64
    assert struct.unpack("<64f", base64.b64decode(encoded)) == pytest.approx(short)
    assert cosine(short, short) == pytest.approx(1)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": "x", "dimensions": 4000}, "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "word " * 9000}, "input"),
    ],
)
def test_embeddings_refuse_what_openai_refuses(client, body, param):
    status, error = client.error("POST", "/embeddings", {"model": "text-embedding-3-small", **body})
    assert (status, error["param"]) == (400, param)


def test_the_openai_package_reads_the_embeddings(sdk):
    answer = sdk.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [len(one.embedding) for one in answer.data] == [1536, 1536]


def test_input_is_counted_as_it_is_billed(client):
    body = {"model": "m", "input": "How many?", "instructions": "Be brief."}
    counted = client.post(RESPONSES + "/input_tokens", **body)
    assert counted["object"] == "response.input_tokens"
    assert counted["input_tokens"] == client.post(RESPONSES, **body)["usage"]["input_tokens"]


def test_a_conversation_is_compacted_and_goes_on(client):
    turns = [*said("One"), {"role": "assistant", "content": "Two"}, *said("Three")]
    compacted = client.post(RESPONSES + "/compact", model="m", input=turns)
    assert compacted["object"] == "response.compaction"
    assert [item["type"] for item in compacted["output"]] == ["message", "message", "compaction"]
    answer = client.post(RESPONSES, model="m", input=[*compacted["output"], *said("Four")])
    assert "Four" in answer["output"][0]["content"][0]["text"]


def test_what_is_not_there_names_what_is(client):
    status, error = client.error("POST", "/images/generations", {"model": "m", "prompt": "x"})
    assert (status, error["type"]) == (404, "invalid_request_error")
    assert error["message"].startswith("Invalid URL (POST /v1/images/generations). The simulator has GET /v1/models, ")
    assert "POST /v1/embeddings" in error["message"]


def test_the_time_in_answers_stands_still_without_a_clock(client_of):
    from unspool.sim.running import Simulator

    with Simulator() as simulator:
        ask = client_of(simulator.url).request
        answers = [ask("POST", RESPONSES, {"model": "m", "input": "Hi", "store": False})[2] for _ in range(2)]
    assert answers[0] == answers[1]
    assert json.loads(answers[0])["created_at"] == 1_767_225_600


@pytest.mark.parametrize("path", ["/chat/completions", RESPONSES])
def test_a_cut_answer_is_continued_where_it_stops(client, path):
    field = "messages" if path != RESPONSES else "input"

    def text(messages):
        answer = client.post(path, model="m", **{field: messages})
        return (
            answer["choices"][0]["message"]["content"]
            if path != RESPONSES
            else answer["output"][0]["content"][0]["text"]
        )

    complete = text(said("What is Python?"))
    partial = complete[:200]
    go_on = "Your last message was cut off. Continue it from exactly where it stops."
    rest = text([*said("What is Python?"), {"role": "assistant", "content": partial}, *said(go_on)])
    assert partial + rest == complete


def test_a_completion_is_continued_where_it_stops(client):
    def text(prompt):
        return client.post("/completions", model="m", prompt=prompt, max_tokens=500)["choices"][0]["text"]

    complete = text("Once upon a time")
    assert complete[:90] + text("Once upon a time" + complete[:90]) == complete
