"""Python types as JSON Schemas, and JSON values as instances of them.

What there is to say about dataclasses, TypedDicts and plain annotations is said here. A pydantic model and a msgspec struct say it
themselves: neither library is imported unless the class is theirs, and then it is there already.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import sys
import types
import typing
import uuid
from collections import abc
from typing import Any, Literal, Union

from unspool.api.schema import strict
from unspool.api.validation import mismatch

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
# What JSON has as text: the format's name, and how the text is read.
_FORMATS: dict[type, tuple[str, Any]] = {
    datetime.datetime: ("date-time", datetime.datetime.fromisoformat),
    datetime.date: ("date", datetime.date.fromisoformat),
    datetime.time: ("time", datetime.time.fromisoformat),
    uuid.UUID: ("uuid", uuid.UUID),
    decimal.Decimal: ("", decimal.Decimal),
}
_LISTS = (list, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection, abc.Set)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)


class Mismatch(ValueError):
    """A value is not what a schema describes. The message says where and why."""


def schema_of(source: object) -> dict[str, Any]:
    """Return the JSON Schema of a class, or of any annotation; a dict is one already.

    It is one that OpenAI's strict mode takes, if there is such a one: every property is required, and no others are allowed. Raises
    TypeError for what has no form in JSON.
    """
    if isinstance(source, dict):
        return source
    if hasattr(source, "model_json_schema"):
        return strict(source.model_json_schema())
    if hasattr(source, "__struct_fields__"):
        return strict(sys.modules["msgspec"].json.schema(source))
    definitions: dict[str, Any] = {}
    schema = _of(source, definitions)
    return strict({**schema, "$defs": definitions} if definitions else schema)


def name_of(source: object) -> str | None:
    """What to call the schema of a class; None for a dict, whose title may say."""
    name = getattr(source, "__name__", "")
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)[:64] or None


def parameters_of(function: Any) -> tuple[dict[str, Any], str]:
    """Return the JSON Schema of a function's parameters, and what its docstring says before it comes to them.

    A parameter is described by ``Annotated[type, "…"]``, or under "Args:" in the docstring.
    """
    text, described = _docstring(inspect.getdoc(function) or "")
    hints = typing.get_type_hints(function, include_extras=True)
    properties: dict[str, Any] = {}
    required = []
    definitions: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(f"{function.__name__}: a model passes arguments by name, and cannot pass {parameter}")
        properties[name] = _of(hints.get(name, Any), definitions)
        if name in described:
            properties[name].setdefault("description", described[name])
        if parameter.default is parameter.empty:
            required.append(name)
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if definitions:
        schema["$defs"] = definitions
    return {**schema, "additionalProperties": False}, text


def arguments_of(function: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return a model's arguments as what the function's annotations say. Raises Mismatch for wrong ones, missing ones and those that it does not take."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    for name in values:
        if name not in parameters:
            raise Mismatch(
                f"{function.__name__} takes no argument {name!r}; it takes {', '.join(parameters) or 'none'}"
            )
    for name, parameter in parameters.items():
        if name not in values and parameter.default is parameter.empty:
            raise Mismatch(f"{function.__name__} needs the argument {name!r}")
    return {name: _build(hints.get(name, Any), value, name) for name, value in values.items()}


def built(source: object, value: object) -> Any:
    """Return a JSON value as an instance of what ``source`` describes: a class, or a dict that is a JSON Schema.

    Raises Mismatch.
    """
    if isinstance(source, dict):
        wrong = mismatch(source, value)
        if wrong is not None:
            raise Mismatch(wrong)
        return value
    if hasattr(source, "model_validate"):
        try:
            return source.model_validate(value)
        except ValueError as error:  # as pydantic's own ValidationError is
            raise Mismatch(_one_line(error)) from error
    if hasattr(source, "__struct_fields__"):
        msgspec = sys.modules["msgspec"]
        try:
            return msgspec.convert(value, source)
        except msgspec.ValidationError as error:
            raise Mismatch(_one_line(error)) from error
    return _build(source, value, "the answer")


def _one_line(error: object) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else text[:499] + "…"


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says, and what it says under "Args:" of each parameter."""
    lines = text.splitlines()
    heads = [at for at, line in enumerate(lines) if line.strip() in ("Args:", "Arguments:", "Parameters:")]
    if not heads:
        return text.strip(), {}
    described: dict[str, str] = {}
    name = ""
    for line in lines[heads[0] + 1 :]:
        if line and not line[0].isspace():
            break
        head, colon, rest = line.strip().partition(":")
        word = head.partition(" ")[0]
        if colon and word.isidentifier() and (head == word or head.endswith(")")):
            name = word
            described[name] = rest.strip()
        elif name:
            described[name] = f"{described[name]} {line.strip()}".strip()
    return "\n".join(lines[: heads[0]]).strip(), described


# Types to schemas.


def _of(source: object, definitions: dict[str, Any]) -> dict[str, Any]:
    if source is Any or source is object:
        return {}
    if source is None:
        return {"type": "null"}
    origin, arguments = typing.get_origin(source), typing.get_args(source)
    if origin is typing.Annotated:
        schema = _of(arguments[0], definitions)
        description = next((one for one in arguments[1:] if isinstance(one, str)), None)
        return {**schema, "description": description} if description else schema
    if origin in (typing.Required, typing.NotRequired):
        return _of(arguments[0], definitions)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(one, definitions) for one in arguments]}
    plain = origin or source
    if plain is tuple and arguments and arguments[-1] is not Ellipsis:
        items = [_of(one, definitions) for one in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if plain is tuple or plain in _LISTS:
        return {"type": "array", "items": _of(arguments[0], definitions) if arguments else {}}
    if plain in _MAPPINGS:
        return {"type": "object", "additionalProperties": _of(arguments[1], definitions) if arguments else {}}
    if plain in _PLAIN:
        return {"type": _PLAIN[plain]}
    if plain in _FORMATS:
        format = _FORMATS[plain][0]
        return {"type": "string", "format": format} if format else {"type": "string"}
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return {"enum": [one.value for one in plain]}
    if hasattr(plain, "model_json_schema") or hasattr(plain, "__struct_fields__"):
        schema = schema_of(plain)
        definitions.update(schema.pop("$defs", {}))
        return schema
    if dataclasses.is_dataclass(plain) or typing.is_typeddict(plain):
        return _defined(plain, definitions)
    raise TypeError(f"JSON has no form for {getattr(source, '__name__', source)}")


def _defined(source: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The reference to the schema of a class, which is put among the definitions: it may contain itself."""
    name = source.__name__
    if name not in definitions:
        definitions[name] = {}
        properties: dict[str, Any] = {}
        for field, type, description, _ in _fields(source):
            properties[field] = _of(type, definitions)
            if description:
                properties[field]["description"] = description
        schema: dict[str, Any] = {"type": "object", "title": name, "properties": properties}
        doc = source.__doc__ or ""
        # The docstring that a dataclass without one is given is its signature.
        if doc and not doc.startswith(f"{name}("):
            schema["description"] = inspect.cleandoc(doc)
        definitions[name] = schema
    return {"$ref": f"#/$defs/{name}"}


def _fields(source: Any) -> list[tuple[str, Any, str | None, bool]]:
    """Of each field its name, type and description, and whether it may be left out."""
    hints = typing.get_type_hints(source, include_extras=True)
    if typing.is_typeddict(source):
        return [(name, type, None, name in source.__optional_keys__) for name, type in hints.items()]
    fields = [one for one in dataclasses.fields(source) if one.init]
    missing = dataclasses.MISSING
    return [
        (
            one.name,
            hints[one.name],
            one.metadata.get("description"),
            one.default is not missing or one.default_factory is not missing,
        )
        for one in fields
    ]


# Values to instances.


def _build(source: object, value: object, place: str) -> Any:
    if source is Any or source is object:
        return value
    origin, arguments = typing.get_origin(source), typing.get_args(source)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return _build(arguments[0], value, place)
    if origin is Literal:
        if any(type(one) is type(value) and one == value for one in arguments):
            return value
        raise Mismatch(f"{place} is {value!r}, and not one of {', '.join(map(repr, arguments))}")
    if origin in (Union, types.UnionType):
        return _build_any(arguments, value, place)
    plain = origin or source
    if plain is tuple or plain in _LISTS:
        return _build_list(plain, arguments, value, place)
    if plain in _MAPPINGS:
        given = _expect(dict, value, place)
        inner = arguments[1] if arguments else Any
        return {name: _build(inner, one, f"{place}.{name}") for name, one in given.items()}
    if hasattr(plain, "model_validate") or hasattr(plain, "__struct_fields__"):
        return built(plain, value)
    if dataclasses.is_dataclass(plain) or typing.is_typeddict(plain):
        return _build_object(plain, value, place)
    if plain is float and type(value) is int:
        return float(value)
    if plain is int and type(value) is float and value.is_integer():
        return int(value)
    if plain in _FORMATS or (isinstance(plain, type) and issubclass(plain, enum.Enum)):
        try:
            return _FORMATS[plain][1](value) if plain in _FORMATS else plain(value)
        except (ValueError, TypeError, decimal.InvalidOperation) as error:
            raise Mismatch(f"{place} is {value!r}, which is no {plain.__name__}") from error
    return _expect(type(None) if plain is None else plain, value, place)


def _expect(kind: object, value: object, place: str) -> Any:
    # Not isinstance: True is no number.
    if type(value) is not kind:
        raise Mismatch(f"{place} is {value!r:.80}, and not {_called(kind)}")
    return value


def _called(kind: Any) -> str:
    return {dict: "an object", list: "a list", type(None): "null"}.get(kind) or f"a {_PLAIN.get(kind, kind.__name__)}"


def _build_any(kinds: tuple[Any, ...], value: object, place: str) -> Any:
    why = []
    for kind in kinds:
        try:
            return _build(kind, value, place)
        except Mismatch as error:
            why.append(error)
    # That of the only kind that is not null says most.
    said = [one for kind, one in zip(kinds, why, strict=True) if kind is not type(None)]
    raise said[0] if len(said) == 1 else Mismatch("; ".join(map(str, said)))


def _build_list(kind: object, arguments: tuple[Any, ...], value: object, place: str) -> Any:
    given = _expect(list, value, place)
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(given) != len(arguments):
            raise Mismatch(f"{place} has {len(given)} items, and not {len(arguments)}")
        inner = list(arguments)
    else:
        inner = [arguments[0] if arguments else Any] * len(given)
    items = [_build(kind_, one, f"{place}[{at}]") for at, (kind_, one) in enumerate(zip(inner, given, strict=True))]
    return kind(items) if kind in (tuple, set, frozenset) else set(items) if kind is abc.Set else items


def _build_object(source: Any, value: Any, place: str) -> Any:
    given = _expect(dict, value, place)
    fields = _fields(source)
    unknown = given.keys() - {name for name, *_ in fields}
    if unknown:
        raise Mismatch(f"{place} has {', '.join(sorted(map(repr, unknown)))}, which the schema does not allow")
    made = {}
    for name, type, _, optional in fields:
        if name in given:
            made[name] = _build(type, given[name], f"{place}.{name}" if place != "the answer" else name)
        elif not optional:
            raise Mismatch(f"{place} has no {name!r}")
    if typing.is_typeddict(source):
        return made
    try:
        return source(**made)
    except ValueError as error:  # what a __post_init__ may find wrong
        raise Mismatch(f"{place}: {error}") from error
