"""Conformance suites of others, and the types of Open Responses, against the simulator.

Open Responses' own acceptance tests are in no package registry, only in its repository. llm-comply has those that use HTTP, under their
ids, with the schema they check; those over WebSocket have nothing to speak to here.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.waiting import PATIENCE
from unspool.sim.running import Simulator
from unspool.sim.simulator import SimulatorSettings

from . import asking, node

# Custom tools are OpenAI's alone; and the types have a schema's ``schema`` as null, which no schema is.
_LEFT_OUT = ("custom", "schema")


# Open Responses' acceptance tests over HTTP that llm-comply has.
_ACCEPTANCE = {
    "assistant-phase",
    "basic-response",
    "compact-missing-model",
    "compact-response",
    "image-input",
    "multi-turn",
    "response-output-phase-schema",
    "streaming-response",
    "system-prompt",
    "tool-calling",
}


@pytest.fixture(scope="module")
def open_simulator():
    """A simulator as Open Responses has it, which knows what the suites ask a model to remember."""
    with Simulator(SimulatorSettings(dialect="openresponses")) as simulator:
        simulator.when(
            user="name",
            endpoint="responses",
            matches=lambda asked: asked.conversation.calls == {} and "what" in asked.conversation.prompt.lower(),
        ).answer("Ada")
        yield simulator


@pytest.mark.parametrize(("form", "tests"), [("open-responses", 13), ("openai-chat", 9)])
def test_llm_comply_finds_nothing_wrong(open_simulator, form, tests):
    pytest.importorskip("llm_comply")
    program = Path(sys.executable).with_name("llm-comply")
    command = [program, "-u", open_simulator.url, "-k", "any", "-m", "sim-1", "--format", form, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    results = json.loads(done.stdout)["results"]
    states = [one["status"] for one in results]
    if form == "open-responses":
        assert {one["id"] for one in results if one["status"] == "passed"} >= _ACCEPTANCE
    assert len(states) == tests
    # The one that is skipped asks for raw reasoning, which OpenAI does not show.
    assert sorted(set(states)) in (["passed", "skipped"], ["passed"]), done.stdout
    assert states.count("skipped") <= 1


def test_a_tool_call_is_streamed_with_the_events_that_open_responses_asks_for(open_simulator, client_of):
    parameters = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
    tool = {"type": "function", "name": "get_weather", "parameters": parameters}
    asked = {"model": "sim-1", "input": "The weather?", "tools": [tool], "tool_choice": "required"}
    *events, _ = client_of(open_simulator.url).events("/responses", **asked)
    types = [event.type for event in events]
    items = {event.type: json.loads(event.data)["item"]["type"] for event in events if "output_item" in event.type}
    assert items == dict.fromkeys(("response.output_item.added", "response.output_item.done"), "function_call")
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= set(types)
    assert types[-1] == "response.completed"


def test_compatcanary_gives_full_marks(open_simulator):
    command = [str(node.modules("compatcanary") / ".bin" / "compatcanary"), "scan", "--base-url", open_simulator.url]
    done = node.run(node.NODE, *command, "--model", "sim-1", "--api-key", "any")
    assert "Score: 100/100" in done.stdout, done.stdout + done.stderr


def test_llmprobe_finds_every_surface_that_is_there_conformant(open_simulator, tmp_path):
    command = [str(node.modules("llmprobe") / ".bin" / "llmprobe"), open_simulator.url, "-k", "any", "-m", "sim-1"]
    done = node.run(tmp_path, *command, "--no-bench", "--no-save")
    report = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    scores = re.findall(r"^  (models|chat|responses|embeddings|completions) +(\d+)/(\d+) ", report, re.MULTILINE)
    assert [name for name, _, _ in scores] == ["models", "chat", "responses", "embeddings", "completions"], report
    assert all(passed == all_ for _, passed, all_ in scores), report


@pytest.mark.parametrize("name", [name for name in asking.of(asking.RESPONSES) if name not in _LEFT_OUT])
def test_every_event_has_the_type_that_open_responses_gives_it(name, open_simulator, client_of):
    types = pytest.importorskip("openresponses_types")
    body = {"model": "sim-1", **asking.of(asking.RESPONSES)[name]}
    body["tools"] = [tool for tool in body.get("tools", ()) if tool["type"] == "function"]
    *events, done = client_of(open_simulator.url).events("/responses", **body)
    assert done.data == "[DONE]"
    models = {
        next(iter(one.model_fields["type"].annotation)).value: one
        for one in vars(types).values()
        if isinstance(one, type) and one.__name__.endswith("StreamingEvent")
    }
    for event in events:
        models[event.type].model_validate_json(event.data)
