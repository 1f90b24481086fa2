"""Emoji that a server cut in half, one half in one event, one in the next."""

import pytest

from unspool.api.deltas import Finish, Reasoning, Text, ToolCall

from .feeding import DONE, Decoded, chunk, created, data, ended, fragment, legacy, message, piece, typed, whole

HIGH, LOW = "\ud83d", "\ude00"


def test_the_halves_of_an_emoji_in_two_chunks_become_one_character():
    decoded = Decoded("chat", data(chunk({"content": "a" + HIGH}), chunk({"content": LOW + "b"})) + DONE)
    assert decoded.of(Text) == [Text("a"), Text("😀b")]


def test_the_halves_of_an_emoji_are_paired_in_every_kind_of_text_and_endpoint():
    assert Decoded("completions", data(legacy(HIGH), legacy(LOW)) + DONE).text() == "😀"
    assert Decoded("chat", data(chunk({"reasoning": HIGH}), chunk({"reasoning": LOW})) + DONE).reasoning() == "😀"
    assert Decoded("chat", data(chunk({"refusal": HIGH}), chunk({"refusal": LOW})) + DONE).refusal() == "😀"
    assert Decoded("responses", typed(created(), piece("x"), piece(HIGH), piece(LOW), ended())).text() == "x😀"


def test_the_halves_of_an_emoji_in_tool_arguments_are_paired():
    stream = data(
        chunk(fragment(0, "c", "f", '"' + HIGH)), chunk(fragment(0, arguments=LOW + '"')), chunk({}, "tool_calls")
    )
    assert Decoded("chat", stream).of(ToolCall) == [ToolCall(0, "c", "f", '"😀"')]


def test_half_an_emoji_at_the_end_of_tool_arguments_is_one_replacement_character():
    stream = data(chunk(fragment(0, "c", "f", '"' + HIGH)), chunk({}, "tool_calls"))
    assert Decoded("chat", stream).of(ToolCall) == [ToolCall(0, "c", "f", '"\ufffd')]


def test_halves_are_paired_within_their_own_choice_and_kind_only():
    stream = data(
        chunk({"content": HIGH}, index=0),
        chunk({"content": HIGH}, index=1),
        chunk({"reasoning": "r"}, index=0),
        chunk({"content": LOW}, index=1),
        chunk({"content": LOW}, index=0),
    )
    decoded = Decoded("chat", stream + DONE, choices=2)
    assert (decoded.text(0), decoded.text(1)) == ("😀", "😀")
    assert decoded.of(Reasoning) == [Reasoning("r")]


def test_half_an_emoji_that_ordinary_text_follows_becomes_one_replacement_character():
    stream = data(chunk({"content": HIGH}), chunk({"content": "x"}), chunk({"content": "y"})) + DONE
    assert Decoded("chat", stream).of(Text) == [Text("\ufffdx"), Text("y")]


def test_half_an_emoji_before_the_finish_is_given_out_before_it():
    stream = data(chunk({"content": HIGH}), chunk({}, "stop"))
    assert Decoded("chat", stream).deltas[1:] == [Text("\ufffd"), Finish("stop")]


def test_half_an_emoji_at_the_end_of_a_cut_stream_is_one_replacement_character():
    assert Decoded("chat", data(chunk({"content": "x" + HIGH}))).text() == "x\ufffd"


def test_a_second_half_alone_becomes_a_replacement_character():
    assert Decoded("chat", data(chunk({"content": LOW + "x"})) + DONE).text() == "\ufffdx"


def test_half_an_emoji_that_the_whole_text_completes_is_not_replaced():
    stream = typed(created(), piece("x" + HIGH), whole("x😀"), ended(output=[message("x😀")]))
    assert Decoded("responses", stream).text() == "x😀"


@pytest.mark.parametrize("field", ["id", "model"])
def test_half_an_emoji_in_an_id_or_a_model_name_does_not_leave_the_decoder(field):
    decoded = Decoded("chat", data(chunk({"content": "x"}) | {field: "a" + HIGH}) + DONE)
    assert getattr(decoded.deltas[0], field) == "a\ufffd"


def test_separators_that_javascript_leaves_raw_in_json_stay_in_the_text():
    stream = 'data: {"choices":[{"index":0,"delta":{"content":"a\u2028b\u2029c\x85d"}}]}\n\n'.encode()
    assert Decoded("chat", stream).text() == "a\u2028b\u2029c\x85d"


def test_raw_control_characters_in_json_stay_in_the_text():
    assert Decoded("chat", b'data: {"choices":[{"index":0,"delta":{"content":"a\tb"}}]}\n\n').text() == "a\tb"
