"""What OpenAI refuses, in its words: models, fields, sizes, and what does not go together."""

import json

import pytest

from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from .asking import CHAT, COMPLETIONS, PIXEL, RESPONSES, said

ASKS = {CHAT: {"messages": said("Hi")}, COMPLETIONS: {"prompt": "Hi"}, RESPONSES: {"input": "Hi"}}


def refused(client, path, **fields):
    status, error = client.error("POST", path, {"model": "m", **ASKS[path], **fields})
    assert list(error) == ["message", "type", "param", "code"]
    return status, error["param"], error["code"]


@pytest.fixture(scope="module")
def picky(client_of):
    with Simulator(SimulatorSettings(models=["one", "org/two"], context_window=50)) as simulator:
        yield client_of(simulator.url)


@pytest.fixture(scope="module")
def strict(client_of):
    with Simulator(SimulatorSettings(strict=True)) as simulator:
        yield client_of(simulator.url)


@pytest.mark.parametrize("path", ASKS)
def test_only_the_models_named_are_answered(picky, path):
    assert refused(picky, path) == (404, "model", "model_not_found")
    assert picky.request("POST", path, {**ASKS[path], "model": "org/two"})[0] == 200
    listed = [model["id"] for model in json.loads(picky.request("GET", "/models")[2])["data"]]
    assert listed == ["one", "org/two"]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (CHAT, {"messages": said("word " * 60)}, "messages"),
        (RESPONSES, {"input": "word " * 60}, "input"),
        (RESPONSES, {"instructions": "word " * 60}, "input"),
        (COMPLETIONS, {"prompt": "word " * 40}, None),
        (COMPLETIONS, {"max_tokens": 60}, None),
    ],
)
def test_more_than_a_model_reads_is_refused(picky, path, fields, param):
    assert refused(picky, path, model="one", **fields) == (400, param, "context_length_exceeded")


def test_what_may_be_truncated_is_not(picky):
    ask = {"model": "one", "input": "word " * 60, "truncation": "auto"}
    assert picky.post(RESPONSES, **ask)["status"] == "completed"


def test_the_turns_before_count_too(picky):
    first = picky.post(RESPONSES, model="one", input="word " * 30, max_output_tokens=16)
    asked = refused(picky, RESPONSES, model="one", previous_response_id=first["id"], input="word " * 10)
    assert asked == (400, "input", "context_length_exceeded")


def test_each_model_has_its_own_window(client):
    long = said("word " * 9_000)
    assert refused(client, CHAT, model="gpt-4", messages=long) == (400, "messages", "context_length_exceeded")
    assert client.post(CHAT, model="gpt-4o", messages=long)["usage"]["prompt_tokens"] > 9_000
    assert refused(client, CHAT, model="gpt-4o", max_tokens=20_000) == (400, "max_tokens", "invalid_value")


@pytest.mark.parametrize(
    ("path", "model", "words"),
    [
        (COMPLETIONS, "gpt-4o", "Did you mean to use v1/chat/completions?"),
        (CHAT, "gpt-3.5-turbo-instruct", "Did you mean to use v1/completions?"),
    ],
)
def test_a_strict_server_tells_a_model_s_endpoint(client, strict, path, model, words):
    status, error = strict.error("POST", path, {"model": model, **ASKS[path]})
    assert (status, error["param"], error["code"]) == (404, "model", None)
    assert words in error["message"]
    assert client.request("POST", path, {"model": model, **ASKS[path]})[0] == 200


def test_a_strict_server_insists_on_the_new_name_of_the_limit(client, strict):
    ask = {"model": "gpt-5.4-mini", "max_tokens": 5}
    assert refused(strict, CHAT, **ask) == (400, "max_tokens", "unsupported_parameter")
    assert client.request("POST", CHAT, {**ASKS[CHAT], **ask})[0] == 200


@pytest.mark.parametrize(
    ("path", "error"),
    [(CHAT, (400, None, None)), (COMPLETIONS, (400, None, None)), (RESPONSES, (400, "topp", "unknown_parameter"))],
)
def test_a_field_that_openai_does_not_know_is_refused_unless_the_server_is_lenient(client, client_of, path, error):
    assert refused(client, path, topp=1) == error
    for settings in (SimulatorSettings(lenient=True), SimulatorSettings(dialect="vllm")):
        with Simulator(settings) as simulator:
            assert client_of(simulator.url).request("POST", path, {"model": "m", **ASKS[path], "topp": 1})[0] == 200


@pytest.mark.parametrize(
    ("path", "fields", "param", "code"),
    [
        (COMPLETIONS, {"n": 2, "best_of": 1}, "best_of", "invalid_value"),
        (COMPLETIONS, {"best_of": 2, "stream": True}, "best_of", "invalid_value"),
        (COMPLETIONS, {"best_of": 21}, "best_of", "integer_above_max_value"),
        (COMPLETIONS, {"suffix": 3}, "suffix", "invalid_type"),
        (COMPLETIONS, {"stream_options": {}}, "stream_options", "invalid_value"),
        (CHAT, {"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
        (CHAT, {"logit_bias": {"5": 101}}, "logit_bias.5", "decimal_above_max_value"),
        (CHAT, {"service_tier": "best"}, "service_tier", "invalid_value"),
        (CHAT, {"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
        (CHAT, {"metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties"),
        (CHAT, {"modalities": ["text", "audio"]}, "modalities", "invalid_value"),
        (CHAT, {"seed": "one"}, "seed", "invalid_type"),
        (
            CHAT,
            {"messages": said([{"type": "input_text", "text": "x"}])},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (CHAT, {"messages": said([{"type": "text"}])}, "messages[0].content[0].text", "missing_required_parameter"),
        (
            CHAT,
            {"messages": said([{"type": "image_url", "image_url": {"url": "a.png"}}])},
            "messages[0].content[0].image_url.url",
            "invalid_value",
        ),
        (
            CHAT,
            {"messages": said([{"type": "file", "file": {}}])},
            "messages[0].content[0].file.file_id",
            "missing_required_parameter",
        ),
        (
            RESPONSES,
            {"input": said([{"type": "input_image"}])},
            "input[0].content[0].image_url",
            "missing_required_parameter",
        ),
        (RESPONSES, {"previous_response_id": "resp_0"}, "previous_response_id", "previous_response_not_found"),
        (RESPONSES, {"truncation": "some"}, "truncation", "invalid_value"),
        (RESPONSES, {"stream_options": {}}, "stream_options", "invalid_value"),
        (RESPONSES, {"reasoning": {"summary": "long"}}, "reasoning.summary", "invalid_value"),
        (RESPONSES, {"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        (RESPONSES, {"text": {"verbosity": "huge"}}, "text.verbosity", "invalid_value"),
        (RESPONSES, {"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
    ],
)
def test_a_wrong_field_is_named(client, path, fields, param, code):
    assert refused(client, path, **fields) == (400, param, code)


def test_a_conversation_that_nobody_made_is_not_found(client):
    assert refused(client, RESPONSES, conversation={"id": "conv_1"}) == (404, "conversation", None)


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_says_it_is_no_json_is_refused(client, type):
    body = json.dumps({"model": "m", **ASKS[CHAT]}).encode()
    status, error = client.error("POST", CHAT, body, **{"Content-Type": type})
    assert (status, error["code"]) == (400, "unsupported_content_type")
    assert client.request("POST", CHAT, body, **{"Content-Type": "application/json; charset=utf-8"})[0] == 200


def test_a_body_that_is_too_long_is_refused(client, monkeypatch):
    from unspool.sim.faults import middleware

    monkeypatch.setattr(middleware, "LARGEST_BODY", 1_000)
    assert client.error("POST", CHAT, {"messages": said("x" * 1_000)})[0] == 413


def test_a_client_s_own_request_id_has_a_limit(client):
    body = {"model": "m", **ASKS[CHAT]}
    assert client.request("POST", CHAT, body, **{"X-Client-Request-Id": "a" * 512})[0] == 200
    assert client.error("POST", CHAT, body, **{"X-Client-Request-Id": "a" * 513})[0] == 400


def test_what_comes_with_a_message_is_told_and_counted(client):
    image = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}
    text = {"type": "text", "text": "Hi"}
    plain, one, two = (client.post(CHAT, model="m", messages=said([text, *[image] * number])) for number in range(3))
    assert "came 2 images." in two["choices"][0]["message"]["content"]
    counts = [answer["usage"]["prompt_tokens"] for answer in (plain, one, two)]
    assert counts == [1, 86, 171]


def test_a_suffix_is_led_up_to(client):
    text = client.post(COMPLETIONS, model="m", prompt="def f():", suffix="return 1", max_tokens=99)["choices"][0][
        "text"
    ]
    assert "def f():" in text
    assert "return 1" in text


def test_the_content_filter_ends_an_answer_half_way(client):
    choice = client.post(CHAT, model="m", messages=said("[filter]"))["choices"][0]
    assert choice["finish_reason"] == "content_filter"
    response = client.post(RESPONSES, model="m", input="[filter]")
    assert response["incomplete_details"] == {"reason": "content_filter"}
    assert response["output"][0]["content"][0]["text"]


@pytest.mark.parametrize("dialect", ["vllm", "groq", "transformers"])
def test_a_server_without_refusals_refuses_in_its_text(client_of, dialect):
    with Simulator(SimulatorSettings(dialect=dialect)) as simulator:
        raw = client_of(simulator.url).request(
            "POST", CHAT, {"model": "m", "messages": said("[refuse]"), "stream": True}
        )[2]
    assert '"content":" sorry"' in raw.decode().replace('": "', '":"')
    assert "refusal" not in raw.decode()
