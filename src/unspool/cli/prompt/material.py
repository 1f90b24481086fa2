"""What goes with the words of a prompt: files, attachments, a schema, tools and what they brought.

Imported only where the command line has some of it, for most prompts are words.
"""

from __future__ import annotations

import os

from unspool.cli.prompt.documents import read, read_stdin
from unspool.client.library import attachment
from unspool.client.library.attachment import Unattachable
from unspool.jsontext import loads
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from unspool.cli.options.shared import MaterialOptions
    from unspool.cli.prompt.conversation import History
    from unspool.jsontext import JsonObject
    from unspool.terminal.output import Notes

# What the types of llm's short form of a schema are to JSON Schema, and the names that other people type.
_TYPES = {
    **dict.fromkeys(("str", "string", "text"), "string"),
    **dict.fromkeys(("int", "integer"), "integer"),
    **dict.fromkeys(("float", "number"), "number"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
}


class Material(Fields):
    """``documents`` are texts that precede the prompt, ``parts`` what follows it within its message.

    ``results`` are messages with what tools brought. ``fields`` are those of the `Prompt` that have a name of their own.
    ``took_stdin`` says that standard input is among them; it can be read only once.
    """

    documents: list[str]
    parts: list[JsonObject]
    results: list[JsonObject]
    fields: JsonObject
    took_stdin: bool = False

    @property
    def stands_alone(self) -> bool:
        """Whether it is something to ask, also without a word."""
        return bool(self.documents or self.parts or self.results)

    def messages(self, text: str) -> list[JsonObject]:
        """What is said in this turn, with the text of the prompt."""
        words = "\n".join([*self.documents, text] if text else self.documents)
        content: str | list[JsonObject] = words
        if self.parts:
            content = [*([{"type": "text", "text": words}] if words else ()), *self.parts]
        return [*self.results, *([{"role": "user", "content": content}] if content else ())]


def gather(options: MaterialOptions, notes: Notes, history: History | None) -> Material:
    """Read what the options name. Raises ValueError for what cannot be had or does not go together, before anything is asked."""
    attached: list[tuple[str, str | None, str]] = [(source, None, "-a") for source in options.attachments]
    attached += [(source, type, "--at") for source, type in options.attachment_types]
    results = options.tool_results
    sources = [*options.files, *(source for source, _, _ in attached), *(one for _, one in results)]
    if sources.count("-") > 1:
        raise ValueError("standard input can be read only once: give one - in all to -f, -a, --at and --tool-result")
    documents = [document for source in options.files for document in read(source, notes)]
    parts = []
    for source, type, flag in attached:
        part = _part(source, type, flag, notes)
        # Words go with the words, where every endpoint takes them.
        if part["type"] == "text":
            documents.append(part["text"])
        else:
            parts.append(part)
    return Material(
        documents, parts, _results(results, history, notes), _fields(options, history), took_stdin="-" in sources
    )


def schema_of(options: MaterialOptions) -> JsonObject | None:
    """Return the schema that the options ask for, None where they ask for none. Raises ValueError."""
    if options.schema and options.schema_multi:
        raise ValueError("give --schema for one object or --schema-multi for a list of them, not both")
    if options.schema:
        return read_schema(options.schema)
    return several(read_schema(options.schema_multi)) if options.schema_multi else None


def read_schema(given: str | JsonObject) -> JsonObject:
    """Return the schema of ``--schema``: a file's name, JSON, or the short form. Raises ValueError."""
    if isinstance(given, dict):
        return given
    if given.lstrip().startswith("{"):
        return _object(given, "--schema")
    path = os.path.expanduser(given)
    if "\n" not in given and (
        os.path.isfile(path) or os.path.splitext(path)[1] == ".json" or "/" in path.split(":")[0]
    ):
        return _object(_read(path, "--schema"), f"--schema: {path}")
    return short_schema(given)


def short_schema(given: str) -> JsonObject:
    """Return the schema that ``name, age int, bio: one sentence`` stands for. Raises ValueError for what stands for none.

    A field is a name, perhaps a type (``str`` if not said; ``int``, ``float``, ``bool``, and ``[]`` after any of them for a list)
    and perhaps a colon and what the field is for. Fields have commas between them, or stand on lines of their own, where what they
    are for may have commas.
    """
    fields = given.splitlines() if "\n" in given.strip() else given.split(",")
    properties: JsonObject = {}
    for field in filter(None, (one.strip() for one in fields)):
        head, _, purpose = field.partition(":")
        name, *types = head.split() or [""]
        if not types and name.endswith("[]"):
            name, types = name[:-2], ["str[]"]
        kind = types[0] if types else "str"
        listed = kind.endswith("[]")
        type = _TYPES.get(kind.removesuffix("[]") or "str")
        if len(types) > 1 or type is None or not name.replace("_", "").replace("-", "").isalnum():
            raise ValueError(
                f"--schema: {field!r} is not a field: a field is a name, optionally a type (str, int, float, bool, or str[] for a list)"
                " and optionally a colon and a description; for descriptions with commas, write each field on its own line"
            )
        described: JsonObject = {"type": "array", "items": {"type": type}} if listed else {"type": type}
        if purpose.strip():
            described["description"] = purpose.strip()
        if name in properties:
            raise ValueError(f"--schema: there are two fields called {name}")
        properties[name] = described
    if not properties:
        raise ValueError('--schema takes a file, JSON, or fields such as "name, age int, bio: one sentence"')
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def several(schema: JsonObject) -> JsonObject:
    """The schema of an object whose ``items`` each follow this one, for the outermost value has to be an object at OpenAI."""
    definitions: JsonObject = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    inner = {name: value for name, value in schema.items() if name not in definitions}
    outer: JsonObject = {
        "type": "object",
        "properties": {"items": {"type": "array", "items": inner}},
        "required": ["items"],
    }
    return {**outer, "additionalProperties": False, **definitions}


def read_tools(given: str | JsonObject) -> list[JsonObject]:
    """Return the tools of ``--tool``: a file of one definition or a list of them, or JSON itself. Raises ValueError."""
    if isinstance(given, dict):
        return [given]
    is_json = given.lstrip()[:1] in ("{", "[")
    place = "--tool" if is_json else f"--tool: {given}"
    value = _json(given if is_json else _read(os.path.expanduser(given), "--tool"), place)
    if isinstance(value, dict) and isinstance(value.get("tools"), list):
        value = value["tools"]
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"{place}: a tool is a JSON object with a name and parameters, or a list of such objects")
    return found


def _fields(options: MaterialOptions, history: History | None) -> JsonObject:
    fields: JsonObject = {}
    tools = [tool for given in options.tools for tool in read_tools(given)]
    if not tools and history is not None:
        tools = list(history.tools)
    if tools:
        fields["tools"] = tools
    choice = options.tool_choice
    if choice is not None:
        if not (tools or options.functions or options.run_tools):
            raise ValueError("--tool-choice needs tools to choose from: give them with --tool, --functions or -T")
        fields["tool_choice"] = choice
    if (schema := schema_of(options)) is not None:
        fields["schema"] = schema
    return fields


def _results(given: Sequence[tuple[str, str]], history: History | None, notes: Notes) -> list[JsonObject]:
    """The messages with what tools brought: one for each call that the last answer has made."""
    pending = history.pending if history is not None else {}
    waiting = ", ".join(f"{id} ({name})" for id, name in pending.items())
    if given and not pending:
        where = (
            "the last answer calls no tool"
            if history is not None
            else "add -c to continue the conversation that called the tool"
        )
        raise ValueError(f"--tool-result has nothing to answer: {where}")
    contents: dict[str, str] = {}
    for key, content in given:
        named = [id for id, name in pending.items() if name == key]
        id = key if key in pending else named[0] if len(named) == 1 else None
        if id is None:
            raise ValueError(f"--tool-result: the last answer has no call {key!r}; its calls are {waiting}")
        if id in contents:
            raise ValueError(f"--tool-result: there are two results for {key}")
        contents[id] = content if content != "-" else attachment.text_of(read_stdin(notes), "standard input")
    missing = [f"{id} ({name})" for id, name in pending.items() if id not in contents]
    if missing:
        raise ValueError(
            f"the last answer waits for tool results: give --tool-result ID RESULT for {', '.join(missing)}"
        )
    return [{"role": "tool", "tool_call_id": id, "content": contents[id]} for id in pending]


def _part(source: str, type: str | None, flag: str, notes: Notes) -> JsonObject:
    try:
        if source != "-":
            return attachment.part(os.path.expanduser(source), type=type)
        return attachment.part(read_stdin(notes), type=type, name="standard input")
    except Unattachable as error:
        raise ValueError(f"{flag}: {error}") from error


def _read(path: str, flag: str) -> str:
    try:
        return attachment.text_of(attachment.read(path), path)
    except Unattachable as error:
        raise ValueError(f"{flag}: {error}") from error


def _object(text: str, place: str) -> JsonObject:
    value = _json(text, place)
    if not isinstance(value, dict):
        raise ValueError(f"{place}: a schema is a JSON object")
    return value


def _json(text: str, place: str) -> Any:
    try:
        return loads(text)
    except ValueError as error:
        raise ValueError(f"{place} is not JSON: {error}") from error
