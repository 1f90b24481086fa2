"""The JSON Schema that an answer has to follow, in the form that each endpoint expects (OpenAI's "structured outputs")."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.api.prompt import Prompt
    from unspool.jsontext import JsonObject

# What a schema is called when neither its prompt nor its own title says.
_NAME = "answer"
_LONGEST_NAME = 64
# Keywords under which a schema holds other schemas: by name, as a list, and alone.
_BY_NAME = ("properties", "$defs", "definitions")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_ALONE = ("items", "additionalProperties", "not")


def for_chat(prompt: Prompt) -> JsonObject:
    """The field ``response_format`` of Chat Completions. Raises ValueError for an invalid schema."""
    return {"response_format": {"type": "json_schema", "json_schema": _described(prompt)}}


def for_responses(prompt: Prompt) -> JsonObject:
    """The field ``text`` of the Responses API, with what the prompt's options say in it. Raises ValueError for an invalid schema."""
    given = prompt.options.get("text")
    text = {"format": {"type": "json_schema", **_described(prompt)}}
    return {"text": {**text, **given} if isinstance(given, dict) else text}


def can_be_strict(schema: object) -> bool:
    """Whether OpenAI's strict mode takes this schema: every object lists all its properties as required, and allows no others."""
    if isinstance(schema, bool):
        return False
    if not isinstance(schema, dict):
        return True
    kinds = schema.get("type")
    if "properties" in schema or kinds == "object" or (isinstance(kinds, list) and "object" in kinds):
        properties, required = schema.get("properties"), schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
            return False
        if not isinstance(required, list) or not all(name in required for name in properties):
            return False
    inner = [one for name in _BY_NAME if isinstance(schema.get(name), dict) for one in schema[name].values()]
    inner += [one for name in _LISTS if isinstance(schema.get(name), list) for one in schema[name]]
    inner += [schema[name] for name in _ALONE if isinstance(schema.get(name), dict)]
    return all(map(can_be_strict, inner))


def strict(schema: JsonObject) -> JsonObject:
    """Return the nearest schema that strict mode takes: all properties required, no others, no defaults, an object at the root."""
    definitions = schema.get("$defs", {})
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        schema = {**definitions[reference[8:]], **{name: one for name, one in schema.items() if name != "$ref"}}
    made: JsonObject = _stricter(schema)
    used = str(made)
    if definitions and "#/$defs/" not in used:
        made.pop("$defs")
    return made


def _stricter(schema: object, named: bool = False) -> Any:
    """``named`` says that this maps names to schemas, so that no name in it is a keyword."""
    if isinstance(schema, list):
        return [_stricter(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {name: _stricter(one) for name, one in schema.items()}
    made = {
        name: one if name in ("enum", "const", "required") else _stricter(one, name in ("properties", "$defs"))
        for name, one in schema.items()
        if name != "default"
    }
    if "properties" in made and not made.get("additionalProperties"):
        made["additionalProperties"] = False
        made["required"] = list(made["properties"])
    return made


def _described(prompt: Prompt) -> JsonObject:
    schema = prompt.schema
    if not isinstance(schema, dict):
        raise ValueError(f"a schema is a JSON object, not {type(schema).__name__}")
    name = prompt.schema_name
    if name is None:
        title = schema.get("title")
        name = _safe(title) if isinstance(title, str) else _NAME
    elif name != _safe(name):
        raise ValueError(f"a schema's name has up to {_LONGEST_NAME} letters, digits, - and _, unlike {name!r}")
    described: JsonObject = {"name": name, "schema": schema}
    strict = prompt.schema_strict
    if strict is None:
        strict = can_be_strict(schema) or None
    if strict is not None:
        described["strict"] = strict
    return described


def _safe(name: str) -> str:
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in name)
    return safe[:_LONGEST_NAME] or _NAME
