"""The conversation in a request: chat's ``messages`` and the responses endpoint's ``input`` list."""

from __future__ import annotations

from unspool.server.endpoints import tokens
from unspool.server.endpoints.fields import Fields
from unspool.server.errors import RequestError
from unspool.value import Value

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


class Conversation(Value):
    """What was asked: ``prompt`` is the last thing the user said, ``tokens`` the length of everything."""

    __slots__ = ("prompt", "tokens")

    def __init__(self, prompt: str, tokens: int) -> None:
        self.prompt = prompt
        self.tokens = tokens


def read(fields: Fields, name: str) -> Conversation:
    """Read the array of messages in the field of that name. An item with a ``type`` other than a message's has no text here."""
    fields.required(name)
    items = fields.objects(name)
    if not items:
        raise RequestError(
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param=name,
            code="empty_array",
        )
    prompt = ""
    length = 0
    for item in items:
        if (item.text("type") or "message") != "message":
            continue
        role = item.required_text("role")
        if role not in _ROLES:
            raise item.wrong_value("role", f"'{role}' is none of {', '.join(_ROLES)}.")
        text = _text(item, role)
        length += tokens.count(text)
        if role == "user":
            prompt = text
    return Conversation(prompt, length)


def _text(message: Fields, role: str) -> str:
    """A message's text: its content, or the parts of it that are text."""
    # An assistant's message that only called tools has none.
    content = message.value("content") if role == "assistant" else message.required("content")
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise message.wrong_type("content", "a string or an array of objects")
    return "".join(part.text("text") or "" for part in message.objects("content"))
