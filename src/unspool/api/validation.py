"""Whether a JSON value follows a schema, as far as that can be told without a library for it.

The keywords that models are held to are checked (JSON Schema 2020-12); the others are passed over, so what is reported here is
wrong for certain, and what is not may still be for a keyword that nobody looked at.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from unspool.jsontext import JsonObject

# References to references, and values nested deeper than any answer: more would only exhaust the stack.
_DEEPEST = 64


def mismatch(schema: object, value: object) -> str | None:
    """Return a sentence that says where the value does not follow the schema, None where it does."""
    return _wrong(schema, value, "the answer", schema, 0)


def _wrong(schema: object, value: object, place: str, root: object, depth: int) -> str | None:
    if schema is False:
        return f"{place} is not allowed"
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    for check in (_reference, _kind, _choice, _members, _elements, _range):
        wrong = check(schema, value, place, root, depth)
        if wrong is not None:
            return wrong
    return None


def _reference(schema: JsonObject, value: object, place: str, root: object, depth: int) -> str | None:
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    target = root
    for name in reference[1:].split("/")[1:]:
        target = target.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
    return _wrong(target, value, place, root, depth + 1)


def _kind(schema: JsonObject, value: object, place: str, root: object, depth: int) -> str | None:
    kinds = schema.get("type")
    if isinstance(kinds, str):
        kinds = [kinds]
    if not isinstance(kinds, list) or any(_is(value, kind) for kind in kinds):
        return None
    return f"{place} is {_name(value)} and not {' or '.join(map(str, kinds))}"


def _choice(schema: JsonObject, value: object, place: str, root: object, depth: int) -> str | None:
    allowed = schema.get("enum")
    if "const" in schema:
        allowed = [schema["const"]]
    if isinstance(allowed, list) and not any(_same(value, one) for one in allowed):
        return f"{place} is none of the values that the schema allows"
    for one in _list(schema, "allOf"):
        wrong = _wrong(one, value, place, root, depth + 1)
        if wrong is not None:
            return wrong
    for name in ("anyOf", "oneOf"):
        ways = _list(schema, name)
        if ways:
            wrongs = [_wrong(one, value, place, root, depth + 1) for one in ways]
            if None not in wrongs:
                return wrongs[0] if len(wrongs) == 1 else f"{place} matches none of the alternatives of the schema"
    return None


def _members(schema: JsonObject, value: object, place: str, root: object, depth: int) -> str | None:
    if not isinstance(value, dict):
        return None
    for name in _list(schema, "required"):
        if isinstance(name, str) and name not in value:
            return f"{place} has no {name!r}"
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        properties = {}
    for name, item in value.items():
        if name in properties:
            wrong = _wrong(properties[name], item, f"{name!r} of {place}", root, depth + 1)
        elif "patternProperties" in schema:
            continue
        elif schema.get("additionalProperties") is False:
            wrong = f"{place} has {name!r}, which the schema does not allow"
        else:
            wrong = _wrong(schema.get("additionalProperties"), item, f"{name!r} of {place}", root, depth + 1)
        if wrong is not None:
            return wrong
    return None


def _elements(schema: JsonObject, value: object, place: str, root: object, depth: int) -> str | None:
    if not isinstance(value, list):
        return None
    first = _list(schema, "prefixItems")
    for number, item in enumerate(value):
        one = first[number] if number < len(first) else schema.get("items")
        wrong = _wrong(one, item, f"item {number + 1} of {place}", root, depth + 1)
        if wrong is not None:
            return wrong
    return None


def _range(schema: JsonObject, value: Any, place: str, root: Any, depth: int) -> str | None:
    if isinstance(value, str | list):
        unit = "characters" if isinstance(value, str) else "items"
        names = ("minLength", "maxLength") if isinstance(value, str) else ("minItems", "maxItems")
        least, most = (schema.get(name) for name in names)
        if isinstance(least, int) and len(value) < least:
            return f"{place} has {len(value)} {unit}, fewer than {least}"
        if isinstance(most, int) and len(value) > most:
            return f"{place} has {len(value)} {unit}, more than {most}"
    if _is(value, "number"):
        least, most = schema.get("minimum"), schema.get("maximum")
        if _is(least, "number") and value < least:
            return f"{place} is below {least}"
        if _is(most, "number") and value > most:
            return f"{place} is above {most}"
    return None


def _list(schema: JsonObject, name: str) -> list[Any]:
    """A keyword's list; none where it is something else, which is for the server to refuse."""
    value = schema.get(name)
    return value if isinstance(value, list) else []


def _is(value: object, kind: object) -> bool:
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if isinstance(value, float):
        # 1.0 is an integer to JSON Schema (Validation, 6.1.1).
        return kind == "number" or bool(kind == "integer" and value.is_integer())
    kinds = {str: ("string",), int: ("integer", "number"), dict: ("object",), list: ("array",), type(None): ("null",)}
    return bool(kind in kinds.get(type(value), ()))


def _same(one: object, other: object) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _name(value: object) -> str:
    for kind in ("boolean", "string", "integer", "number", "object", "array"):
        if _is(value, kind):
            return kind
    return "null"
