"""Agents of five turns at each endpoint, against servers that refuse what real ones refuse in the next turn."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import unspool
from support.server import Connection, Server
from support.wire import DONE, SSE_HEAD, event

from .reading import KEY

pytestmark = pytest.mark.usefixtures("home")

TURNS = 5
Events = list[dict[str, Any]]


class Refusing:
    """Answers with a call four times and then with a text, and with 400 what a real server refuses. ``refused`` says why."""

    def __init__(self, check: Callable[[dict[str, Any], int], str | None], answer: Callable[[int], Events]) -> None:
        self.check, self.answer = check, answer
        self.turn = 0
        self.refused: list[str] = []

    def __call__(self, connection: Connection) -> None:
        why = self.check(connection.json, self.turn)
        if why is not None:
            self.refused.append(why)
            connection.reply(400, {"error": {"message": why, "type": "invalid_request_error"}})
            return
        self.turn += 1
        connection.send(SSE_HEAD, *(event(one) for one in self.answer(self.turn)), DONE)


# Responses, stateless: reasoning comes back encrypted, unchanged, before what it led to; outputs match their calls' kinds.


def responses_items(turn: int) -> Events:
    reasoning = {"type": "reasoning", "id": f"rs_{turn}", "summary": [], "encrypted_content": f"secret-{turn}"}
    if turn == TURNS:
        text = {"type": "output_text", "text": "done", "annotations": []}
        return [reasoning, {"type": "message", "id": "msg", "role": "assistant", "content": [text]}]
    if turn == 2:
        custom = {"type": "custom_tool_call", "id": "ct", "call_id": "call_2", "name": "sql", "input": "select 1"}
        return [reasoning, custom]
    call = {"type": "function_call", "id": f"fc_{turn}", "call_id": f"call_{turn}", "name": "look", "arguments": "{}"}
    return [reasoning, call]


def responses_answer(turn: int) -> Events:
    items = responses_items(turn)
    response = {"id": f"resp_{turn}", "model": "gpt-5", "status": "completed", "output": items}
    events: Events = [{"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}]
    for index, item in enumerate(items):
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [
        {**one, "sequence_number": number}
        for number, one in enumerate([*events, {"type": "response.completed", "response": response}])
    ]


OUTPUTS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def responses_check(body: dict[str, Any], turn: int) -> str | None:
    if "reasoning.encrypted_content" not in body.get("include", ()):
        return "nothing is stored, and encrypted reasoning is not asked for"
    given = body["input"] if isinstance(body["input"], list) else []
    kinds = {one.get("call_id"): one["type"] for one in given if one.get("type") in OUTPUTS}
    for before, one in zip([{}, *given], given, strict=False):
        if one.get("type") in OUTPUTS and before.get("type") != "reasoning":
            return f"{one['call_id']} was provided without its required reasoning item"
        if one.get("type", "").endswith("_call_output") and OUTPUTS[kinds[one["call_id"]]] != one["type"]:
            return f"No tool call found for {one['type']} {one['call_id']}"
    expected = [f"secret-{number + 1}" for number in range(turn)]
    had = [one["encrypted_content"] for one in given if one.get("type") == "reasoning"]
    return None if had == expected else f"reasoning is {had}, and not {expected}"


# Responses with phases: each turn is handed back as it came, and reasoning stands right before what it led to.


def phased_items(turn: int) -> Events:
    def thought(name: str) -> dict[str, Any]:
        return {"type": "reasoning", "id": f"rs_{turn}{name}", "summary": [], "encrypted_content": f"{turn}{name}"}

    def said(phase: str, text: str) -> dict[str, Any]:
        parts = [{"type": "output_text", "text": text, "annotations": []}]
        return {"type": "message", "id": f"msg_{turn}", "role": "assistant", "phase": phase, "content": parts}

    if turn == TURNS:
        return [thought("a"), said("final_answer", "done")]
    search = {"type": "web_search_call", "id": f"ws_{turn}", "status": "completed", "action": {"type": "search"}}
    call = {"type": "function_call", "id": f"fc_{turn}", "call_id": f"call_{turn}", "name": "look", "arguments": "{}"}
    return [thought("a"), said("commentary", f"Look {turn}."), thought("b"), search, thought("c"), call]


def phased_answer(turn: int) -> Events:
    items = phased_items(turn)
    response = {"id": f"resp_{turn}", "model": "gpt-5", "status": "completed", "output": items}
    events: Events = [{"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}]
    for index, item in enumerate(items):
        for part in item.get("content", ()):
            place = {"output_index": index, "content_index": 0}
            events.append({"type": "response.output_text.delta", **place, "delta": part["text"]})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [
        {**one, "sequence_number": number}
        for number, one in enumerate([*events, {"type": "response.completed", "response": response}])
    ]


def phased_check(body: dict[str, Any], turn: int) -> str | None:
    given = body["input"] if isinstance(body["input"], list) else []
    expected = [name for number in range(turn) for name in [*map(shown, phased_items(number + 1)), "output"]]
    had = ["output" if one["type"] == "function_call_output" else shown(one) for one in given[1:]]
    return None if had == expected else f"the input is {had}, and not {expected}"


def shown(item: dict[str, Any]) -> str:
    """What an item says, in either of the forms that the endpoint takes."""
    content = item.get("content") or ""
    text = content if isinstance(content, str) else content[0]["text"]
    return " ".join([item["type"], item.get("encrypted_content", ""), item.get("phase", ""), text])


# Chat Completions: DeepSeek's reasoning_content with calls, Google's signatures, results after their calls.


def chat_answer(turn: int) -> Events:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {"id": f"c{turn}", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    if turn == TURNS:
        return [chunk({"content": "done"}), chunk({}, "stop")]
    signature = {"google": {"thought_signature": f"signature-{turn}"}}
    call = {
        "index": 0,
        "id": f"call_{turn}",
        "type": "function",
        "function": {"name": "look", "arguments": "{}"},
        "extra_content": signature,
    }
    return [chunk({"reasoning_content": f"thought {turn}"}), chunk({"tool_calls": [call]}), chunk({}, "tool_calls")]


def chat_check(body: dict[str, Any], turn: int) -> str | None:
    messages = body["messages"]
    assistants = [one for one in messages if one["role"] == "assistant"]
    for number, one in enumerate(assistants, 1):
        if one.get("reasoning_content") != f"thought {number}":
            return "Missing `reasoning_content` field in the assistant message"
        call = one["tool_calls"][0]
        if call.get("extra_content") != {"google": {"thought_signature": f"signature-{number}"}}:
            return "Function call is missing a thought_signature"
        after = messages[messages.index(one) + 1]
        if after["role"] != "tool" or after["tool_call_id"] != call["id"]:
            return "An assistant message with 'tool_calls' must be followed by tool messages"
        if not one.get("content") and one.get("content", "") is not None:
            return "the content of a message that calls tools is empty"
    return None if len(assistants) == turn else "turns are missing"


def sql() -> dict[str, Any]:
    return {"type": "custom", "name": "sql"}


def look() -> str:
    """Look."""
    return "seen"


LOOPS = {
    "responses": (responses_check, responses_answer, "gpt-5", [look, sql()]),
    "responses with phases": (phased_check, phased_answer, "gpt-5", [look]),
    "chat": (chat_check, chat_answer, "m", [look]),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_an_agent_of_five_turns_hands_back_what_the_endpoint_wants(loop: str) -> None:
    check, answer_of, model, tools = LOOPS[loop]
    api = loop.partition(" ")[0]
    script = Refusing(check, answer_of)
    with Server(script) as server, unspool.Client(base_url=server.url, key=KEY, api=api, model=model) as client:
        answer = client.stream("Look around", tools=tools)
        answer.read()
        while answer.tool_calls:
            results = [call.result("1" if call.kind == "custom" else look()) for call in answer.tool_calls]
            answer = client.stream(answer.reply(*results), tools=tools)
            answer.read()
    assert (answer.text, script.turn, script.refused) == ("done", TURNS, [])


@pytest.mark.parametrize("loop", LOOPS)
async def test_an_agent_of_five_turns_works_in_asyncio(loop: str) -> None:
    check, answer_of, model, tools = LOOPS[loop]
    api = loop.partition(" ")[0]
    script = Refusing(check, answer_of)
    with Server(script) as server:
        async with unspool.AsyncClient(base_url=server.url, key=KEY, api=api, model=model) as client:
            answer = client.stream("Look around", tools=tools)
            await answer.read()
            while answer.tool_calls:
                results = [call.result("1" if call.kind == "custom" else look()) for call in answer.tool_calls]
                answer = client.stream(answer.reply(*results), tools=tools)
                await answer.read()
    assert (answer.text, script.turn, script.refused) == ("done", TURNS, [])


@pytest.mark.parametrize("answer_of", [responses_answer, phased_answer])
def test_a_conversation_moves_from_one_endpoint_to_the_other(answer_of: Callable[[int], Events]) -> None:
    def chat(body: dict[str, Any], turn: int) -> str | None:
        wrong = [one for one in body["messages"] if "role" not in one or "phase" in one]
        roles = [one["role"] for one in body["messages"]]
        if wrong or roles != ["user", "assistant", "tool"]:
            return f"no messages of Chat Completions: {json.dumps(body['messages'])}"
        return None

    first = Refusing(lambda body, turn: None, answer_of)
    second = Refusing(chat, lambda turn: chat_answer(TURNS))
    with Server(first) as one, Server(second) as other:
        answer = unspool.stream("Look", base_url=one.url, key=KEY, api="responses", model="gpt-5", tools=[look])
        text = answer.read()
        assert (answer.message["content"] or "", len(answer.message["tool_calls"])) == (text, 1)
        more = answer.reply(answer.tool_calls[0].result("seen"))
        assert unspool.stream(more, base_url=other.url, key=KEY, api="chat", model="m", tools=[look]).read() == "done"
    assert second.refused == []


def test_an_answer_that_comes_complete_is_handed_back_in_its_order_too() -> None:
    asked: list[dict[str, Any]] = []

    def whole(connection: Connection) -> None:
        asked.append(connection.json)
        turn = len(asked)
        response = {"id": f"resp_{turn}", "object": "response", "model": "gpt-5", "status": "completed"}
        connection.reply(200, {**response, "output": phased_items(turn)})

    with (
        Server(whole) as server,
        unspool.Client(base_url=server.url, key=KEY, api="responses", model="gpt-5") as client,
    ):
        answer = client.stream("Look", tools=[look])
        answer.read()
        client.stream(answer.reply(answer.tool_calls[0].result("seen")), tools=[look]).read()
    assert phased_check(asked[1], 1) is None
