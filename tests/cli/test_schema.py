"""`--schema`: the short form, the object as it grows, and the truth about what came."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from support.wire import end, head, piece, refusal, start, stream
from unspool.api.validation import mismatch
from unspool.cli.prompt.material import read_schema, several, short_schema

SCHEMA = (
    '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["name"]}'
)
GOOD = ('{"name": "A', 'da", "age"', ": 36}")


@pytest.fixture
def told(unspool, serve):
    """Asks a server that says these texts for an object, and returns what the command did."""

    def ask(*arguments: str, texts: tuple[str, ...] = GOOD, reason: str = "stop", api: str = "chat", answer=None):
        server = serve(answer or stream(api, *texts, reason=reason))
        done = unspool("--base-url", server.url, "--api", api, "-m", "m", *arguments, "Who?")
        return done, server.requests[0].json

    return ask


def lines(done) -> list[dict]:
    return [json.loads(line) for line in done.stdout.splitlines()]


# The short form


def test_the_short_form_of_llm_stands_for_a_strict_schema():
    assert short_schema("name, age int, height float, alive bool, bio: one sentence, tags str[]") == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer"},
            "height": {"type": "number"},
            "alive": {"type": "boolean"},
            "bio": {"type": "string", "description": "one sentence"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "age", "height", "alive", "bio", "tags"],
        "additionalProperties": False,
    }


def test_on_lines_of_their_own_purposes_may_have_commas():
    fields = short_schema("name: first, then last\nage int: in years, whole\n")["properties"]
    assert fields["name"]["description"] == "first, then last"
    assert fields["age"] == {"type": "integer", "description": "in years, whole"}


@pytest.mark.parametrize("given", ["age integr", "a b c", "", " , ", "name, name", "na!me", "bio: one, no more"])
def test_what_is_no_field_is_refused(given):
    with pytest.raises(ValueError, match="--schema"):
        short_schema(given)


@settings(max_examples=rounds(200), deadline=None, derandomize=True)
@given(st.text(alphabet='ab int[]:,\n{}"', max_size=20))
def test_whatever_is_typed_is_a_schema_or_refused_in_words(given):
    try:
        schema = read_schema(given)
    except ValueError as error:
        schema, words = None, str(error)
    assert isinstance(schema, dict) or words.startswith("--schema")


def test_several_are_the_items_of_an_object_and_can_still_be_referred_to():
    inner = {"$ref": "#/$defs/dog", "$defs": {"dog": {"type": "string"}}}
    schema = several(inner)
    assert schema["properties"]["items"]["items"] == {"$ref": "#/$defs/dog"}
    assert mismatch(schema, {"items": ["Rex"]}) is None
    assert mismatch(schema, {"items": [1]}) == "item 1 of 'items' of the answer is integer and not string"


# In the request


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_schema_comes_from_a_file_or_the_command_line_or_the_short_form(told, tmp_path, api):
    path = tmp_path / "dog.json"
    path.write_text(SCHEMA)
    for one in (SCHEMA, str(path), "name"):
        _, body = told("--schema", one, api=api)
        described = body["text"]["format"] if api == "responses" else body["response_format"]["json_schema"]
        expected = short_schema("name") if one == "name" else json.loads(SCHEMA)
        assert described["schema"] == expected
        assert described.get("strict") == (True if one == "name" else None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--schema", "missing.json"], "missing.json cannot be read"),
        (["--schema", "{"], "--schema is not JSON"),
        (["--schema", "age integr"], "is not a field"),
        (["--schema", "name", "--schema-multi", "name"], "not both"),
        (["--schema", "name", "--api", "completions"], "the completions API does not support schema; use --api chat"),
    ],
)
def test_what_is_no_schema_is_told_before_anything_is_asked(unspool, serve, arguments, words):
    server = serve(stream("chat", "x"))
    done = unspool("--base-url", server.url, "-m", "m", *arguments, "Who?")
    assert (done.returncode, done.stdout) == (2, b"")
    assert words in done.stderr.decode()
    assert server.requests == []


# The answer


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_the_text_is_the_exact_json(told, api):
    done, _ = told("--schema", SCHEMA, api=api)
    assert (done.returncode, done.stdout, done.stderr) == (0, "".join(GOOD).encode() + b"\n", b"")


def test_json_is_not_rendered_on_a_terminal_unless_asked(unspool, serve):
    server = serve(stream("chat", '{"name": "*Ada* _x_"}'))
    shown = unspool.on_terminal("--base-url", server.url, "--api", "chat", "-m", "m", "--schema", "name", "Who?")
    assert shown.lines[0] == '{"name": "*Ada* _x_"}'


def test_the_object_is_told_as_it_grows_and_when_it_is_whole(told):
    done, _ = told("--schema", SCHEMA, "--json")
    assert done.returncode == 0
    told_lines = lines(done)
    partials = [line["object"] for line in told_lines if line["type"] == "partial"]
    # The pieces may arrive together.
    assert partials[-1] == {"name": "Ada", "age": 36}
    *_, whole, last = told_lines
    assert whole == {"type": "object", "object": {"name": "Ada", "age": 36}, "error": None, "choice": 0}
    assert (last["type"], last["outcome"], last["exit_code"]) == ("end", "complete", 0)


def test_each_object_so_far_is_the_beginning_of_the_next(told):
    text = json.dumps({"name": "x" * 50, "age": 1, "more": [{"a": "é"}] * 20}, ensure_ascii=False)
    done, _ = told("--schema", SCHEMA, "--json", texts=tuple(text))
    names = [line["object"].get("name", "") for line in lines(done) if line["type"] == "partial"]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(names))


def test_a_long_object_is_not_told_anew_for_each_of_its_pieces(told):
    pieces = ['{"name": "', *("word " for _ in range(4000)), '"}']
    done, _ = told("--schema", SCHEMA, "--json", texts=tuple(pieces))
    assert done.returncode == 0
    size = sum(len(text) for text in pieces)
    assert sum(len(line) for line in done.stdout.splitlines() if b'"partial"' in line) < 40 * size


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("Sure! Here", " it is"), "the answer is complete, but it is not JSON"),
        (('{"name": "Ada"',), "it is not JSON"),
        (('{"age": 3}',), "does not follow the schema: the answer has no 'name'"),
        (('{"name": 3}',), "'name' of the answer is integer and not string"),
        (("[]",), "the answer is array and not object"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_ends_in_failure(told, texts, words):
    done, _ = told("--schema", SCHEMA, texts=texts)
    assert (done.returncode, done.stdout) == (1, "".join(texts).encode())
    assert words in done.stderr.decode()
    done, _ = told("--schema", SCHEMA, "--json", texts=texts)
    *_, whole, last = lines(done)
    assert done.returncode == last["exit_code"] == 1
    assert last["outcome"] == "error"
    assert words.removeprefix("the answer is complete, but ") in whole["error"]


def test_a_refusal_is_no_object(told):
    done, _ = told("--schema", SCHEMA, answer=head() + start("chat") + refusal("chat", "I cannot") + end("chat"))
    assert (done.returncode, done.stdout) == (1, b"I cannot")
    assert "the model refused" in done.stderr.decode()


def test_a_cut_answer_is_cut_and_not_blamed_on_the_schema(told):
    done, _ = told("--schema", SCHEMA, answer=head() + start("chat") + piece("chat", '{"name": "A'))
    assert done.returncode == 7
    assert "schema" not in done.stderr.decode()
    done, _ = told("--schema", SCHEMA, texts=('{"name": "A',), reason="length")
    assert done.returncode == 8


def test_statistics_are_told_beside_the_object(told):
    kinds = [line["type"] for line in lines(told("--schema", SCHEMA, "--json", "--stats", "json")[0])]
    assert kinds[-3:] == ["object", "stats", "end"]
    (value,) = lines(told("--schema", SCHEMA, "--format", "json", "--stats", "json")[0])
    assert value["stats"]["outcome"] == "complete"


def test_the_one_object_of_format_json_has_the_value_too(told):
    (value,) = lines(told("--schema", SCHEMA, "--format", "json")[0])
    assert (value["object"], value["text"]) == ({"name": "Ada", "age": 36}, "".join(GOOD))


def test_an_answer_in_one_piece_is_judged_as_well(unspool, serve):
    whole = {"id": "r", "model": "m", "choices": [{"index": 0, "message": {"content": "no"}, "finish_reason": "stop"}]}
    server = serve(head(type="application/json") + json.dumps(whole).encode())
    done = unspool("--base-url", server.url, "--api", "chat", "-m", "m", "--no-stream", "--schema", "name", "Who?")
    assert (done.returncode, done.stdout) == (1, b"no")


# Following a schema


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer"}, 1.0, 1.5),
        ({"type": "number"}, 1, True),
        ({"type": ["string", "null"]}, None, 1),
        ({"enum": ["a", 1]}, 1, True),
        ({"const": None}, None, 0),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "x", 1),
        ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 2, 3),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a"], ["a", "b"]),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, ["a", 1], ["a", "b"]),
        ({"minLength": 2}, "ab", "a"),
        ({"properties": {"a": False}}, {"b": 1}, {"a": 1}),
        ({"additionalProperties": {"type": "string"}}, {"a": "b"}, {"a": 1}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
        ({"$defs": {"n": {"properties": {"next": {"$ref": "#"}}, "type": "object"}}, "$ref": "#/$defs/n"}, {}, []),
        ({"$ref": "#"}, 1, None),
    ],
)
def test_values_that_follow_a_schema_are_told_from_those_that_do_not(schema, good, bad):
    assert mismatch(schema, good) is None
    if schema != {"$ref": "#"}:
        assert mismatch(schema, bad) is not None


@settings(max_examples=rounds(200), deadline=None, derandomize=True)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "properties", "items", "required", "enum", "anyOf", "$ref", "minimum", "a"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ),
    st.recursive(
        st.none() | st.integers() | st.text(max_size=2), lambda inner: st.lists(inner, max_size=2), max_leaves=4
    ),
)
def test_no_schema_breaks_the_check(schema, value):
    assert mismatch(schema, value) is None or isinstance(mismatch(schema, value), str)


# A fence around it


@pytest.mark.parametrize(
    "texts", [("```json\n", *GOOD, "\n```\n"), ("Here it is:\n\n``", "`\n", *GOOD, "\n```\nGood?")]
)
def test_json_comes_out_of_one_fenced_block(told, texts):
    done, _ = told("--schema", SCHEMA, texts=texts)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"name": "Ada", "age": 36})
    done, _ = told("--schema", SCHEMA, "--json", texts=texts)
    [object] = [line for line in lines(done) if line["type"] == "object"]
    assert object["object"] == {"name": "Ada", "age": 36}
    assert "".join(line["text"] for line in lines(done) if line["type"] == "text") == "".join(texts)


def test_of_several_blocks_none_is_taken_for_the_answer(told):
    done, _ = told("--schema", SCHEMA, texts=("```\n", *GOOD, "\n```\nor\n```\n{}\n```\n"))
    assert done.returncode == 1
    assert b"it has several code blocks" in done.stderr


def test_prose_without_a_block_is_shown_and_is_no_json(told):
    done, _ = told("--schema", SCHEMA, texts=("I can", " not."))
    assert (done.returncode, done.stdout) == (1, b"I can not.")
