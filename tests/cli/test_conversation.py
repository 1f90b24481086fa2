"""`-c` and `--cid`: going on with a conversation, rebuilt from its journals."""

from __future__ import annotations

import json

import pytest

from support.wire import end, event, head, start, stream
from unspool.sim.running import Simulator


@pytest.fixture
def sim(unspool):
    with Simulator() as simulator:
        unspool.env |= {"OPENAI_BASE_URL": simulator.url, "OPENAI_API_KEY": "sk-0123456789", "UNSPOOL_MODEL": "sim-1"}
        yield simulator


def ask(unspool, *arguments: str) -> str:
    done = unspool("-q", "-N", *arguments)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode()


def body(unspool, *arguments: str) -> dict:
    """The request body that a command line stands for."""
    return json.loads(ask(unspool, "--dry-run", *arguments).partition("\n\n")[2])


def request(unspool, number: int) -> dict:
    """What the journal of a stream says was asked."""
    for line in unspool.journals()[number].read_text("utf-8").splitlines():
        if line.startswith("data: "):
            return json.loads(line[6:])
    raise AssertionError("no request")


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_last_conversation_goes_on_with_all_that_was_said(unspool, sim, api):
    first = ask(unspool, "--api", api, "-s", "Be brief", "My name is Ada in 9 tokens")
    second = ask(unspool, "-c", "And in 5 tokens?")
    asked = request(unspool, 1)["body"]
    history = asked["messages"][1:] if api == "chat" else asked["input"]
    assert [message["role"] for message in history] == ["user", "assistant", "user"]
    assert [message["content"] for message in history] == ["My name is Ada in 9 tokens", first, "And in 5 tokens?"]
    assert (asked["messages"][0]["content"] if api == "chat" else asked["instructions"]) == "Be brief"
    assert request(unspool, 1)["parent"] == unspool.journals()[0].stem
    assert second


def test_the_model_and_the_endpoint_are_those_of_before_unless_others_are_named(unspool, sim):
    ask(unspool, "--api", "responses", "-m", "mine", "Hi in 3 tokens")
    assert body(unspool, "-c", "more")["model"] == "mine"
    assert "input" in body(unspool, "-c", "more")
    assert body(unspool, "-c", "-m", "other", "--api", "chat", "more")["model"] == "other"
    assert len(body(unspool, "-c", "-m", "other", "--api", "chat", "more")["messages"]) == 3


def test_the_same_base_url_continues_with_the_same_model(unspool, sim):
    del unspool.env["UNSPOOL_MODEL"]
    ask(unspool, "--base-url", sim.url, "--key", "sk-1", "--api", "chat", "-m", "mine", "Hi in 3 tokens")
    asked = body(unspool, "--base-url", sim.url + "/", "--key", "sk-1", "-c", "more")
    assert (asked["model"], len(asked["messages"])) == ("mine", 3)


def test_any_conversation_goes_on_by_a_piece_of_its_id(unspool, sim):
    ask(unspool, "--api", "chat", "one in 3 tokens")
    ask(unspool, "--api", "chat", "two in 3 tokens")
    id = unspool.journals()[0].stem
    assert body(unspool, "--cid", id[-6:], "more")["messages"][0]["content"] == "one in 3 tokens"
    assert body(unspool, "-c", "more")["messages"][0]["content"] == "two in 3 tokens"


def test_a_stream_that_said_nothing_is_nothing_to_go_on_with(unspool, sim):
    ask(unspool, "--api", "chat", "one in 3 tokens")
    assert unspool("--base-url", "http://127.0.0.1:1/v1", "--retries", "0", "-m", "m", "lost").returncode == 6
    assert body(unspool, "-c", "more")["messages"][0]["content"] == "one in 3 tokens"


def test_where_the_server_keeps_the_conversation_only_what_is_new_is_sent(unspool, sim):
    ask(unspool, "--api", "responses", "--store", "one in 3 tokens")
    ask(unspool, "-c", "--store", "two in 3 tokens")
    asked = request(unspool, 1)["body"]
    assert asked["previous_response_id"].startswith("resp_")
    assert asked["input"] == "two in 3 tokens"
    # The chain is read from the journals all the same.
    turns = body(unspool, "-c", "three")["input"]
    assert [turn["content"] for turn in turns if turn["role"] == "user"] == [
        "one in 3 tokens",
        "two in 3 tokens",
        "three",
    ]


def test_there_being_nothing_to_go_on_with_is_wrong_usage(unspool, sim):
    done = unspool("-c", "more")
    assert done.returncode == 2
    assert b"no conversation to continue yet" in done.stderr
    assert unspool("--cid", "ZZZ", "more").returncode == 2


def _answered(*items: dict) -> bytes:
    """A response with these items that a server does not store."""
    done = [event({"type": "response.output_item.done", "output_index": n, "item": one}) for n, one in enumerate(items)]
    completed = {"id": "r1", "model": "gpt-5", "status": "completed", "output": list(items)}
    return head() + start("responses") + b"".join(done) + event({"type": "response.completed", "response": completed})


def _said(text: str) -> dict:
    return {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def test_reasoning_that_nobody_stores_is_handed_back_in_every_later_turn(unspool, serve):
    thoughts = [{"type": "reasoning", "id": f"rs_{n}", "summary": [], "encrypted_content": f"gAAA{n}"} for n in (1, 2)]
    call = {"type": "custom_tool_call", "id": "c1", "call_id": "call_1", "name": "sql", "input": "SELECT 1"}
    server = serve(
        _answered(thoughts[0], call),
        _answered(thoughts[1], _said("One.")),
        _answered(_said("Two.")),
        stream("chat", "x"),
    )
    tools = ["--tool", '{"type": "custom", "name": "sql"}']
    asked = ["--base-url", server.url, "--api", "responses", "-m", "gpt-5"]
    unspool(*asked, *tools, "count")
    unspool(*asked, "-c", "--tool-result", "call_1", "1")
    unspool(*asked, "-c", "again")
    first, second, third = (json.loads(one.body) for one in server.requests)
    assert first["include"] == second["include"] == third["include"] == ["reasoning.encrypted_content"]
    handed_back = [thoughts[0], {name: value for name, value in call.items() if name != "id"}]
    assert second["input"][1:3] == handed_back
    assert second["input"][3] == {"type": "custom_tool_call_output", "call_id": "call_1", "output": "1"}
    assert third["input"][1:3] == handed_back
    assert [one["type"] for one in third["input"][3:]] == ["custom_tool_call_output", "reasoning", "message", "message"]
    # Another endpoint has no such items.
    unspool("--base-url", server.url, "--api", "chat", "-m", "gpt-5", "-c", "and here")
    messages = json.loads(server.requests[3].body)["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "assistant", "user", "assistant", "user"]


def test_a_conversation_is_continued_with_phases_and_items_in_the_order_in_which_they_came(unspool, serve):
    thoughts = [{"type": "reasoning", "id": f"rs_{n}", "summary": [], "encrypted_content": f"gAAA{n}"} for n in (1, 2)]
    remark = {**_said("Let me see."), "phase": "commentary"}
    final = {**_said("One."), "id": "m2", "phase": "final_answer"}
    server = serve(_answered(thoughts[0], remark, thoughts[1], final), *[_answered(_said("More."))] * 2)
    asked = ["--base-url", server.url, "--api", "responses", "-m", "gpt-5"]
    assert unspool(*asked, "count").stdout.startswith(b"Let me see.One.")
    handed_back = [
        thoughts[0],
        {"type": "message", "role": "assistant", "content": "Let me see.", "phase": "commentary"},
        thoughts[1],
        {"type": "message", "role": "assistant", "content": "One.", "phase": "final_answer"},
    ]
    for _ in range(2):  # the second time from the request that repeats them
        unspool(*asked, "-c", "more")
        assert json.loads(server.requests[-1].body)["input"][1:5] == handed_back
    assert len(json.loads(server.requests[-1].body)["input"]) == 8


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5-chat-latest", "llama", "openai/gpt-oss-120b"])
def test_only_models_known_to_reason_are_asked_for_their_reasoning(unspool, model):
    assert "include" not in body(
        unspool, "--base-url", "http://127.0.0.1:9/v1", "--api", "responses", "-m", model, "hi"
    )


def test_a_server_that_stores_the_answer_is_not_asked_for_encrypted_reasoning(unspool):
    asked = ["--base-url", "http://127.0.0.1:9/v1", "--api", "responses", "-m", "gpt-5", "hi"]
    assert "include" not in body(unspool, "--store", *asked)
    assert "include" not in body(unspool, "-o", "include", "null", *asked)
    assert body(unspool, *asked)["include"] == ["reasoning.encrypted_content"]


def test_reasoning_goes_back_with_the_results_of_calls_in_the_fields_it_came_in(unspool, serve):
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    call["extra_content"] = {"google": {"thought_signature": "sig"}}
    pieces = [
        {"reasoning": "Let me ", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "Let me "}]},
        {"reasoning": "look.", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "look."}]},
        {"reasoning_details": [{"type": "reasoning.text", "index": 0, "signature": "s", "text": None}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "zzz"}]},
        {"tool_calls": [call]},
    ]
    chunks = b"".join(event({"id": "r1", "choices": [{"index": 0, "delta": one}]}) for one in pieces)
    server = serve(head() + chunks + end("chat", "tool_calls"), stream("chat", "Fine."))
    asked = ["--base-url", server.url, "--api", "chat", "-m", "m"]
    unspool(*asked, "--tool", '{"name": "weather", "parameters": {"type": "object"}}', "how is it?")
    unspool(*asked, "-c", "--tool-result", "call_1", "sunny")
    [_, said, _] = json.loads(server.requests[1].body)["messages"]
    assert said["reasoning"] == "Let me look."
    assert said["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "Let me look.", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "zzz"},
    ]
    assert said["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "sig"}}


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_what_the_built_in_simulator_said_is_continued_by_the_built_in_simulator(unspool, api):
    first = unspool("--sim", "--api", api, "Hi in 3 tokens")
    done = unspool("-c", "And in 4 tokens?")
    assert (done.returncode, b"from the built-in simulator" in done.stderr) == (0, True)
    asked = request(unspool, 1)
    assert (asked["api"], asked["model"], asked["parent"]) == (api, "sim-1", unspool.journals()[0].stem)
    assert first.stdout.decode().strip() in json.dumps(asked["body"])
    assert unspool("chat", "--cid", unspool.journals()[0].stem, input=b"More in 2 tokens\n").returncode == 0


def test_what_the_built_in_simulator_said_is_continued_elsewhere_where_a_server_is_named(unspool, sim):
    unspool("--sim", "Hi in 3 tokens")
    assert unspool("-c", "--base-url", sim.url, "more").stderr == b""


def test_a_cut_answer_of_the_built_in_simulator_is_resumed(unspool):
    child = unspool.start("--sim", "a story in 3000 tokens")
    shown = child.stdout.read(20)
    child.terminate()
    shown += child.communicate()[0]
    done = unspool("resume")
    assert done.returncode == 0
    assert done.stdout.startswith(shown)
    assert len(done.stdout) > len(shown)
