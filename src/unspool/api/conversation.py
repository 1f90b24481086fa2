"""A request body's conversation, in the one form that all endpoints' conversations are shown and compared in: Chat Completions'."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import ToolCall
    from unspool.jsontext import JsonObject

# OpenAI renamed "system" to "developer" for its reasoning models; both are instructions.
_INSTRUCTION_ROLES = ("system", "developer")


def with_system(instructions: object, messages: list[JsonObject]) -> tuple[str | None, list[JsonObject]]:
    """Return the instructions, those in the first messages included, and the messages after them."""
    system = [instructions] if type(instructions) is str else []
    first = 0
    while first < len(messages) and messages[first].get("role") in _INSTRUCTION_ROLES:
        system.append(plain(messages[first].get("content")))
        first += 1
    return ("\n\n".join(system) if system else None), messages[first:]


def answer(text: str, calls: list[ToolCall], items: list[JsonObject], reasoning: JsonObject) -> list[JsonObject]:
    """Return an answer as the next turn hands it back: its items, and the assistant's message that they led to.

    Of the items those are meant that a server keeps no copy of, or that ask the program for something; endpoints that have no items
    leave them out. ``reasoning`` are the fields in which a server wants the reasoning back that led to the calls.
    """
    message: JsonObject = {"role": "assistant", "content": text or (None if calls else "")}
    if calls:
        message = {**message, "tool_calls": [call.message() for call in calls], **reasoning}
    if text or calls:
        return [*items, message]
    # OpenAI refuses reasoning that nothing follows.
    return items if items and items[-1].get("type") != "reasoning" else [message]


def plain(content: object) -> str:
    """Return the text of a message's content. A part that has no text is named in brackets: ``[image]``."""
    if type(content) is str:
        return content
    if type(content) is not list:
        return ""
    texts = []
    for part in content:
        if type(part) is not dict:
            # Numbers: a prompt of the legacy endpoint given as tokens.
            return "".join(one for one in content if type(one) is str) or "[tokens]"
        text = part.get("text", part.get("refusal"))
        if type(text) is str:
            texts.append(text)
        else:
            kind = part.get("type")
            kind = kind if type(kind) is str and kind else "part"
            texts.append(f"[{kind.removeprefix('input_').removesuffix('_url')}]")
    return "".join(texts)
