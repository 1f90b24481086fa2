"""Answers in JSON: valid against the schema asked for, in whatever way it says it."""

import json

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.sim.endpoints import schemas

from . import asking
from .asking import CHAT, RESPONSES, said

CHECKER = jsonschema.Draft202012Validator.FORMAT_CHECKER

KINDS = [
    {"type": "string", "minLength": 30, "maxLength": 31},
    {"type": "string", "maxLength": 2},
    {"type": "string", "pattern": r"^(\+\d{1,3} )?[0-9]{3}-[^a-z]\w+(x|yz)$"},
    {"type": "string", "pattern": "a{3}.b*?"},
    {"type": "integer", "multipleOf": 7, "minimum": 15},
    {"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 3, "exclusiveMaximum": 4},
    {"type": "number", "minimum": -3, "exclusiveMaximum": -2.5},
    {"type": "integer", "maximum": -5},
    {"type": ["null", "integer"]},
    {"enum": ["a", 1, None]},
    {"type": "string", "enum": [1, "b"]},
    {"const": {"a": [1]}},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
    {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    {"allOf": [{"properties": {"a": {"type": "integer"}}}, {"required": ["a", "b"]}], "type": "object"},
    {"oneOf": [{"type": "boolean"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"type": "array", "maxItems": 0}}},
    {"$defs": {"a/b": {"type": "null"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a~1b"}}},
    asking.PEOPLE,
]


@pytest.mark.parametrize("schema", [*KINDS, *({"type": "string", "format": name} for name in schemas._FORMATS)])
def test_a_value_is_valid_against_its_schema(schema):
    schemas.check(schema, strict=False)
    for seed in range(25):
        jsonschema.validate(schemas.instance(schema, str(seed)), schema, jsonschema.Draft202012Validator,
                            format_checker=CHECKER)  # fmt: skip


LEAVES = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", "null"])},
    optional={
        "minimum": st.integers(-9, 9),
        "maximum": st.integers(20, 29),
        "multipleOf": st.integers(1, 9),
        "minLength": st.integers(0, 40),
        "maxLength": st.integers(40, 60),
        "format": st.just("unknown to all"),
    },
)


def objects_and_arrays(inner):
    names = st.sampled_from("abc")
    arrays = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={"minItems": st.integers(0, 4), "maxItems": st.integers(4, 6)},
    )
    objects = st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
        optional={"required": st.lists(names, unique=True), "minProperties": st.integers(0, 3)},
    )
    return arrays | objects | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=3)})


@given(st.recursive(LEAVES, objects_and_arrays, max_leaves=8), st.text(max_size=3))
@settings(max_examples=rounds(120), deadline=None)
def test_a_value_is_valid_against_any_schema(schema, seed):
    schemas.check(schema, strict=False)
    jsonschema.validate(schemas.instance(schema, seed), schema)


# Keywords of schemas, with anything in them.
KEYWORDS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "enum",
        "$ref",
        "anyOf",
        "allOf",
        "required",
        "minItems",
        "minLength",
        "pattern",
        "additionalProperties",
        "minimum",
        "maximum",
        "multipleOf",
        "const",
        "maxItems",
        "$defs",
        "a",
    ]
)
JSON = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["#", "array", "(", "a"])
)


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4)


# What fits no definition of a schema, or no value.
@given(st.recursive(JSON, nested, max_leaves=12))
@settings(max_examples=rounds(300), deadline=None)
def test_no_json_breaks_the_checking_of_a_schema(schema):
    try:
        schemas.check(schema, strict=False)
        schemas.instance(schema, "")
    except schemas.SchemaError:
        pass


def whole_text(client, path, **more):
    if path == CHAT:
        return client.post(path, **{"model": "m"} | more)["choices"][0]["message"]["content"]
    return client.post(path, **{"model": "m"} | more)["output"][0]["content"][0]["text"]


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_an_answer_in_a_schema_is_valid_and_streams_in_pieces(client, path):
    ask = asking.of(path)["schema"]
    text = whole_text(client, path, **ask)
    jsonschema.validate(json.loads(text), asking.PEOPLE, format_checker=CHECKER)
    if path == CHAT:
        deltas = [chunk["choices"][0]["delta"].get("content") or "" for chunk in client.chunks(path, **ask)]
    else:
        events = [json.loads(event.data) for event in client.events(path, **ask)]
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(deltas) == text
    assert len(deltas) > 10


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_an_answer_in_json_is_an_object(client, path):
    assert isinstance(json.loads(whole_text(client, path, **asking.of(path)["json"])), dict)


def test_json_has_to_be_spoken_of(client):
    ask = {"model": "m", "messages": said("Hello"), "response_format": {"type": "json_object"}}
    status, error = client.error("POST", CHAT, ask)
    assert (status, error["param"]) == (400, "messages")
    assert "'json'" in error["message"]


@pytest.mark.parametrize(
    ("schema", "strict", "words"),
    [
        ({"type": "object", "properties": {"a": {}}}, True, "'additionalProperties' is required"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False},
            True,
            "Missing 'a'",
        ),
        ({"type": "array", "items": {"type": "string"}}, True, "'type: \"object\"'"),
        ({"type": "object", "additionalProperties": False, "allOf": [{}]}, True, "'allOf' is not permitted"),
        ({"type": "thing"}, False, "'thing' is not valid"),
        ({"$ref": "#/$defs/none"}, False, "cannot be resolved"),
        ({"$ref": "https://example.com/"}, False, "reference"),
        ({"$ref": "#"}, False, "are circular"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, False, "finite value is valid"),
        ({"type": "array", "minItems": 10**9}, False, "'minItems'"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, False, "no number is between"),
        ({"type": "string", "pattern": "("}, False, "not a regular expression"),
        ({"type": "string", "pattern": "(?!)"}, False, "cannot generate a text"),
        ({"properties": []}, False, "'properties'"),
        ({"enum": []}, False, "'enum'"),
    ],
)
def test_an_invalid_schema_is_refused(client, schema, strict, words):
    inner = {"name": "n", "schema": schema, "strict": strict}
    format = {"type": "json_schema", "json_schema": inner}
    status, error = client.error("POST", CHAT, {"model": "m", "messages": said("x"), "response_format": format})
    assert (status, error["param"]) == (400, "response_format")
    assert error["message"].startswith("Invalid schema for response_format 'n': In context=(")
    assert words in error["message"]
    text = {"format": {"type": "json_schema", **inner}}
    status, error = client.error("POST", RESPONSES, {"model": "m", "input": "x", "text": text})
    assert (status, error["param"], error["code"]) == (400, "text.format.schema", "invalid_json_schema")


@pytest.mark.parametrize(
    "bounds", [(-(2**53) + 1, 2**53 - 1), (-(2**31), 2**31 - 1), (0, 2**53), (-(2**53), -5), (10, 2**40)]
)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_number_with_bounds_as_wide_as_its_type_is_an_ordinary_one(bounds, kind):
    low, high = bounds
    values = [schemas.instance({"type": kind, "minimum": low, "maximum": high}, str(seed)) for seed in range(50)]
    assert all(low <= value <= high and -200 <= value <= 200 for value in values)
    assert len(set(values)) > 2
