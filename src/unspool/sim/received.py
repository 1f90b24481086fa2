"""A request as it came in, read for people and tests: what was said, which tools were offered, what was answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from unspool.sim.frames import JSONObject

ENDPOINTS = (("/chat/completions", "chat"), ("/completions", "completions"), ("/responses", "responses"))


def endpoint_of(path: str) -> str | None:
    """The text endpoint at or below which a path is."""
    return next((name for place, name in ENDPOINTS if place in path), None)


@dataclass(slots=True)
class CalledTool:
    """A tool that the model called, as the client told it afterwards. ``arguments`` are as they were sent: mostly JSON."""

    id: str
    name: str
    arguments: str

    @property
    def json(self) -> Any:
        """The arguments, parsed. Raises ValueError."""
        return json.loads(self.arguments)


@dataclass(slots=True)
class Message:
    """One message of a request. ``role`` is system, developer, user, assistant or tool; a tool's result has the ``call_id`` it answers."""

    role: str
    text: str
    calls: list[CalledTool] = field(default_factory=list)
    call_id: str = ""


@dataclass(slots=True)
class ReceivedRequest:
    """One request. ``headers`` have lower-case names; ``faults`` are those that it met with.

    ``answered_by`` says where its answer came from: "answer 2", "tape NAME", "fault", "simulator", or "refused".
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    faults: str
    answered_by: str = "simulator"

    @property
    def json(self) -> Any:
        """The body, parsed. Raises ValueError for one that is not JSON."""
        return json.loads(self.body)

    @property
    def endpoint(self) -> str | None:
        """``completions``, ``chat`` or ``responses``, None for any other path."""
        return endpoint_of(self.path)

    @property
    def model(self) -> str:
        return _text(self._fields.get("model"))

    @property
    def stream(self) -> bool:
        """Whether a stream is asked for."""
        return self._fields.get("stream") is True

    @property
    def messages(self) -> list[Message]:
        """The messages, oldest first, in the same form for every endpoint. Turns that the server keeps are not included."""
        return list(_messages(self._fields))

    @property
    def system(self) -> str:
        """The system's and the developer's words, with blank lines between."""
        return "\n\n".join(one.text for one in self.messages if one.role in ("system", "developer"))

    @property
    def user(self) -> str:
        """The last thing that the user said."""
        return next((one.text for one in reversed(self.messages) if one.role == "user"), "")

    @property
    def tools(self) -> list[str]:
        """The names of the tools on offer; of those that OpenAI runs itself, their types."""
        return tool_names(self._fields)

    @property
    def _fields(self) -> JSONObject:
        try:
            body = json.loads(self.body)
        except ValueError:
            return {}
        return body if isinstance(body, dict) else {}

    def described(self) -> JSONObject:
        """The request as JSON."""
        return {
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "endpoint": self.endpoint,
            "model": self.model,
            "stream": self.stream,
            "messages": [
                {"role": one.role, "text": one.text}
                | (
                    {"calls": [{"id": c.id, "name": c.name, "arguments": c.arguments} for c in one.calls]}
                    if one.calls
                    else {}
                )
                | ({"call_id": one.call_id} if one.call_id else {})
                for one in self.messages
            ],
            "tools": self.tools,
            "body": self._fields or self.body.decode("utf-8", "replace"),
            "faults": self.faults,
            "answered_by": self.answered_by,
        }


def tool_names(body: JSONObject) -> list[str]:
    """The names of the tools in a request's body."""
    found = []
    for tool in (*_objects(body.get("tools")), *_objects(body.get("functions"))):
        inner = tool.get("function") or tool.get("custom") or tool
        found.append(_text(inner.get("name") if isinstance(inner, dict) else None) or _text(tool.get("type")))
    return found


def _messages(body: JSONObject) -> Iterator[Message]:
    if isinstance(body.get("instructions"), str):
        yield Message("system", body["instructions"])
    for name in ("prompt", "input"):
        if isinstance(body.get(name), str):
            yield Message("user", body[name])
    for item in (*_objects(body.get("messages")), *_objects(body.get("input"))):
        kind = item.get("type", "message")
        if kind in ("function_call", "custom_tool_call"):
            words = _text(item.get("arguments", item.get("input")))
            yield Message("assistant", "", [CalledTool(_text(item.get("call_id")), _text(item.get("name")), words)])
        elif kind in ("function_call_output", "custom_tool_call_output"):
            yield Message("tool", plain(item.get("output")), call_id=_text(item.get("call_id")))
        elif kind == "message" or "role" in item:
            calls = [_called(call) for call in _objects(item.get("tool_calls"))]
            text = plain(item.get("content"))
            yield Message(_text(item.get("role")), text, calls, _text(item.get("tool_call_id")))


def _called(call: JSONObject) -> CalledTool:
    inner = call.get("function") or call.get("custom") or {}
    words = _text(inner.get("arguments", inner.get("input")))
    return CalledTool(_text(call.get("id")), _text(inner.get("name")), words)


def plain(content: object) -> str:
    """The text of a message's content, which may be in parts."""
    if isinstance(content, list):
        return "".join(_text(part.get("text", part.get("refusal"))) for part in _objects(content))
    return _text(content)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _objects(value: object) -> list[JSONObject]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
