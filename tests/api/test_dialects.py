"""Chat Completions as compatible servers speak it."""

import json

import pytest

from unspool.api.deltas import Finish, Reasoning, Started, Text, ToolCall, Usage
from unspool.jsontext import dumps
from unspool.shape import describe

from .feeding import DONE, Decoded, chunk, created, data, ended, fragment, message, piece, typed

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


# Reasoning


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_told_from_text_under_either_name(field):
    decoded = Decoded("chat", data(chunk({field: "Hm", "content": None}), chunk({"content": "Hi"})) + DONE)
    assert decoded.deltas[1:] == [Reasoning("Hm"), Text("Hi")]


def test_reasoning_that_a_gateway_sends_under_both_names_is_told_once():
    stream = data(
        chunk({"reasoning_content": "Hm", "reasoning": "Hm"}), chunk({"reasoning": "m", "reasoning_content": ""})
    )
    assert Decoded("chat", stream).reasoning() == "Hmm"


def test_reasoning_and_text_in_one_chunk_come_in_that_order():
    assert Decoded("chat", data(chunk({"content": "Hi", "reasoning": "Hm"}))).deltas[1:] == [
        Reasoning("Hm"),
        Text("Hi"),
    ]


def test_thinking_parts_of_mistral_are_reasoning_and_text_parts_are_text():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}, {"type": "text", "text": "m"}]}
    parts = [thinking, {"type": "text", "text": "Hi"}]
    assert Decoded("chat", data(chunk({"content": parts}))).deltas[1:] == [Reasoning("Hmm"), Text("Hi")]


# Tool calls


def test_a_tool_call_whole_in_one_chunk_as_ollama_sends_it_is_one_call():
    stream = data(
        chunk({"role": "assistant", "content": "", **fragment(0, "call_1", "f", '{"a":1}')}), chunk({}, "tool_calls")
    )
    assert Decoded("chat", stream + DONE).of(ToolCall) == [ToolCall(0, "call_1", "f", '{"a":1}')]


def test_a_new_id_begins_a_new_call_where_gemini_leaves_the_index_out():
    pieces = [fragment(None, "a", "f", "{"), fragment(None, None, None, "}"), fragment(None, "b", "f", "[]")]
    decoded = Decoded("chat", data(*map(chunk, pieces), chunk({}, "stop")))
    assert decoded.of(ToolCall) == [ToolCall(0, "a", "f", "{}"), ToolCall(1, "b", "f", "[]")]


def test_another_name_begins_a_new_call_where_there_is_neither_index_nor_id():
    decoded = Decoded("chat", data(chunk(fragment(None, None, "f", "{}")), chunk(fragment(None, None, "g", "[]"))))
    assert decoded.of(ToolCall) == [ToolCall(0, "call_0", "f", "{}"), ToolCall(1, "call_1", "g", "[]")]


def test_ids_and_names_repeated_with_each_fragment_are_not_appended():
    pieces = [fragment(0, "call_1", "f", "{"), fragment(0, "call_1", "f", "}")]
    decoded = Decoded("chat", data(*map(chunk, pieces), chunk({}, "tool_calls")))
    assert decoded.of(ToolCall) == [ToolCall(0, "call_1", "f", "{}")]
    assert [(delta.id, delta.name) for delta in decoded.deltas[1:3]] == [("call_1", "f"), (None, None)]


def test_a_new_id_on_each_fragment_does_not_tear_a_call_apart():
    pieces = [fragment(0, "x1", "f", "{"), fragment(0, "x2", None, "}")]
    assert [call.arguments for call in Decoded("chat", data(*map(chunk, pieces))).of(ToolCall)] == ["{}"]


def test_calls_that_are_all_numbered_0_are_told_apart_by_their_ids_and_names():
    pieces = [fragment(0, "a", "f", "{}"), fragment(0, "b", "f", "[]")]
    decoded = Decoded("chat", data(*map(chunk, pieces)))
    assert decoded.of(ToolCall) == [ToolCall(0, "a", "f", "{}"), ToolCall(1, "b", "f", "[]")]


def test_arguments_that_come_as_an_object_are_told_as_json():
    assert Decoded("chat", data(chunk(fragment(0, "a", "f", {"city": "Köln"})))).of(ToolCall) == [
        ToolCall(0, "a", "f", '{"city": "Köln"}')
    ]


# Usage


def test_usage_on_the_finish_chunk_as_transformers_and_fireworks_send_it_is_taken():
    decoded = Decoded("chat", data(chunk({"content": "x"}), chunk({}, "stop", usage=USAGE)))
    assert decoded.of(Usage) == [Usage(3, 2, 5, raw=USAGE)]
    assert decoded.of(Finish) == [Finish("stop")]


def test_usage_on_every_chunk_as_vllm_sends_it_is_told_once_with_its_last_value():
    chunks = [chunk({"content": "x"}, usage=USAGE | {"completion_tokens": count}) for count in (1, 2, 3)]
    decoded = Decoded("chat", data(*chunks) + DONE)
    assert [usage.output_tokens for usage in decoded.of(Usage)] == [3]
    assert decoded.text() == "xxx"


def test_usage_in_the_field_of_groq_is_taken():
    decoded = Decoded("chat", data(chunk({}, "stop", x_groq={"id": "req_1", "usage": USAGE})))
    assert decoded.of(Usage) == [Usage(3, 2, 5, raw=USAGE)]


def test_usage_in_either_naming_is_read():
    other = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}
    assert Decoded("chat", data(chunk({}, "stop", usage=other))).of(Usage) == [Usage(3, 2, None, None, 1, other)]


def test_usage_with_counts_that_are_no_numbers_says_nothing_of_them():
    odd = {"prompt_tokens": "3", "completion_tokens": True, "total_tokens": 1.5, "prompt_tokens_details": []}
    assert Decoded("chat", data(chunk({}, usage=odd))).of(Usage) == [Usage(raw=odd)]


# Oddities of single servers


def test_azures_first_chunk_without_choices_does_not_start_the_answer():
    filters = {
        "choices": [],
        "created": 0,
        "id": "",
        "model": "",
        "object": "",
        "prompt_filter_results": [{"prompt_index": 0}],
    }
    decoded = Decoded("chat", data(filters, chunk({"content": "x"}), chunk({}, "stop")) + DONE)
    assert decoded.deltas == [Started("chatcmpl-B1", "gpt-4o-2024-08-06"), Text("x"), Finish("stop")]


def test_azures_late_filter_results_without_a_delta_add_nothing():
    late = {
        "id": "",
        "object": "",
        "model": "",
        "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {}}],
    }
    decoded = Decoded("chat", data(chunk({"content": "x"}), late, chunk({}, "stop")) + DONE)
    assert decoded.deltas[1:] == [Text("x"), Finish("stop")]


@pytest.mark.parametrize(
    "delta", [None, {}, [], {"content": None}, {"content": ""}, {"content": []}, {"role": "assistant"}]
)
def test_a_delta_that_says_nothing_adds_nothing(delta):
    event = chunk()
    event["choices"][0]["delta"] = delta
    assert Decoded("chat", data(chunk({"content": "x"}), event) + DONE).deltas[1:] == [Text("x")]


@pytest.mark.parametrize("choices", [None, {}, [None], ["x"], 3, [[]]])
def test_choices_that_are_no_choices_add_nothing(choices):
    decoded = Decoded(
        "chat", data(chunk({"content": "x"}), chunk() | {"choices": choices}, chunk({"content": "y"})) + DONE
    )
    assert decoded.text() == "xy"


def test_null_fields_left_out_as_transformers_does_are_taken_for_null():
    opening = {"id": "r", "model": "m", "choices": [{"delta": {"role": "assistant"}, "index": 0}]}
    text = {"id": "r", "model": "m", "choices": [{"delta": {"content": "x"}, "index": 0}]}
    last = {"id": "r", "model": "m", "choices": [{"delta": {}, "finish_reason": "stop", "index": 0}]}
    decoded = Decoded("chat", data(opening, text, last))
    assert decoded.deltas == [Started("r", "m"), Text("x"), Finish("stop")]
    assert decoded.decoder.ended


def test_a_stream_without_ids_and_models_still_starts():
    assert Decoded("chat", data({"choices": [{"delta": {"content": "x"}}]})).deltas == [Started(None, None), Text("x")]


def test_a_role_repeated_with_each_piece_adds_nothing():
    assert Decoded("chat", data(*[chunk({"role": "assistant", "content": "x"})] * 3)).text() == "xxx"


def test_an_empty_finish_reason_is_none():
    assert not Decoded("chat", data(chunk({"content": "x"}, ""))).decoder.ended


def test_choices_without_an_index_are_numbered_by_their_place():
    event = {"choices": [{"delta": {"content": "a"}}, {"delta": {"content": "b"}}]}
    decoded = Decoded("chat", data(event), choices=2)
    assert (decoded.text(0), decoded.text(1)) == ("a", "b")


def test_the_timings_of_llama_cpp_and_the_words_of_deepseek_are_no_obstacle():
    stream = b":\n\n" + data(chunk({"role": "assistant", "content": None}), chunk({"content": "x"}, timings={"n": 1}))
    decoded = Decoded("chat", stream + b": keep-alive\n\n" + data(chunk({}, "insufficient_system_resource")))
    assert decoded.deltas[1:] == [Text("x"), Finish("insufficient_system_resource")]


def test_a_whole_message_in_place_of_a_delta_is_taken():
    event = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    assert Decoded("chat", data(event)).deltas[1:] == [Text("Hi"), Finish("stop")]


def test_summary_deltas_of_ollama_that_no_part_announces_are_reasoning():
    event = {"type": "response.reasoning_summary_text.delta", "item_id": "rs", "output_index": 0, "summary_index": 0}
    stream = typed(created(), event | {"delta": "Hm"}, piece("Hi", output_index=1), ended(output=[message("Hi")]))
    decoded = Decoded("responses", stream)
    assert (decoded.reasoning(), decoded.text()) == ("Hm", "Hi")


def test_several_done_marks_as_some_gateways_send_are_one():
    assert Decoded("chat", data(chunk({"content": "x"})) + DONE * 3).text() == "x"


# --- framing that is not quite an event stream's -------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["data: ", "data: data: ", "data:"])
def test_objects_on_consecutive_data_lines_are_events_of_their_own(prefix: str) -> None:
    values = [chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop")]
    stream = "".join(f"{prefix}{json.dumps(value)}\n" for value in values) + f"{prefix}[DONE]\n\n"
    decoded = Decoded("chat", stream.encode())
    assert (decoded.text(), decoded.decoder.done, decoded.decoder.failure) == ("Hello", True, None)


@pytest.mark.parametrize("word", ["ping", "heartbeat", "keep-alive", "PING"])
def test_a_sign_of_life_that_is_a_word_is_no_error(word: str) -> None:
    stream = data(word, chunk({"content": "x"}), chunk({}, "stop"), "[DONE]")
    decoded = Decoded("chat", stream)
    assert (decoded.text(), decoded.decoder.failure) == ("x", None)


def test_a_line_that_is_broken_among_others_is_still_an_error() -> None:
    decoded = Decoded("chat", b'data: {"a": 1}\ndata: {"b": \n\n')
    assert decoded.decoder.failure is not None


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e400", "9" * 5000])
@pytest.mark.parametrize("place", ["usage", "index", "tool"])
def test_no_number_crashes_or_hides_the_answer(number: str, place: str) -> None:
    usage = f'"usage": {{"prompt_tokens": 1, "completion_tokens": 2, "speed": {number}}}'
    index = f'"index": {number if place == "index" else 0}'
    last = f'{{"id": "c", "choices": [{{{index}, "delta": {{"content": "!"}}, "finish_reason": "stop"}}], {usage}}}'
    decoded = Decoded("chat", data(chunk({"content": "hi"}), last, "[DONE]"))
    assert decoded.text() == "hi!"
    assert decoded.decoder.usage is not None
    assert dumps(decoded.decoder.usage.raw) == '{"prompt_tokens":1,"completion_tokens":2,"speed":null}'
    for delta in decoded.deltas:
        dumps(describe(delta))
