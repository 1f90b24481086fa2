"""The tools in a request, which of them the simulator calls, and with what.

It calls tools when it must (``tool_choice`` is ``required`` or names one), and else when the user's last words name one and no
result has come yet: by its name, in which ``_`` and ``-`` may be blanks. Two names are two calls, in the order of the names. A
JSON object after a name is what that tool is called with, whatever its schema says; without one the arguments are made from the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unspool.sim.endpoints import schemas, tokens
from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.request_identity import RequestIdentity
from unspool.sim.errors import RequestError
from unspool.sim.frames import JSONObject

FUNCTION, CUSTOM = "function", "custom"

# Tools that OpenAI's servers run themselves. They are let pass, and nothing here calls them.
_HOSTED = (
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "file_search",
    "code_interpreter",
    "image_generation",
    "computer",
    "computer_use_preview",
    "mcp",
    "local_shell",
    "shell",
    "apply_patch",
    "tool_search",
    "namespace",
)

# "Function calling" guide: letters, digits, underscores and dashes, at most 64.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(slots=True)
class Tool:
    """A tool that can be called: a `FUNCTION` with a schema, or a `CUSTOM` one whose input is a text, perhaps after a pattern."""

    name: str
    kind: str
    schema: JSONObject | None = None
    pattern: str | None = None


@dataclass(slots=True)
class Call:
    """A tool called, with its arguments, or its input, cut into ``tokens``."""

    id: str
    name: str
    kind: str
    tokens: Sequence[str]

    @property
    def arguments(self) -> str:
        return "".join(self.tokens)


@dataclass(slots=True)
class Toolbox:
    """The tools that may be called. ``must`` says that at least one has to be, ``parallel`` that more than one may be."""

    tools: Sequence[Tool] = ()
    must: bool = False
    parallel: bool = True

    @property
    def names(self) -> list[str]:
        return [tool.name for tool in self.tools]

    def calls(
        self, prompt: str, identity: RequestIdentity, *, called: Sequence[str] = (), label: str = ""
    ) -> list[Call]:
        """The calls that a prompt brings about; none when tools have been ``called`` for it already, unless one must be.

        Then it is one that has not been called yet, of those that the prompt does not name the last: agents offer the tool that ends their
        loop after the others. ``label`` tells the calls of several answers apart.
        """
        found = [] if called and not self.must else self._found(prompt)
        chosen = [(end, tool) for (_, end), tool in found if tool.name not in called]
        if not chosen and self.must:
            fresh = [tool for tool in self.tools if tool.name not in called] or self.tools
            chosen = [(len(prompt), fresh[-1] if called else fresh[0])]
        if not self.parallel:
            chosen = chosen[:1]
        return [
            Call(
                identity.id("call_", f"{label} {number}"),
                tool.name,
                tool.kind,
                tokens.split(_arguments(tool, prompt, prompt[at:], label)),
            )
            for number, (at, tool) in enumerate(chosen)
        ]

    def _found(self, prompt: str) -> list[tuple[tuple[int, int], Tool]]:
        """The tools that a prompt names, and where it does first, in its order. A name within a longer one is none."""
        spans = {tool.name: (_named(prompt, tool.name), tool) for tool in self.tools}
        everywhere = [span for named, _ in spans.values() for span in named]
        found = []
        for named, tool in spans.values():
            own = [span for span in named if not any(_within(span, other) for other in everywhere)]
            found += [(span, tool) for span in own[:1]]
        return sorted(found, key=lambda each: each[0])


def _within(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span != other and other[0] <= span[0] and span[1] <= other[1]


def _named(prompt: str, name: str) -> list[tuple[int, int]]:
    """The spans of a name in a prompt."""
    words = "[ _-]".join(re.escape(word) for word in re.split("[_-]", name))
    return [match.span() for match in re.finditer(rf"(?<![\w-]){words}(?![\w-])", prompt, re.IGNORECASE)]


def _arguments(tool: Tool, prompt: str, after: str, label: str) -> str:
    given = _json_object(after)
    if tool.kind == CUSTOM:
        if given is not None:
            return given
        if tool.pattern is not None:
            made = schemas.instance({"type": "string", "pattern": tool.pattern}, prompt + label)
            return str(made)
        return prompt.strip()
    if given is not None:
        return given
    made = schemas.instance(tool.schema or {"type": "object"}, f"{tool.name} {prompt} {label}")
    return json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def _json_object(text: str) -> str | None:
    """The JSON object that a text begins with, after anything but a sentence's end or another object's."""
    begin = re.match(r"[^{}.;\n]{0,40}(?=\{)", text)
    if begin is None:
        return None
    try:
        _, end = json.JSONDecoder().raw_decode(text, begin.end())
    except (ValueError, RecursionError):
        return None
    return text[begin.end() : end]


def of_chat(fields: Fields) -> Toolbox:
    """The tools of a chat request, with ``function`` or ``custom`` objects inside; or the older ``functions``."""
    if "functions" in fields and "tools" not in fields:
        return _of_functions(fields)
    tools = []
    for tool in fields.objects("tools"):
        kind = tool.one_of("type", (FUNCTION, CUSTOM), required=True)
        tools.append(_function(tool.object(FUNCTION)) if kind == FUNCTION else _custom(tool.object(CUSTOM)))
    _check_array(fields, "tools", 128)
    return _box(fields, "tools", "tool_choice", tools, nested=True)


def of_responses(fields: Fields) -> Toolbox:
    """The tools of a request for a response, where name and parameters stand beside the type."""
    tools = []
    for tool in fields.objects("tools"):
        kind = tool.one_of("type", (FUNCTION, CUSTOM, *_HOSTED), required=True)
        if kind == FUNCTION:
            tools.append(_function(tool, strict=True))
        elif kind == CUSTOM:
            tools.append(_custom(tool))
    return _box(fields, "tools", "tool_choice", tools, nested=False)


def _of_functions(fields: Fields) -> Toolbox:
    tools = [_function(function) for function in fields.objects("functions")]
    _check_array(fields, "functions", 128)
    choice = fields.value("function_call")
    # One function at a time: several came with ``tools``.
    if isinstance(choice, dict):
        name = fields.object("function_call").required_text("name")
        return Toolbox(_picked(fields, "function_call", tools, [name]), must=True, parallel=False)
    mode = fields.one_of("function_call", ("none", "auto"))
    return Toolbox([] if mode == "none" else tools, parallel=False)


def _function(fields: Fields, *, strict: bool = False) -> Tool:
    name = _name(fields)
    fields.text("description")
    schema = fields.value("parameters")
    fields.object("parameters")
    # In responses a schema that can be strict is, unless that is turned off; so only what asks to be is refused.
    strict = fields.flag("strict", False)
    if schema is not None:
        where = fields.where("parameters")
        try:
            schemas.check(schema, strict=strict)
            # No properties are as good as none named ("Function calling").
            if schema and schema.get("type") not in ("object", None):
                raise schemas.SchemaError("schema must be a JSON Schema of 'type: \"object\"'.")
            schemas.instance(schema, name)
        except schemas.SchemaError as error:
            raise RequestError(
                f"Invalid schema for function '{name}': {error}", param=where, code="invalid_function_parameters"
            ) from None
    return Tool(name, FUNCTION, {**schema, "type": "object"} if schema is not None else None)


def _custom(fields: Fields) -> Tool:
    name = _name(fields)
    format = fields.object("format")
    pattern = None
    if format.one_of("type", ("text", "grammar")) == "grammar":
        # Beside the type in responses, in an object of their own in chat.
        grammar = format.object("grammar") if "grammar" in format else format
        syntax = grammar.one_of("syntax", ("lark", "regex"), required=True)
        definition = grammar.required_text("definition")
        if syntax == "regex":
            pattern = definition
            try:
                schemas.check({"type": "string", "pattern": pattern}, strict=False)
                schemas.instance({"type": "string", "pattern": pattern}, name)
            except schemas.SchemaError as error:
                raise grammar.wrong_value("definition", str(error)) from None
    return Tool(name, CUSTOM, pattern=pattern)


def _name(fields: Fields) -> str:
    name = fields.required_text("name")
    if not _NAME.fullmatch(name):
        where = fields.where("name")
        raise RequestError(
            f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            param=where,
            code="invalid_value",
        )
    return name


def _box(fields: Fields, listed: str, chosen: str, tools: list[Tool], *, nested: bool) -> Toolbox:
    has_tools = bool(fields.value(listed))
    if not has_tools:
        for name in (chosen, "parallel_tool_calls"):
            if nested and name in fields:
                raise RequestError(
                    f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", param=name
                )
    parallel = fields.flag("parallel_tool_calls", True)
    choice = fields.value(chosen)
    if not isinstance(choice, dict):
        mode = fields.one_of(chosen, ("none", "auto", "required")) or "auto"
        if mode == "required" and not has_tools:
            raise fields.wrong_value(chosen, "'required' is only allowed when 'tools' are specified.")
        return Toolbox([] if mode == "none" else tools, must=mode == "required" and bool(tools), parallel=parallel)
    named = fields.object(chosen)
    kind = named.one_of("type", (FUNCTION, CUSTOM, "allowed_tools", *(() if nested else _HOSTED)), required=True)
    if kind in (FUNCTION, CUSTOM):
        name = (named.object(kind) if nested else named).required_text("name")
        return Toolbox(_picked(fields, chosen, tools, [name]), must=True, parallel=parallel)
    if kind != "allowed_tools":
        return Toolbox(tools, parallel=parallel)
    allowed = named.object("allowed_tools") if nested else named
    which_mode = allowed.one_of("mode", ("auto", "required"), required=True)
    allowed.required("tools")
    names = []
    for tool in allowed.objects("tools"):
        which = tool.required_text("type")
        if which in (FUNCTION, CUSTOM):
            names.append((tool.object(which) if nested else tool).required_text("name"))
    picked = _picked(fields, chosen, tools, names)
    return Toolbox(picked, must=which_mode == "required" and bool(picked), parallel=parallel)


def _picked(fields: Fields, chosen: str, tools: Iterable[Tool], names: Sequence[str]) -> list[Tool]:
    by_name = {tool.name: tool for tool in tools}
    for name in names:
        if name not in by_name:
            raise fields.wrong_value(chosen, f"Tool choice '{name}' not found in the tools that are specified.")
    return [by_name[name] for name in names]


def _check_array(fields: Fields, name: str, most: int) -> None:
    value = fields.value(name)
    if value is not None and not value:
        raise RequestError(
            f"Invalid '{name}': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            param=name,
            code="empty_array",
        )
    if value is not None and len(value) > most:
        raise RequestError(
            f"Invalid '{name}': array too long. Expected an array with maximum length {most}, but got an array with "
            f"length {len(value)} instead.",
            param=name,
            code="array_above_max_length",
        )
