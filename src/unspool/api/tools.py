"""Tools that a model may call, in either form that the API gives them, and the choice among them.

Chat Completions nests what a function is under ``function``; the Responses API has it flat. Both forms are taken for both
endpoints, and a bare ``{"name": …, "parameters": …}`` for either. What is no function (``web_search``, a vendor's own) is
sent as it is, for the server to judge.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.prompt import Prompt
    from unspool.jsontext import JsonObject

# Kinds of tools that have a name of their own, and whose description Chat Completions nests under the kind.
_NAMED = ("function", "custom")
# Kinds of tools that stand for others, whose names only the server knows.
_UNLISTED = ("mcp", "namespace", "tool_search")
_CHOICES = ("auto", "none", "required")


def for_chat(prompt: Prompt) -> JsonObject:
    """The fields ``tools`` and ``tool_choice`` of Chat Completions. Raises ValueError for what describes no tool."""
    tools = [_nested(tool) for tool in _read(prompt)]
    return _fields(tools, _choice(prompt, nested=True))


def for_responses(prompt: Prompt) -> JsonObject:
    """The fields ``tools`` and ``tool_choice`` of the Responses API. Raises ValueError for what describes no tool."""
    tools = [_flat(tool) for tool in _read(prompt)]
    return _fields(tools, _choice(prompt, nested=False))


def names(tools: list[JsonObject]) -> list[str]:
    """The names of the tools that have one, in order."""
    return [name for name in map(name_of, tools) if name]


def name_of(tool: JsonObject) -> str | None:
    """The name of a tool in any form, None for one that has none."""
    inner = tool.get(tool.get("type") or "function")
    name = (inner if isinstance(inner, dict) else tool).get("name")
    return name if isinstance(name, str) and name else None


def is_offered(name: str, body: JsonObject) -> bool:
    """Whether a request body offers the tool that a model calls, as far as can be told: a server may know more tools than it was given."""
    given = body.get("tools") or []
    if any(body.get(one) for one in ("prompt", "functions", "previous_response_id", "conversation")):
        return True
    tools = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    return name in names(tools) or any(one.get("type") in _UNLISTED for one in tools)


def _read(prompt: Prompt) -> list[JsonObject]:
    """The tools, checked, flat, each with its ``type``."""
    flat = []
    for tool in prompt.tools or ():
        if not isinstance(tool, dict):
            raise ValueError(f"a tool is a JSON object, not {type(tool).__name__}")
        kind = tool.get("type") or "function"
        if kind in _NAMED:
            if name_of(tool) is None:
                raise ValueError(f'a tool has no name: give it as {{"type": "{kind}", "name": …, "parameters": …}}')
            inner = tool.get(kind)
            tool = {"type": kind, **(inner if isinstance(inner, dict) else tool)}
            parameters = tool.get("parameters")
            if parameters is not None and not isinstance(parameters, dict):
                raise ValueError(f"the parameters of the tool {tool['name']} are a JSON Schema, an object")
        flat.append(tool)
    named = names(flat)
    for name in named:
        if named.count(name) > 1:
            raise ValueError(f"there are two tools called {name}")
    return flat


def _nested(tool: JsonObject) -> JsonObject:
    kind = tool["type"]
    if kind not in _NAMED:
        return tool
    return {"type": kind, kind: {name: value for name, value in tool.items() if name != "type"}}


def _flat(tool: JsonObject) -> JsonObject:
    if tool["type"] != "function":
        return tool
    # Chat Completions takes a function without parameters for one that has none, and one without strict for a lax one. The
    # Responses API wants both said; what is not strict there by a word is, and refuses most schemas.
    empty = {"type": "object", "properties": {}}
    return {**tool, "parameters": tool.get("parameters") or empty, "strict": bool(tool.get("strict"))}


def _choice(prompt: Prompt, *, nested: bool) -> Any:
    choice = prompt.tool_choice
    if choice is None or choice in _CHOICES:
        return choice
    if isinstance(choice, str):
        choice = {"type": "function", "name": choice}
    kind = choice.get("type")
    name = name_of(choice)
    if kind not in _NAMED or name is None:
        return choice
    offered = names(prompt.tools or [])
    if offered and name not in offered:
        raise ValueError(f"there is no tool called {name!r} to choose; there are {', '.join(offered)}")
    return {"type": kind, kind: {"name": name}} if nested else {"type": kind, "name": name}


def _fields(tools: list[JsonObject], choice: object) -> JsonObject:
    return {"tools": tools or None, "tool_choice": choice}
