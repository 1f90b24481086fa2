"""Nothing that a server sends makes a decoder raise, and nothing half a character leaves it."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool import outcome, sse
from unspool.api import NAMES, endpoint, failure
from unspool.api.deltas import Text, apart
from unspool.jsontext import from_json

from .feeding import chunk, created, data, ended, fragment, legacy, message, piece, response, typed, whole

WORDS = st.sampled_from(
    [
        "choices",
        "delta",
        "content",
        "index",
        "finish_reason",
        "text",
        "error",
        "message",
        "type",
        "tool_calls",
        "function",
        "arguments",
        "id",
        "name",
        "usage",
        "reasoning",
        "output",
        "response",
        "item",
        "status",
        "detail",
        "object",
        "model",
    ]
)
# Surrogates included, on purpose.
TEXTS = st.one_of(WORDS, st.text(st.characters(), max_size=5), st.sampled_from(["\ud83d", "\ude00", "error", ""]))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, TEXTS), inner, max_size=4)),
    max_leaves=12,
)
CALL = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
PLACE = {"item_id": "x", "output_index": 0, "content_index": 0, "summary_index": 0}
PART = {"type": "output_text", "text": "Hi"}
REAL = [
    chunk({"role": "assistant", "content": "Hi"}),
    chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, PART]}),
    chunk(
        {"reasoning": "a", "reasoning_content": "b", "refusal": "c", "function_call": {"name": "f", "arguments": ""}}
    ),
    chunk(fragment(0, "a", "f", "{")),
    chunk({}, "stop", usage={"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}}, x_groq={"usage": {}}),
    chunk({"content": "Hi"}),
    chunk({"content": "Hi"}, x_groq={"usage": {"prompt_tokens": 1}}),
    legacy("Hi"),
    legacy("Hi", "length"),
    {"error": {"message": "m", "type": "t", "param": None, "code": 500}},
    created(),
    piece("Hi", sequence_number=1),
    piece(" the", sequence_number=2),
    whole("Hi there"),
    {"type": "response.reasoning_summary_text.delta", **PLACE, "delta": "Hm"},
    {"type": "response.reasoning_part.done", **PLACE, "part": {"type": "reasoning_text", "text": "Hm"}},
    {"type": "response.output_item.added", "output_index": 0, "item": CALL | {"arguments": ""}},
    {"type": "response.function_call_arguments.delta", **PLACE, "delta": "{"},
    {"type": "response.function_call_arguments.done", **PLACE, "arguments": "{}"},
    {"type": "response.output_item.done", "output_index": 0, "item": CALL},
    {"type": "error", "error": {"message": "m", "code": "c"}},
    ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ended("failed", error={"code": "c", "message": "m"}),
    ended(output=[message("Hi", "there"), CALL, {"type": "reasoning", "summary": [PART | {"type": "summary_text"}]}]),
    response("completed", output=[message("Hi")]),
]
NAMED = st.sampled_from(["message", "error", "ping", "response.completed"])
ENDPOINTS = pytest.mark.parametrize("name", NAMES)


def spoil(value, chance):
    """Return the value with pieces of it replaced by what does not belong there."""
    if chance.random() < 0.08:
        return chance.choice(
            [None, True, -1, 10**30, 1.5, "", "\ud83d", "\ude00", "error", [], {}, [None], {"a": []}, [[]]]
        )
    if isinstance(value, dict):
        return {key: spoil(item, chance) for key, item in value.items() if chance.random() > 0.05}
    if isinstance(value, list):
        return [spoil(item, chance) for item in value]
    return value


def check(name, events):
    """Decode the events; fail on an exception, on half a character, and on a decoder that is of no more use."""
    decoder = endpoint(name).decoder()
    out = decoder.decode(events)
    if not decoder.done:
        good = {
            "responses": piece("fine", output_index=7),
            "chat": chunk({"content": "fine"}),
            "completions": legacy("fine"),
        }
        more = decoder.decode([sse.Event("message", json.dumps(good[name]))])
        assert "".join(delta.text for delta in more if isinstance(delta, Text)).endswith("fine")
        out += more
    out += decoder.close()
    assert decoder.close() == []
    for fact in (*out, decoder.failure, decoder.response_id, decoder.model, decoder.usage, decoder.finish_reasons):
        repr(fact).encode()
        for each in getattr(fact, "__slots__", ()):
            str(getattr(fact, each)).encode()
    str(outcome.judge(decoder, None).message).encode()


@ENDPOINTS
@given(st.lists(st.tuples(NAMED, VALUES), max_size=4))
@settings(max_examples=rounds(150), deadline=None)
def test_no_json_value_makes_a_decoder_raise(name, values):
    check(name, [sse.Event(type, json.dumps(value)) for type, value in values])


@ENDPOINTS
@given(st.integers(0, 2**32), st.lists(st.sampled_from(REAL), min_size=1, max_size=8), NAMED)
@settings(max_examples=rounds(300), deadline=None)
def test_no_spoiled_event_makes_a_decoder_raise(name, seed, values, type):
    chance = random.Random(seed)
    check(name, [sse.Event(type, json.dumps(spoil(value, chance))) for value in values])


def decode_the_long_way(decoder, events):
    """Decode as if no event were ordinary."""
    out = []
    for event in events:
        if not decoder.done:
            try:
                value = from_json(event.data.encode())
            except ValueError:
                decoder._take_unparsed(event.type, event.data, out)
            else:
                decoder._take(event.type, value, out)
    return out


@ENDPOINTS
@given(st.integers(0, 2**32), st.lists(st.sampled_from(REAL), min_size=1, max_size=8))
@settings(max_examples=rounds(300), deadline=None)
def test_the_short_way_through_the_hot_loop_decodes_what_the_long_way_does(name, seed, values):
    chance = random.Random(seed)
    events = [
        sse.Event("message", json.dumps(spoil(value, chance) if chance.random() < 0.5 else value)) for value in values
    ]
    short, long = endpoint(name).decoder(), endpoint(name).decoder()
    assert [*apart(short.decode(events)), *short.close()] == decode_the_long_way(long, events) + long.close()
    assert repr(short.failure) == repr(long.failure)
    assert short.finish_reasons == long.finish_reasons
    assert getattr(short, "last_sequence", None) == getattr(long, "last_sequence", None)


@ENDPOINTS
@given(st.lists(st.tuples(NAMED, st.text(max_size=20)), max_size=4))
@settings(max_examples=rounds(100), deadline=None)
def test_no_text_makes_a_decoder_raise(name, texts):
    check(name, [sse.Event(type, text) for type, text in texts])


@ENDPOINTS
@given(
    st.one_of(
        VALUES, st.builds(lambda value, seed: spoil(value, random.Random(seed)), st.sampled_from(REAL), st.integers())
    )
)
@settings(max_examples=rounds(150), deadline=None)
def test_no_body_makes_a_decoder_raise(name, body):
    decoder = endpoint(name).decoder()
    for delta in decoder.decode_body(body) + decoder.close():
        repr(delta).encode()
    assert decoder.done or decoder.failure or type(body) is dict


@given(
    st.integers(100, 599), st.dictionaries(WORDS, st.text(max_size=9)), st.one_of(st.binary(), VALUES.map(json.dumps))
)
@settings(max_examples=rounds(300), deadline=None)
def test_every_error_response_has_a_message_in_one_line(status, headers, body):
    raw = body if isinstance(body, bytes) else body.encode()
    message = failure.from_response(status, headers, raw).message
    message.encode()
    assert message
    assert len(message.splitlines()) == 1


@ENDPOINTS
@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"error":' * 5000 + "1" + "}" * 5000, "1" * 5000, "NaN", "-Infinity", "\0"]
)
def test_json_built_to_break_a_parser_does_not(name, text):
    check(name, [sse.Event("message", text), sse.Event("error", text)])


@ENDPOINTS
def test_nesting_that_only_the_forgiving_parser_reads_does_no_harm(name):
    deep = "[" * 600 + '"\\ud83d"' + "]" * 600
    usage = f'{{"type":"response.created","response":{{"usage":{{"a":{deep}}}}},"usage":{{"a":{deep}}},"choices":[]}}'
    check(name, [sse.Event("message", usage)])


def test_a_text_of_many_megabytes_in_one_event_is_whole():
    stream = data(chunk({"content": "ab" * 4_000_000}))
    decoder = endpoint("chat").decoder()
    (text,) = [delta for delta in decoder.decode(sse.Decoder().feed(stream)) if isinstance(delta, Text)]
    assert len(text.text) == 8_000_000


def test_a_responses_stream_of_many_pieces_keeps_no_copy_of_its_text():
    decoder = endpoint("responses").decoder()
    decoder.decode(sse.Decoder().feed(typed(created(), *[piece("x" * 50)] * 1000)))
    assert "x" * 50 not in repr(vars(decoder))
    assert len(decoder._parts) == 1


@ENDPOINTS
def test_importing_an_endpoint_imports_nothing_costly(name):
    code = (
        "import sys; before = set(sys.modules); import unspool.api."
        + name
        + "; costly = {'json', 're', 'enum', 'dataclasses', 'typing', 'email', 'http', 'html'}"
        + "; print(sorted(costly & (set(sys.modules) - before)))"
    )
    assert (
        subprocess.run([sys.executable, "-I", "-S", "-c", PATHS + code], capture_output=True, text=True).stdout
        == "[]\n"
    )


# The interpreter above starts bare: site's own imports and this test's would hide those of the endpoint.
PATHS = f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}; "
