"""A request body's conversation, in the one form that all endpoints' conversations are shown and compared in: Chat Completions'."""

from __future__ import annotations

from unspool.api.deltas import ToolCall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.parts import Item
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


def note(parts: list[tuple[int, ToolCall | Item]], texts: list[str], part: ToolCall | Item) -> None:
    """Add a part of an answer to those that the next turn repeats, with the number of characters of the text before it.

    An item is left out where the server has a copy of it. ``texts`` are the pieces of the text so far, which are joined.
    """
    text = "".join(texts)
    texts[:] = [text] if text else []
    at = len(text)
    # OpenAI refuses reasoning without the item that it led to, such as a web search.
    follows_reasoning = bool(parts) and parts[-1][0] == at and _is_reasoning(parts[-1][1])
    if isinstance(part, ToolCall) or part.is_handed_back or follows_reasoning:
        parts.append((at, part))


def answer(text: str, parts: list[tuple[int, ToolCall | Item]], reasoning: JsonObject) -> list[JsonObject]:
    """Return an answer as the next turn hands it back: the assistant's message, or several with the items between them, in their order.

    ``parts`` are its calls and items, as `note` collects them; endpoints that have no items leave them out, and join the messages.
    ``reasoning`` are the fields in which a server wants the reasoning back that led to the calls.
    """
    turn: list[JsonObject] = []
    calls: list[ToolCall] = []
    begin = first_call = 0

    def close(end: int, phase: object = None) -> None:
        nonlocal begin
        said, begin = text[begin:end], end
        if said or calls:
            message: JsonObject = {"role": "assistant", "content": said or None}
            if phase:
                message["phase"] = phase
            if calls:
                message = {**message, "tool_calls": [call.message() for call in calls], **reasoning}
                calls.clear()
            turn.append(message)

    for at, part in parts:
        if isinstance(part, ToolCall):
            first_call = first_call if calls else at
            calls.append(part)
        elif part.item.get("type") == "message":
            if calls and first_call == begin:
                close(begin)
            close(at, part.item.get("phase"))
        else:
            close(at)
            turn.append(part.item)
    close(len(text))
    # OpenAI refuses reasoning that nothing follows.
    while turn and turn[-1].get("type") == "reasoning":
        turn.pop()
    return turn or [{"role": "assistant", "content": ""}]


def _is_reasoning(part: ToolCall | Item) -> bool:
    return not isinstance(part, ToolCall) and part.item.get("type") == "reasoning"


def in_messages(history: list[JsonObject]) -> list[JsonObject]:
    """Return a history without items and phases. What they kept apart of one answer becomes one message."""
    found: list[JsonObject] = []
    joins = False
    for message in history:
        if "role" not in message and "type" in message:
            joins = True
            continue
        has_phase = "phase" in message
        if has_phase:
            message = {name: value for name, value in message.items() if name != "phase"}
        if (joins or has_phase) and found and found[-1].get("role") == message.get("role") == "assistant":
            found[-1] = _joined(found[-1], message)
        else:
            found.append(message)
        joins = has_phase
    return found


def _joined(one: JsonObject, other: JsonObject) -> JsonObject:
    """Return two messages of an assistant as one."""
    contents = [one.get("content") or "", other.get("content") or ""]
    content: object
    if all(type(each) is str for each in contents):
        content = "".join(contents)
    else:
        parts = [[{"type": "text", "text": each}] if type(each) is str else each for each in contents if each]
        content = [part for each in parts for part in each]
    calls = [*(one.get("tool_calls") or ()), *(other.get("tool_calls") or ())]
    joined = {**one, **other, "content": content or (None if calls else "")}
    return {**joined, "tool_calls": calls} if calls else joined


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
