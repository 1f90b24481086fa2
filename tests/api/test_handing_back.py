"""What the next turn repeats of an answer of the Responses API."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from unspool.api import endpoint
from unspool.api.conversation import answer, note
from unspool.api.deltas import Text, ToolCall
from unspool.api.parts import Item
from unspool.api.prompt import Prompt

from .feeding import Decoded, typed

KINDS = st.sampled_from(["reasoning", "commentary", "final_answer", "function_call", "custom_tool_call", "shell_call"])


def item(number: int, kind: str) -> dict[str, Any]:
    if kind in ("commentary", "final_answer"):
        return {"type": "message", "role": "assistant", "content": f"text {number}", "phase": kind}
    if kind == "function_call":
        return {"type": kind, "call_id": f"call_{number}", "name": "look", "arguments": "{}"}
    if kind == "custom_tool_call":
        return {"type": kind, "call_id": f"call_{number}", "name": "sql", "input": "select"}
    return {"type": kind, "id": f"item_{number}", "encrypted_content": f"secret {number}"}


def handed_back(items: list[dict[str, Any]], *, streams: bool) -> list[dict[str, Any]]:
    """The input items of the turn after an answer with these output items."""
    sent = [{**one, "id": f"id_{number}"} if "id" not in one else one for number, one in enumerate(items)]
    for one in sent:
        if one["type"] == "message":
            one["content"] = [{"type": "output_text", "text": one["content"]}]
    response = {"id": "r", "model": "m", "status": "completed", "output": sent}
    events: list[dict[str, Any]] = [
        {"type": "response.output_item.done", "output_index": number, "item": one} for number, one in enumerate(sent)
    ]
    events.append({"type": "response.completed", "response": response})
    decoded = Decoded("responses", typed(*events) if streams else typed(events[-1]))
    texts: list[str] = []
    parts: list[tuple[int, ToolCall | Item]] = []
    for delta in decoded.deltas:
        if isinstance(delta, Text):
            texts.append(delta.text)
        elif isinstance(delta, ToolCall | Item):
            note(parts, texts, delta)
    turn = answer("".join(texts), parts, {})
    built = endpoint("responses").build(Prompt([{"role": "user", "content": "hi"}, *turn], "m"))["input"]
    assert isinstance(built, list)
    return built[1:]


@given(st.lists(KINDS, min_size=1, max_size=8), st.booleans())
def test_items_are_handed_back_in_the_order_in_which_they_came(kinds: list[str], streams: bool) -> None:
    items = [item(number, kind) for number, kind in enumerate(kinds)]
    expected = list(items)
    while expected and expected[-1]["type"] == "reasoning":  # which a server refuses where nothing follows
        expected.pop()
    if not expected:
        expected = [{"type": "message", "role": "assistant", "content": ""}]
    assert handed_back(items, streams=streams) == expected
