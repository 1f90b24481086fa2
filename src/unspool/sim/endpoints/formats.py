"""The format an answer is asked for in: a text, any JSON object, or JSON that is valid against a schema."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from unspool.sim.endpoints import schemas, texts
from unspool.sim.endpoints.fields import Fields
from unspool.sim.endpoints.messages import Conversation
from unspool.sim.errors import RequestError

# "response_format" in the API reference: letters, digits, underscores and dashes, at most 64.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(slots=True)
class Format:
    """``json`` says that an answer is JSON; ``schema`` is what it is valid against, None for any object."""

    json: bool = False
    schema: Any = None

    def text(self, conversation: Conversation, label: str = "") -> str:
        """The JSON text that answers a conversation."""
        results = {result.name: result.output for result in conversation.results}
        value: Any
        if self.schema is None:
            value = {"from": "the unspool simulator, not a model", "prompt": texts.beginning(conversation.prompt)}
            value |= ({"results": results} if results else {}) | ({"answer": label} if label else {})
        else:
            value = schemas.instance(self.schema, f"{conversation.prompt} {label} {sorted(results.items())}")
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def of_chat(fields: Fields, conversation: Conversation) -> Format:
    """The ``response_format`` of a chat request, whose schema is an object of its own."""
    format = fields.object("response_format")
    if "response_format" not in fields:
        return Format()
    kind = format.one_of("type", ("text", "json_object", "json_schema"), required=True)
    if kind == "json_schema":
        format.required("json_schema")
        return _of_schema(format.object("json_schema"), "response_format", None)
    return _plain(kind, conversation, "response_format", "messages")


def of_responses(fields: Fields, conversation: Conversation) -> Format:
    """The ``text.format`` of a request for a response."""
    text = fields.object("text")
    text.one_of("verbosity", ("low", "medium", "high"))
    format = text.object("format")
    if "format" not in text:
        return Format()
    kind = format.one_of("type", ("text", "json_object", "json_schema"), required=True)
    if kind == "json_schema":
        return _of_schema(format, "text.format.schema", "invalid_json_schema")
    return _plain(kind, conversation, "text.format", "input")


def _plain(kind: str | None, conversation: Conversation, param: str, where: str) -> Format:
    if kind == "json_object" and not conversation.says_json:
        raise RequestError(
            f"'{where}' must contain the word 'json' in some form, to use '{param}' of type 'json_object'.", param=where
        )
    return Format(json=kind == "json_object")


def _of_schema(fields: Fields, param: str, code: str | None) -> Format:
    name = fields.required_text("name")
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"Invalid '{fields.where('name')}': string does not match pattern. Expected a string that matches the pattern "
            "'^[a-zA-Z0-9_-]+$'.",
            param=fields.where("name"),
            code="invalid_value",
        )
    fields.text("description")
    strict = fields.flag("strict", False)
    fields.required("schema")
    fields.object("schema")
    schema = fields.value("schema")
    try:
        schemas.check(schema, strict=strict)
        # Whether there is a value at all, before the answer is begun.
        schemas.instance(schema, name)
    except schemas.SchemaError as error:
        raise RequestError(f"Invalid schema for response_format '{name}': {error}", param=param, code=code) from None
    return Format(json=True, schema=schema)
