"""What each dialect sends, as a client that knows nothing but HTTP and JSON sees it."""

import json

import pytest

from unspool.sim.faults.dialects import TABLE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings
from unspool.sse import Decoder

MESSAGES = [{"role": "user", "content": "Hello"}]
CHAT, COMPLETIONS, RESPONSES = "/chat/completions", "/completions", "/responses"
ASKS = {
    CHAT: {"model": "m", "messages": MESSAGES, "stream_options": {"include_usage": True}},
    COMPLETIONS: {"model": "m", "prompt": "Hello", "stream_options": {"include_usage": True}},
    RESPONSES: {"model": "m", "input": "Hello"},
}


@pytest.fixture
def speak(client_of):
    """Gives the raw body of a stream in a dialect."""
    simulators = []

    def speak(dialect, path=CHAT):
        simulators.append(Simulator(SimulatorSettings(dialect=dialect)))
        simulators[-1].start()
        client = client_of(simulators[-1].url)
        _, headers, raw = client.request("POST", path, {**ASKS[path], "stream": True})
        speak.headers = headers
        return raw

    yield speak
    for simulator in simulators:
        simulator.stop()


def events(raw):
    return Decoder().feed(raw)


def chunks(raw):
    return [json.loads(event.data) for event in events(raw) if event.data != "[DONE]"]


def deltas(raw):
    return [choice["delta"] for chunk in chunks(raw) for choice in chunk["choices"] if "delta" in choice]


@pytest.mark.parametrize(
    "dialect", [each.name for each in TABLE if each.name not in ("openai", "openresponses", "azure")]
)
def test_others_leave_out_what_only_openai_sends(speak, dialect):
    assert not {"obfuscation", "service_tier", "logprobs", "refusal"} & set(
        json.dumps(chunks(speak(dialect))).split('"')
    )
    assert "openai-version" not in speak.headers


@pytest.mark.parametrize(
    ("dialect", "field"),
    [
        ("ollama", "reasoning"),
        ("vllm", "reasoning"),
        ("openrouter", "reasoning"),
        ("groq", "reasoning"),
        ("llamacpp", "reasoning_content"),
        ("sglang", "reasoning_content"),
        ("deepseek", "reasoning_content"),
        ("xai", "reasoning_content"),
    ],
)
def test_thoughts_come_first_and_in_the_server_s_own_field(speak, dialect, field):
    found = deltas(speak(dialect))
    thinking = [at for at, delta in enumerate(found) if field in delta]
    assert thinking == [1, 2, 3, 4]
    assert not any(delta.get("content") for delta in found[:5])


def test_mistral_thinks_in_an_array_of_content(speak):
    assert deltas(speak("mistral"))[1]["content"][0]["thinking"][0]["type"] == "text"


@pytest.mark.parametrize(("dialect", "kind"), [("ollama", "reasoning_summary_text"), ("vllm", "reasoning_text")])
def test_thoughts_of_a_response_are_an_item_of_their_own(speak, dialect, kind):
    found = chunks(speak(dialect, RESPONSES))
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    assert f"response.{kind}.delta" in [each["type"] for each in found]
    assert [item["type"] for item in found[-1]["response"]["output"]] == ["reasoning", "message"]
    assert {each["output_index"] for each in found if each["type"] == "response.output_text.delta"} == {1}


def test_usage_is_where_the_server_puts_it(speak):
    for dialect in ("transformers", "mistral", "deepseek", "fireworks"):
        last = chunks(speak(dialect))[-1]
        assert (last["choices"][0]["finish_reason"], last["usage"]["total_tokens"] > 0) == ("stop", True)
    assert chunks(speak("groq"))[-1]["x_groq"]["usage"]["total_tokens"] > 0
    assert {chunk["usage"]["total_tokens"] for chunk in chunks(speak("ollama", COMPLETIONS))[:-1]} == {0}


def test_transformers_sends_data_alone(speak):
    for path in ASKS:
        raw = speak("transformers", path)
        assert (b"event:" in raw, b"[DONE]" in raw, b"null" in raw) == (False, False, False)


def test_comments_are_the_server_s_own(speak):
    assert speak("openrouter").startswith(b": OPENROUTER PROCESSING\n\n")
    assert speak.headers["x-generation-id"]
    assert speak("deepseek").startswith(b": keep-alive\n\n")
    assert speak("llamacpp").startswith(b":\n\ndata: ")


def test_azure_filters_in_chunks_of_their_own(speak):
    first, *others = chunks(speak("azure"))
    assert (first["choices"], "prompt_filter_results" in first) == ([], True)
    assert any(chunk["object"] == "" and "delta" not in chunk["choices"][0] for chunk in others if chunk["choices"])


def test_ollama_llamacpp_and_gemini_in_detail(speak):
    assert {delta["role"] for delta in deltas(speak("ollama"))} == {"assistant"}
    for path in (CHAT, COMPLETIONS):
        assert {chunk["system_fingerprint"] for chunk in chunks(speak("ollama", path))} == {"fp_ollama"}
    raw = speak("llamacpp")
    assert (deltas(raw)[0], "timings" in chunks(raw)[-2]) == ({"role": "assistant", "content": None}, True)
    ended = chunks(speak("gemini"))[-2]["choices"][0]
    assert (ended["finish_reason"], bool(ended["delta"]["content"])) == ("stop", True)


@pytest.mark.parametrize(
    ("dialect", "error"),
    [
        (
            "openai",
            {"error": {"message": "", "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}},
        ),
        ("vllm", {"error": "Unauthorized"}),
        ("openrouter", {"error": {"code": 401, "message": ""}}),
        ("sglang", {"object": "error", "message": "", "type": "invalid_request_error", "param": None, "code": 401}),
        ("transformers", {"error": ""}),
        ("gemini", [{"error": {"code": 401, "message": "", "status": "INVALID_ARGUMENT"}}]),
    ],
)
def test_errors_have_the_server_s_shape_whatever_they_come_from(client_of, dialect, error):
    with Simulator(SimulatorSettings(dialect=dialect, require_key="k-12345678")) as simulator:
        client = client_of(simulator.url)
        for headers in ({"Authorization": "Bearer wrong-key"}, {"X-Unspool-Fault": "status=401"}):
            status, _, raw = client.request("POST", CHAT, ASKS[CHAT], **headers)
            assert (status, blanked(json.loads(raw))) == (401, error)


def blanked(value):
    """An error without its message."""
    if isinstance(value, list):
        return [blanked(each) for each in value]
    if value == {"error": "Unauthorized"}:
        return value
    return {
        key: ""
        if key == "message" or (key == "error" and isinstance(inner, str))
        else blanked(inner)
        if isinstance(inner, dict)
        else inner
        for key, inner in value.items()
    }


@pytest.mark.parametrize("dialect", TABLE, ids=lambda dialect: dialect.name)
def test_what_a_server_does_not_have_is_not_found(client_of, dialect):
    with Simulator(SimulatorSettings(dialect=dialect.name)) as simulator:
        client = client_of(simulator.url)
        for path, api in ((CHAT, "chat"), (COMPLETIONS, "completions"), (RESPONSES, "responses")):
            ask = {name: value for name, value in ASKS[path].items() if name != "stream_options"}
            assert client.request("POST", path, ask)[0] == (200 if api in dialect.endpoints else 404)
        if "responses" in dialect.endpoints:
            id = client.post(RESPONSES, model="m", input="Hello")["id"]
            assert client.request("GET", f"{RESPONSES}/{id}")[0] == (200 if dialect.stateful else 404)
        assert client.request("GET", "/models")[0] == 200


def test_a_dialect_that_nobody_speaks_is_refused():
    with pytest.raises(ValueError, match="no dialect 'klingon', only openai, openresponses, ollama"):
        SimulatorSettings(dialect="klingon")


def test_llamacpp_completes_at_the_limit_and_tells_items_by_their_type(client_of):
    with Simulator(SimulatorSettings(dialect="llamacpp", script=["loading", ""])) as simulator:
        client = client_of(simulator.url)
        body = {"model": "m", "input": "Hi", "max_output_tokens": 3}
        status, error = client.error("POST", "/responses", body)
        assert (status, error["message"]) == (503, "Loading model")
        answer = client.post("/responses", **body)
        assert (answer["status"], answer["incomplete_details"]) == ("completed", None)
        assert json.loads(client.events("/responses", **body)[-1].data)["type"] == "response.completed"
        items = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Ho"},
            {"role": "user", "content": "?"},
        ]
        status, error = client.error("POST", "/responses", {"model": "m", "input": items})
        assert (status, error["message"]) == (400, "Cannot determine type of 'item'")
        items[1]["type"] = "message"
        assert client.request("POST", "/responses", {"model": "m", "input": items})[0] == 200
        raw = client.request(
            "POST",
            "/chat/completions",
            {"model": "m", "stream": True, "messages": items[:1]},
            **{"X-Unspool-Fault": "error=2,field"},
        )[2]
        assert b"\nerror: {" in raw
