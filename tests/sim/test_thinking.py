"""Models that think: what is shown of it, what it costs, and what they do not take. And those who stay silent for long."""

import asyncio
import json

import pytest

from unspool.sim.clock import Clock
from unspool.sim.frames import Frame
from unspool.sim.lifecycle import kept_alive
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from . import asking
from .asking import CHAT, RESPONSES, said


def events(client, **ask):
    return [json.loads(event.data) for event in client.events(RESPONSES, **ask)]


@pytest.mark.parametrize(
    ("model", "reasoning", "thinks"),
    [
        ("o3", None, True),
        ("o4-mini", {"effort": "low"}, True),
        ("gpt-5", None, True),
        ("openai/gpt-5-mini", None, True),
        ("gpt-5", {"effort": "none"}, False),
        ("gpt-5.4", None, False),
        ("gpt-5.4", {"effort": "high"}, True),
        ("gpt-5-chat-latest", None, False),
        ("gpt-4o", None, False),
        ("sim-1", None, False),
        ("sim-1", {"effort": "low"}, True),
        ("sim-1", {"summary": "auto"}, True),
    ],
)
def test_a_model_thinks_if_it_is_one_that_does_or_is_told_to(client, model, reasoning, thinks):
    response = client.post(RESPONSES, model=model, input="Hello", reasoning=reasoning)
    assert [item["type"] for item in response["output"]] == ["reasoning"] * thinks + ["message"]
    assert (response["usage"]["output_tokens_details"]["reasoning_tokens"] > 0) == thinks


def test_a_summary_is_built_part_by_part_before_the_message(client):
    every = events(client, **asking.of(RESPONSES)["summary"])
    kinds = [event["type"].removeprefix("response.") for event in every]
    own = [kind for kind in kinds if kind.startswith("reasoning_summary") and not kind.endswith("delta")]
    part = ["part.added", "text.done", "part.done"]
    assert own == [f"reasoning_summary_{step}" for step in part * 2]
    item = every[-1]["response"]["output"][0]
    for number, summary in enumerate(item["summary"]):
        deltas = [
            e["delta"] for e in every if e["type"].endswith("summary_text.delta") and e["summary_index"] == number
        ]
        assert "".join(deltas) == summary["text"]
    assert kinds.index("reasoning_summary_part.done") < kinds.index("content_part.added")


def test_encrypted_thoughts_are_others_when_they_are_done(client):
    every = events(client, **asking.of(RESPONSES)["summary"])
    added, done = (
        next(e["item"] for e in every if e["type"] == f"response.output_item.{step}") for step in ("added", "done")
    )
    assert added["encrypted_content"] != done["encrypted_content"]
    assert every[-1]["response"]["output"][0] == done
    again = client.post(RESPONSES, model="o3", input=[*said("Hello"), done, *said("And now?")])
    assert again["status"] == "completed"


def test_chat_counts_its_thoughts_and_does_not_show_them(client):
    answer = client.post(CHAT, model="o3", messages=said("Hello"), reasoning_effort="low")
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 64
    assert answer["choices"][0]["message"]["content"]


def test_a_limit_may_be_used_up_by_thinking(client):
    response = client.post(RESPONSES, **asking.of(RESPONSES)["cut thinking"])
    assert [item["type"] for item in response["output"]] == ["reasoning"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    choice = client.post(CHAT, **asking.of(CHAT)["cut thinking"])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "length")


@pytest.mark.parametrize(
    ("path", "fields", "param", "code"),
    [
        (CHAT, {"model": "o3", "max_tokens": 5}, "max_tokens", "unsupported_parameter"),
        (CHAT, {"model": "o3", "temperature": 0.2}, "temperature", "unsupported_value"),
        (CHAT, {"model": "gpt-5", "logprobs": True}, "logprobs", "unsupported_parameter"),
        (CHAT, {"model": "gpt-5", "stop": "x"}, "stop", "unsupported_parameter"),
        (CHAT, {"model": "gpt-5.4", "top_p": 0.5, "reasoning_effort": "low"}, "top_p", "unsupported_value"),
        (CHAT, {"model": "gpt-4o", "reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter"),
        (CHAT, {"model": "o3", "reasoning_effort": "lots"}, "reasoning_effort", "invalid_value"),
        (RESPONSES, {"model": "o3", "temperature": 0.2}, "temperature", "unsupported_parameter"),
        (RESPONSES, {"model": "gpt-4.1", "reasoning": {"effort": "low"}}, "reasoning.effort", "unsupported_parameter"),
        (RESPONSES, {"model": "o3", "include": ["message.output_text.logprobs"]}, "include", "unsupported_parameter"),
    ],
)
def test_what_does_not_go_with_a_model_is_refused(client, path, fields, param, code):
    ask = {"messages": said("x")} if path == CHAT else {"input": "x"}
    status, error = client.error("POST", path, {**ask, **fields})
    assert (status, error["param"], error["code"]) == (400, param, code)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "o3", "temperature": 1},
        {"model": "gpt-5.4", "temperature": 0.2, "logprobs": True},
        {"model": "o3", "max_completion_tokens": 500},
    ],
)
def test_what_does_go_with_it_is_not(client, fields):
    assert client.post(CHAT, messages=said("x"), **fields)["choices"][0]["finish_reason"] == "stop"


def test_silence_is_broken_by_events_that_take_numbers():
    """The silence is one that ends when the test says so; it is long enough for one keepalive at least."""

    async def take():
        alive = asyncio.Event()

        async def frames():
            yield Frame.of({"sequence_number": 0}, id="0")
            await alive.wait()
            yield Frame.of({"sequence_number": 1}, id="1")
            yield Frame.of({"sequence_number": 2}, id="2")

        taken = []
        async for frame in kept_alive(frames(), 0.001, Clock()):
            taken.append(json.loads(frame.data))
            assert frame.id == str(taken[-1]["sequence_number"])
            if taken[-1].get("type") == "keepalive":
                alive.set()
        return taken

    taken = asyncio.run(take())
    kinds = [body.get("type", "event") for body in taken]
    assert [body["sequence_number"] for body in taken] == list(range(len(taken)))
    assert (kinds[0], kinds[1], kinds[-2:]) == ("event", "keepalive", ["event", "event"])


def test_a_slow_model_keeps_its_connection_and_its_log_alive(client_of):
    with Simulator(SimulatorSettings(ttft=0.3, keepalive=0.02)) as slow:
        asked = client_of(slow.url)
        live = events(asked, model="m", input="Hello in 3 tokens", background=True)
        id = live[0]["response"]["id"]
        after = live[4]["sequence_number"]
        raw = asked.request("GET", f"/responses/{id}?stream=true&starting_after={after}")[2]
    assert "keepalive" in [event["type"] for event in live]
    assert [event["sequence_number"] for event in live] == list(range(len(live)))
    again = [json.loads(line[6:]) for line in raw.decode().splitlines() if line.startswith("data: ")]
    assert again == live[5:]
