"""Scripted answers: what a test says the model answers, through each of the three doors and at each endpoint."""

import asyncio
import json
import re

import pytest

from unspool.sim.running import Simulator
from unspool.sim.script import Citation, ScriptedAnswer, ScriptedCall, ScriptedUsage, call
from unspool.sim.simulator import SimulatorSettings

from .asking import CHAT, COMPLETIONS, RESPONSES

ENDPOINTS = [COMPLETIONS, CHAT, RESPONSES]
LOOKUP = {"name": "lookup", "parameters": {"type": "object", "properties": {"id": {"type": "string"}}}}


@pytest.fixture
def sim():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def ask(sim, client_of):
    """Asks at an endpoint, and returns the text, the calls and the finish reason, however they were sent."""
    client = client_of(sim.url)

    def ask(path, said="Hello", stream=False, **more):
        body = {"model": "m", **more}
        if path == COMPLETIONS:
            body["prompt"] = said
        else:
            body["messages" if path == CHAT else "input"] = (
                said if isinstance(said, list) else [{"role": "user", "content": said}]
            )
        return (_streamed if stream else _whole)(client, path, body)

    return ask


def _whole(client, path, body):
    answer = client.post(path, **body)
    if path == COMPLETIONS:
        [choice] = answer["choices"]
        return choice["text"], [], choice["finish_reason"]
    if path == CHAT:
        [choice] = answer["choices"]
        calls = [one["function"] for one in choice["message"].get("tool_calls", ())]
        text = choice["message"]["content"] or choice["message"]["refusal"] or ""
        return text, [(one["name"], one["arguments"]) for one in calls], choice["finish_reason"]
    return _of_output(answer)


def _of_output(response):
    text, calls = "", []
    for item in response["output"]:
        if item["type"] == "message":
            text += "".join(part.get("text", part.get("refusal")) for part in item["content"])
        elif item["type"] == "function_call":
            calls.append((item["name"], item["arguments"]))
    why = (response["incomplete_details"] or {}).get("reason")
    finish = {"max_output_tokens": "length"}.get(why, why) or ("tool_calls" if calls else "stop")
    return text, calls, finish


def _streamed(client, path, body):
    if path == RESPONSES:
        events = [json.loads(event.data) for event in client.events(path, **body)]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        text = "".join(
            e["delta"] for e in events if e["type"] in ("response.output_text.delta", "response.refusal.delta")
        )
        told = _of_output(events[-1]["response"])
        assert text == told[0]
        return told
    text, calls, finish = "", {}, None
    for chunk in client.chunks(path, **body):
        for choice in chunk["choices"]:
            finish = choice["finish_reason"] or finish
            delta = choice if path == COMPLETIONS else choice["delta"]
            text += delta.get("text") or delta.get("content") or delta.get("refusal") or ""
            for one in delta.get("tool_calls", ()):
                name, arguments = calls.get(one["index"], ("", ""))
                function = one["function"]
                calls[one["index"]] = (name + function.get("name", ""), arguments + function["arguments"])
    return text, list(calls.values()), finish


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_next_request_gets_the_answer_that_was_set(ask, sim, path, stream):
    sim.answer("Hi there.")
    assert ask(path, stream=stream) == ("Hi there.", [], "stop")
    assert "simulator" in ask(path, stream=stream)[0]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_text_and_several_calls_come_in_one_answer(ask, sim, path, stream):
    sim.answer("I look.", calls=[call("lookup", id="7"), ScriptedCall("lookup", ['{"id"', ':"8"}'])])
    expected = [("lookup", '{"id":"7"}'), ("lookup", '{"id":"8"}')]
    assert ask(path, stream=stream) == ("I look.", expected, "tool_calls")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize(
    "answer", [ScriptedAnswer(refusal="No."), ScriptedAnswer(json={"a": [1, "ü"]}), call("lookup")]
)
def test_refusals_json_and_single_calls_come_out_right(ask, sim, path, stream, answer):
    sim.answer(answer)
    text, calls, finish = ask(path, stream=stream)
    if isinstance(answer, ScriptedCall):
        assert (text, calls, finish) == ("", [("lookup", "{}")], "tool_calls")
    else:
        assert (text, calls, finish) == (answer.refusal or '{"a":[1,"ü"]}', [], "stop")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_answer_says_how_it_ends(ask, sim, path):
    sim.when(user="long").answer("Once upon", finish="length")
    assert ask(path, "a long story") == ask(path, "a long story", stream=True) == ("Once upon", [], "length")


def test_pieces_are_streamed_as_they_are_given(sim, client_of):
    sim.answer(["One pie", "ce, ", "three"])
    chunks = client_of(sim.url).chunks(CHAT, model="m", messages=[{"role": "user", "content": "x"}])
    said = [choice["delta"].get("content") for chunk in chunks for choice in chunk["choices"]]
    assert [text for text in said if text] == ["One pie", "ce, ", "three"]


def test_reasoning_citations_usage_and_logprobs_are_told_where_the_endpoint_has_them(sim, client_of):
    client = client_of(sim.url)
    answer = ScriptedAnswer(
        "Rome is old.",
        reasoning="Think.",
        citations=[Citation("https://example.com", "Example", quoted="Rome")],
        usage=ScriptedUsage(input=11, output=5, cached=4, reasoning=2),
        logprobs=[-0.5],
    )
    sim.when().answer(answer)
    asked = {"model": "m", "logprobs": True, "messages": [{"role": "user", "content": "x"}]}
    chat = client.post(CHAT, **asked)
    message = chat["choices"][0]["message"]
    assert message["annotations"][0]["url_citation"] == {
        "start_index": 0,
        "end_index": 4,
        "url": "https://example.com",
        "title": "Example",
    }
    assert message["reasoning_content"] == "Think."
    assert chat["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.5
    assert (chat["usage"]["prompt_tokens"], chat["usage"]["total_tokens"]) == (11, 16)
    assert chat["usage"]["prompt_tokens_details"]["cached_tokens"] == 4
    assert chat["usage"]["completion_tokens_details"]["reasoning_tokens"] == 2
    streamed = client.chunks(CHAT, **asked)
    deltas = [choice["delta"] for chunk in streamed for choice in chunk["choices"]]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Think."
    assert [delta["annotations"] for delta in deltas if "annotations" in delta] == [message["annotations"]]
    response = client.post(RESPONSES, model="m", input="x")
    thoughts, said = response["output"]
    assert thoughts["summary"] == [{"type": "summary_text", "text": "Think."}]
    assert said["content"][0]["annotations"][0]["url"] == "https://example.com"
    assert response["usage"]["total_tokens"] == 16
    events = [json.loads(event.data) for event in client.events(RESPONSES, model="m", input="x")]
    assert [event["annotation"]["end_index"] for event in events if event["type"].endswith("annotation.added")] == [4]
    assert [{**item, "id": ""} for item in events[-1]["response"]["output"]] == [
        {**item, "id": ""} for item in response["output"]
    ]


def test_conditions_are_met_by_what_a_request_says(ask, sim):
    sim.when(user="refund", tools="lookup").answer("with the tool")
    sim.when(user=re.compile(r"refund (\d+) for (?P<who>\w+)")).answer("{1} for {who}, {unknown} {user}")
    sim.when(system="be brief").answer("brief")
    sim.when(model="/^gpt-/").answer("a GPT")
    sim.when(endpoint="completions").answer("completed")
    sim.when(headers={"x-test": "seven"}).answer("seventh")
    sim.when(matches=lambda asked: asked.conversation.tokens > 50).answer("many")
    tools = [{"type": "function", "function": LOOKUP}]
    assert ask(CHAT, "A REFUND, please", tools=tools)[0] == "with the tool"
    assert ask(CHAT, "refund 12 for Ada")[0] == "12 for Ada, {unknown} refund 12 for Ada"
    assert ask(RESPONSES, "Hi", instructions="Always be brief.")[0] == "brief"
    assert ask(CHAT, [{"role": "developer", "content": "Be brief"}, {"role": "user", "content": "Hi"}])[0] == "brief"
    assert ask(CHAT, "Hi", model="gpt-5.4")[0] == "a GPT"
    assert ask(COMPLETIONS, "Hi")[0] == "completed"
    assert ask(CHAT, "word " * 60)[0] == "many"
    assert "simulator" in ask(CHAT, "Hi")[0]


def test_a_tool_loop_is_scripted_by_the_results(ask, sim):
    sim.when(user=r"/order (?P<id>\d+)/").answer(ScriptedCall("lookup", {"id": "{id}"}))
    sim.when(result_of="lookup", result="late").answer("I am sorry: {result}.")
    sim.when(result_of="lookup").answer("It is on its way.")
    text, calls, _ = ask(CHAT, "Where is order 12?")
    assert (text, calls) == ("", [("lookup", '{"id":"12"}')])
    called = {"id": "c", "type": "function", "function": {"name": "lookup", "arguments": calls[0][1]}}
    turns = [
        {"role": "user", "content": "Where is order 12?"},
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c", "content": "sent"},
    ]
    assert ask(CHAT, turns)[0] == "It is on its way."
    turns[-1]["content"] = "late by 2 days"
    assert ask(CHAT, turns)[0] == "I am sorry: late by 2 days."


def test_a_sequence_is_given_once_and_in_order(ask, sim):
    sim.when(user="Hello").sequence("one", call("lookup"), "three")
    sim.when(user="Hello", nth=2).answer("never")
    answers = [ask(CHAT)[:2] for _ in range(4)]
    assert answers[:3] == [("one", []), ("", [("lookup", "{}")]), ("three", [])]
    assert "simulator" in answers[3][0]


def test_the_nth_request_is_told_from_the_others(ask, sim):
    sim.when(user="Hello", nth=2).answer("second")
    sim.when(user="Hello").answer("other")
    assert [ask(path)[0] for path in ENDPOINTS] == ["other", "second", "other"]


def test_a_strict_script_refuses_what_nothing_matches_and_names_the_nearest(sim, client_of):
    sim.answers.strict = True
    sim.when(user="refund", model="other").answer("x")
    sim.when(user="refund", model="m").answer("x")
    status, error = client_of(sim.url).error(
        "POST", CHAT, {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    )
    assert (status, error["code"]) == (404, "no_answer")
    assert error["message"].endswith(
        "The nearest of 2 is answer 2 (user='refund', model='m'): user is 'Hello', and not 'refund'."
    )


def test_what_nobody_got_is_told(ask, sim):
    sim.when(user="Hello").sequence("one", "two")
    sim.when(user="never").answer("x")
    ask(CHAT)
    with pytest.raises(
        AssertionError, match=r"answer 1 .*1 of its 2 answers\n.*answer 2 \(user='never'\): no request used its answer"
    ):
        sim.assert_all_used()
    ask(CHAT)
    ask(CHAT, "never")
    sim.assert_all_used()


def test_requests_are_read_alike_at_every_endpoint(ask, sim):
    sim.when(user="Hello").answer("Hi")
    tools = [{"type": "function", "function": LOOKUP}]
    ask(COMPLETIONS)
    ask(CHAT, [{"role": "system", "content": "S"}, {"role": "user", "content": "Hello"}], tools=tools)
    ask(RESPONSES, instructions="S", tools=[{"type": "function", **LOOKUP}], stream=True)
    ask(CHAT, "other")
    completions, chat, responses, other = sim.requests
    assert [one.endpoint for one in sim.requests] == ["completions", "chat", "responses", "chat"]
    assert completions.user == chat.user == responses.user == "Hello"
    assert chat.system == responses.system == "S"
    assert chat.tools == responses.tools == ["lookup"]
    assert [message.role for message in responses.messages] == ["system", "user"]
    assert (chat.stream, responses.stream, chat.model) == (False, True, "m")
    assert [one.answered_by for one in sim.requests] == ["answer 1"] * 3 + ["simulator"]
    assert other.described()["messages"] == [{"role": "user", "text": "other"}]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_answer_has_faults_of_its_own(sim, client_of, path):
    client = client_of(sim.url)
    field = {COMPLETIONS: "prompt", CHAT: "messages", RESPONSES: "input"}[path]
    body = {"model": "m", "stream": True, field: [{"role": "user", "content": "x"}] if path == CHAT else "x"}
    sim.when().answer("One two three four", fault_once="status=503,retry-after-ms:1", fault="")
    assert client.request("POST", path, body)[0] == 503
    assert client.request("POST", path, body)[0] == 200
    sim.answers.clear()
    sim.when().answer("One two three four", fault="error=2,flat")
    assert b"The server had an error" in client.request("POST", path, body)[2]


def test_an_answer_has_a_pace_of_its_own(client_of):
    from unspool.sim.clock import VirtualClock

    class Watched(VirtualClock):
        slept = 0.0

        async def sleep(self, seconds):
            self.slept += seconds

    clock = Watched()
    with Simulator(SimulatorSettings(clock=clock)) as simulator:
        simulator.answer("Hi", ttft="2m")
        client_of(simulator.url).post(CHAT, model="m", messages=[{"role": "user", "content": "x"}])
    assert clock.slept == 120


FILE = {
    "strict": True,
    "answers": [
        {
            "when": {"user": "/order (?P<id>[0-9]+)/i"},
            "answer": {"calls": [{"name": "lookup", "arguments": {"id": "{id}"}}]},
        },
        {"when": {"user": "hello"}, "sequence": ["Hi.", {"json": {"again": True}}]},
    ],
}
TOML = """
strict = true

[[answers]]
when.user = "/order (?P<id>[0-9]+)/i"
answer.calls = [{ name = "lookup", arguments = { id = "{id}" } }]

[[answers]]
when.user = "hello"
sequence = ["Hi.", { json = { again = true } }]
"""


def _by_file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return Simulator(SimulatorSettings(answers=path))


def _in_python():
    simulator = Simulator(SimulatorSettings(answers_only=True))
    simulator.when(user=re.compile("order (?P<id>[0-9]+)", re.IGNORECASE)).answer(
        ScriptedCall("lookup", {"id": "{id}"})
    )
    simulator.when(user="hello").sequence("Hi.", ScriptedAnswer(json={"again": True}))
    return simulator


@pytest.mark.parametrize("door", ["TOML", "JSON", "Python", "HTTP"])
def test_the_three_doors_lead_to_the_same_answers(door, tmp_path, client_of):
    simulator = {
        "TOML": lambda: _by_file(tmp_path, "answers.toml", TOML),
        "JSON": lambda: _by_file(tmp_path, "answers.json", json.dumps(FILE)),
        "Python": _in_python,
        "HTTP": Simulator,
    }[door]()
    with simulator:
        client = client_of(simulator.url)
        control = client_of(simulator.url.removesuffix("/v1") + "/_unspool")
        if door == "HTTP":
            assert control.request("POST", "/answers", FILE)[0] == 200
        said = [
            _whole(client, CHAT, {"model": "m", "messages": [{"role": "user", "content": text}]})
            for text in ("ORDER 7", "Hello", "Hello")
        ]
        assert said == [
            ("", [("lookup", '{"id":"7"}')], "tool_calls"),
            ("Hi.", [], "stop"),
            ('{"again":true}', [], "stop"),
        ]
        assert client.request("POST", CHAT, {"model": "m", "messages": [{"role": "user", "content": "?"}]})[0] == 404
        listed = json.loads(control.request("GET", "/answers")[2])
        assert [one["used"] for one in listed["answers"]] == [1, 2]
        if door in ("JSON", "HTTP"):
            assert [one["when"] for one in listed["answers"]] == [one["when"] for one in FILE["answers"]]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (
            {"answers": [{"wen": {}, "answer": "x"}]},
            "answer 1: a rule must be an object with when, and answer or sequence",
        ),
        ({"answers": [{"when": {"usr": "x"}, "answer": "x"}]}, "when has no usr; it may have user, system"),
        ({"answers": [{"answer": "x", "sequence": []}]}, "either answer or sequence"),
        ({"answers": [{"sequence": []}]}, "at least one"),
        ({"answers": [{"answer": {"txt": "x"}}]}, "an answer has no txt"),
        ({"answers": [{"answer": {"text": "x", "refusal": "y"}}]}, "one of text, json and refusal"),
        ({"answers": [{"answer": {"text": "x", "finish": "bored"}}]}, "finish must be one of"),
        ({"answers": [{"answer": {"text": "x", "fault": "nonsense"}}]}, "there is no fault 'nonsense'"),
        ({"answers": [{"answer": {"text": "x", "fault": "unstreamed"}}]}, "changes the request"),
        ({"answers": [{"when": {"user": "/(/"}, "answer": "x"}]}, "is not a regular expression"),
        ({"answers": [{"when": {"endpoint": "images"}, "answer": "x"}]}, "endpoint must be completions"),
        ({"answers": "x"}, "answers must be an array"),
        ({"rules": []}, "it has rules"),
    ],
)
def test_a_mistake_in_a_script_is_explained_and_changes_nothing(value, error, sim, client_of):
    control = client_of(sim.url.removesuffix("/v1") + "/_unspool")
    sim.answer("kept")
    for method in ("POST", "PUT"):
        status, told = control.error(method, "/answers", value)
        assert (status, error in told["message"]) == (400, True), told
    assert [rule.left for rule in sim.answers.rules] == [1]


def test_a_simulator_is_an_async_context_manager(client_of):
    async def scenario():
        async with Simulator() as simulator:
            simulator.answer("Hi.")
            return await asyncio.to_thread(client_of(simulator.url).post, RESPONSES, model="m", input="Hello")

    assert _of_output(asyncio.run(scenario()))[0] == "Hi."
