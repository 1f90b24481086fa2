"""JSON schemas: what OpenAI refuses in one ("Structured outputs", supported schemas), and a value that is valid against one.

The value is drawn from a seed, so the same request gets the same one. What has no bearing on a value is not read.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

from unspool.sim.endpoints import patterns
from unspool.sim.frames import JSONObject

# A range of numbers beyond this is drawn from near zero.
_WIDE = 1_000_000
# Deeper than this only what a schema requires is made, and arrays are as short as they may be: so a recursive schema ends.
_DEPTH = 3
_DEEPEST = 60
# What a schema may ask for at least, in items, characters and values in all: an answer is to end.
_LONGEST_ARRAY = 1_000
_LONGEST_TEXT = 20_000
_MOST_VALUES = 20_000

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_NOT_IN_STRICT = (
    "allOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "unevaluatedProperties",
    "propertyNames",
    "contains",
    "uniqueItems",
)

_WORDS = ("Ada", "Grace", "Barbara", "Edsger", "Alan", "Margaret", "Donald", "Frances", "Niklaus", "Radia")

# RFC 3339, 5321, 1123, 4291, 4122, 3986: one of each, told apart by a number.
_FORMATS: dict[str, Callable[[int], str]] = {
    "date-time": lambda n: f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}T{n % 24:02}:{n % 60:02}:00Z",
    "date": lambda n: f"2026-{n % 12 + 1:02}-{n % 28 + 1:02}",
    "time": lambda n: f"{n % 24:02}:{n % 60:02}:00Z",
    "duration": lambda n: f"P{n % 9 + 1}D",
    "email": lambda n: f"{_WORDS[n % len(_WORDS)].lower()}{n}@example.com",
    "hostname": lambda n: f"host-{n}.example.com",
    "ipv4": lambda n: f"192.0.2.{n % 254 + 1}",
    "ipv6": lambda n: f"2001:db8::{n % 65_535 + 1:x}",
    "uuid": lambda n: f"{n:08x}-1c5a-4f3e-8b7d-0123456789ab",
    "uri": lambda n: f"https://example.com/{n}",
}


class SchemaError(ValueError):
    """A schema is invalid; ``path`` has the keys from its root to the place."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path

    def __str__(self) -> str:
        path = ", ".join(f"'{step}'" for step in self.path)
        return f"In context=({path}{',' if len(self.path) == 1 else ''}), {self.args[0]}"


def check(schema: Any, *, strict: bool) -> None:
    """Raise SchemaError if this is not a schema or, with ``strict``, not one that OpenAI accepts in strict mode."""
    for node, path in _nodes(schema, ()):
        _check_shape(node, path)
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            _resolve(schema, node["$ref"], path)
        if strict and isinstance(node, dict):
            _check_strict(node, path)
    if strict and "$ref" not in schema and (schema.get("type") != "object" or "anyOf" in schema):
        raise SchemaError("schema must be a JSON Schema of 'type: \"object\"' without 'anyOf' at its root.")


def instance(schema: object, seed: str) -> Any:
    """A value valid against a schema that has been checked. Raises SchemaError where none can be made."""
    try:
        return _Maker(schema, seed).value(schema, 0)
    except RecursionError:
        raise SchemaError("no finite value is valid against it.") from None


def _nodes(schema: object, path: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Each schema within a schema, itself first."""
    if len(path) > _DEEPEST:
        raise SchemaError("it is nested too deeply.", path[:3])
    yield schema, path
    if not isinstance(schema, dict):
        return
    for key in ("properties", "$defs", "definitions", "patternProperties"):
        if isinstance(schema.get(key), dict):
            for name, inner in schema[key].items():
                yield from _nodes(inner, (*path, key, name))
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(schema.get(key), list):
            for position, inner in enumerate(schema[key]):
                yield from _nodes(inner, (*path, key, str(position)))
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _nodes(schema[key], (*path, key))


def _check_shape(node: object, path: tuple[str, ...]) -> None:
    if isinstance(node, bool):
        return
    if not isinstance(node, dict):
        raise SchemaError(f"{node!r:.80} is not of type 'object', 'boolean'.", path)
    types = node.get("type", [])
    for type in types if isinstance(types, list) else [types]:
        if type not in _TYPES:
            raise SchemaError(f"{type!r:.80} is not valid under any of the given schemas.", path)
    for key, kind in (
        ("properties", dict),
        ("$defs", dict),
        ("definitions", dict),
        ("patternProperties", dict),
        ("required", list),
        ("enum", list),
        ("anyOf", list),
        ("oneOf", list),
        ("allOf", list),
        ("prefixItems", list),
        ("pattern", str),
        ("format", str),
        ("$ref", str),
    ):
        if key in node and not isinstance(node[key], kind):
            raise SchemaError(f"'{key}' is not of the type that it has in JSON Schema.", path)
    for key in ("enum", "anyOf", "oneOf", "allOf"):
        if node.get(key) == []:
            raise SchemaError(f"'{key}' must have at least one entry.", path)
    if not all(isinstance(name, str) for name in node.get("required", [])):
        raise SchemaError("'required' is not an array of strings.", path)
    if isinstance(node.get("items"), list):
        raise SchemaError("'items' must be a schema; an array of them is 'prefixItems'.", path)
    for key in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
        if key in node and (not _is_number(node[key]) or node[key] < 0 or node[key] != int(node[key])):
            raise SchemaError(f"'{key}' is not a number of things.", path)
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"):
        if key in node and not _is_number(node[key]):
            raise SchemaError(f"'{key}' is not a number.", path)
    if node.get("multipleOf", 1) <= 0:
        raise SchemaError("'multipleOf' must be above zero.", path)
    if isinstance(node.get("pattern"), str):
        try:
            re.compile(node["pattern"])
        except (re.error, RecursionError, OverflowError):
            raise SchemaError(f"'pattern' is not a regular expression: {node['pattern']!r:.80}.", path) from None


def _check_strict(node: JSONObject, path: tuple[str, ...]) -> None:
    for key in _NOT_IN_STRICT:
        if key in node:
            raise SchemaError(f"'{key}' is not permitted.", path)
    types = node.get("type")
    if types == "object" or (isinstance(types, list) and "object" in types) or "properties" in node:
        if node.get("additionalProperties") is not False:
            raise SchemaError("'additionalProperties' is required to be supplied and to be false.", path)
        required = node.get("required", [])
        for name in node.get("properties", {}):
            if name not in required:
                raise SchemaError(
                    "'required' is required to be supplied and to be an array including every key in properties. "
                    f"Missing '{name}'.",
                    path,
                )
    elif "type" not in node and not any(key in node for key in ("$ref", "anyOf", "enum", "const")) and path:
        raise SchemaError("schema must have a 'type' key.", path)
    if types == "array" and "items" not in node:
        raise SchemaError("array schema missing items.", path)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _resolve(root: object, reference: str, path: tuple[str, ...] = ()) -> Any:
    """Resolve a reference within the schema (RFC 6901)."""
    node = root
    if not reference.startswith("#"):
        raise SchemaError(f"reference can only point to definitions in the schema, not to {reference!r:.80}.", path)
    for step in reference[1:].split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and step.isdecimal() and int(step) < len(node):
            node = node[int(step)]
        elif isinstance(node, dict) and step in node:
            node = node[step]
        else:
            raise SchemaError(f"reference {reference!r:.80} cannot be resolved.", path)
    _check_shape(node, path)
    return node


class _Maker:
    """Makes one value, with every choice drawn from the seed."""

    def __init__(self, root: object, seed: str) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._values = 0

    def value(self, schema: Any, depth: int) -> Any:
        self._values += 1
        if self._values > _MOST_VALUES:
            raise SchemaError(f"a value for it would have more than {_MOST_VALUES} parts.")
        if depth > _DEEPEST:
            raise SchemaError("no finite value is valid against it.")
        if isinstance(schema, bool):
            if not schema:
                raise SchemaError("no value is valid against 'false'.")
            return self._text({})
        schema = self._merged(schema, depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            fitting = [each for each in schema["enum"] if "type" not in schema or _has_type(each, schema["type"])]
            if not fitting:
                raise SchemaError("no entry of 'enum' has its 'type'.")
            return self._random.choice(fitting)
        match self._type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._text(schema)
            case "boolean":
                return self._random.random() < 0.5
            case "null":
                return None
            case kind:
                return self._number(schema, whole=kind == "integer")

    def _merged(self, schema: JSONObject, depth: int) -> JSONObject:
        """The schema without references and alternatives: these are followed, and one of each chosen."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                target = _resolve(self._root, schema["$ref"])
                rest = {key: inner for key, inner in schema.items() if key != "$ref"}
                schema = _both(rest, target)
            elif "allOf" in schema:
                parts, schema = schema["allOf"], {key: inner for key, inner in schema.items() if key != "allOf"}
                for part in parts:
                    schema = _both(schema, part)
            elif alternatives := [key for key in ("anyOf", "oneOf") if key in schema]:
                rest = {key: inner for key, inner in schema.items() if key != alternatives[0]}
                schema = _both(rest, self._one_of(schema[alternatives[0]], depth))
            else:
                return schema
        raise SchemaError("its references are circular.")

    def _one_of(self, options: list[Any], depth: int) -> Any:
        options = [option for option in options if option is not False]
        if not options:
            raise SchemaError("no value is valid against 'false'.")
        if depth <= _DEPTH:
            return self._random.choice(options)
        # Deep down the one that ends soonest.
        return min(options, key=lambda option: self._height(option, 6))

    def _height(self, schema: object, left: int) -> int:
        """The number of levels of the smallest value, counted to at most ``left``."""
        if not isinstance(schema, dict) or left == 0 or any(key in schema for key in ("const", "enum")):
            return 0 if left else 9
        if "$ref" in schema:
            return self._height(_resolve(self._root, schema["$ref"]), left - 1)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return min(self._height(option, left - 1) for option in schema[key])
        inner = [
            schema["properties"][name] for name in schema.get("required", []) if name in schema.get("properties", {})
        ]
        if schema.get("minItems", 0) and "items" in schema:
            inner.append(schema["items"])
        return 1 + max((self._height(each, left - 1) for each in inner), default=0)

    def _type(self, schema: JSONObject) -> str:
        types = schema.get("type")
        if isinstance(types, list):
            # A value that may be null is shown as what else it may be.
            types = next((type for type in types if type != "null"), "null")
        if isinstance(types, str):
            return types
        for keys, type in (
            (("properties", "required", "additionalProperties", "minProperties"), "object"),
            (("items", "prefixItems", "minItems"), "array"),
            (("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
        ):
            if any(key in schema for key in keys):
                return type
        return "string"

    def _object(self, schema: JSONObject, depth: int) -> JSONObject:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        made: JSONObject = {}
        more = schema.get("additionalProperties", True)
        for name in [*properties, *(name for name in required if name not in properties)]:
            if depth < _DEPTH or name in required:
                made[name] = self.value(properties.get(name, more), depth + 1)
        least = _capped(schema.get("minProperties", 0), _LONGEST_ARRAY, "minProperties")
        # A map, which names no properties, gets two entries to show for it.
        if not properties and isinstance(more, dict) and depth <= _DEPTH:
            least = max(least, min(2, int(schema.get("maxProperties", 2))))
        for name in properties:
            if len(made) < least and name not in made:
                made[name] = self.value(properties[name], depth + 1)
        if len(made) < least and more is False:
            raise SchemaError("it has fewer properties than 'minProperties'.")
        number = 0
        while len(made) < least:
            number += 1
            if f"key_{number}" not in made:
                made[f"key_{number}"] = self.value(more, depth + 1)
        for name in [name for name in made if name not in required]:
            if len(made) > schema.get("maxProperties", len(made)):
                del made[name]
        return made

    def _array(self, schema: JSONObject, depth: int) -> list[Any]:
        least = _capped(schema.get("minItems", 0), _LONGEST_ARRAY, "minItems")
        most = int(schema.get("maxItems", max(least, 3)))
        made = [
            self.value(item, depth + 1) for item in schema.get("prefixItems", [])[: int(schema.get("maxItems", 99))]
        ]
        length = least if depth > _DEPTH else max(least, min(most, self._random.randint(1, 3)))
        items = schema.get("items", True)
        if items is False:
            return made
        # Different items may take several tries; where there are not enough, as many as there are.
        for _ in range(20 * length):
            if len(made) >= length:
                break
            item = self.value(items, depth + 1)
            if not schema.get("uniqueItems") or item not in made:
                made.append(item)
        return made

    def _text(self, schema: JSONObject) -> str:
        least = _capped(schema.get("minLength", 0), _LONGEST_TEXT, "minLength")
        most = schema.get("maxLength")
        number = self._random.randrange(1, 1_000)
        if "pattern" in schema:
            return _matching(schema["pattern"], self._random)
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]](number)
        text = self._random.choice(_WORDS)
        while len(text) < least:
            text += " " + self._random.choice(_WORDS)
        return text if most is None else text[: max(int(most), least)]

    def _number(self, schema: JSONObject, *, whole: bool) -> int | float:
        step = schema.get("multipleOf", 1 if whole else None)
        low, high = schema.get("minimum"), schema.get("maximum")
        over, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        if over is not None and (low is None or over >= low):
            low = over
        else:
            over = None
        if under is not None and (high is None or under <= high):
            high = under
        else:
            under = None
        if low is None:
            low = 0 if high is None or high >= 0 else high - 100
        if high is None:
            high = low + 100
        if high - low > _WIDE:
            # Bounds such as those of a 53-bit integer bound the type, and not the value that is meant.
            width = 100 * max(step or 1, 1)
            low, high = (max(low, 0), min(high, max(low, 0) + width)) if high >= 0 else (max(low, high - width), high)
        if low > high:
            raise SchemaError(f"no number is between {low} and {high}.")
        if step is None:
            if over is None and under is None and self._random.random() < 0.5 and int(low) == low:
                return low
            number = low + (high - low) * self._random.choice((0.25, 0.5, 0.75))
            rounded = round(number, 2)
            return rounded if low < rounded < high else number
        if whole and step != int(step):
            step = 1 if schema.get("multipleOf") is None else step
        first, last = -(-low // step), high // step
        if over is not None and first * step == low:
            first += 1
        if under is not None and last * step == high:
            last -= 1
        if first > last:
            raise SchemaError(f"no multiple of {step} is between {low} and {high}.")
        number = self._random.randint(int(first), int(min(last, first + 1_000))) * step
        return int(number) if number == int(number) else number


def _both(first: JSONObject, second: Any) -> JSONObject:
    """One schema for two that hold at once, as far as their keywords can be joined."""
    if second is True:
        return first
    if second is False:
        raise SchemaError("no value is valid against 'false'.")
    joined = {**second, **first}
    if "properties" in first and "properties" in second:
        joined["properties"] = {**second["properties"], **first["properties"]}
    if "required" in first and "required" in second:
        joined["required"] = list(dict.fromkeys([*first["required"], *second["required"]]))
    if "allOf" in first and "allOf" in second:
        joined["allOf"] = [*first["allOf"], *second["allOf"]]
    for keys, choose in (
        (("minimum", "exclusiveMinimum", "minItems", "minLength", "minProperties"), max),
        (("maximum", "exclusiveMaximum", "maxItems", "maxLength", "maxProperties"), min),
    ):
        for key in keys:
            if key in first and key in second:
                joined[key] = choose(first[key], second[key])
    return joined


def _capped(value: float, most: int, key: str) -> int:
    if value > most:
        raise SchemaError(f"'{key}' is {value:.0f}, and the simulator generates at most {most}.")
    return int(value)


def _has_type(value: Any, types: Any) -> bool:
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": int | float,
    }
    return any(
        isinstance(value, kinds[type]) and (type in ("boolean", "null") or not isinstance(value, bool))
        for type in (types if isinstance(types, list) else [types])
    )


def _matching(pattern: str, random: random.Random) -> str:
    """A text that a regular expression matches. Raises SchemaError where none is made here."""
    text = patterns.example(pattern, random)
    if text is None or len(text) > _LONGEST_TEXT or not re.search(pattern, text):
        raise SchemaError(f"the simulator cannot generate a text for the pattern {pattern!r:.80}.")
    return text
