"""Chat Completions as OpenAI streams it."""

from unspool import sse
from unspool.api import chat
from unspool.api.deltas import Finish, Refusal, Started, Text, ToolCall, ToolCallDelta, Usage
from unspool.api.parts import Annotation, Audio, Image, Item, Logprobs

from .feeding import DONE, Decoded, chunk, data, fragment

USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 12,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
USAGE_CHUNK = chunk(usage=USAGE) | {"choices": []}
OPENING = chunk({"role": "assistant", "content": "", "refusal": None})


def test_a_text_stream_becomes_start_text_finish_and_usage_in_this_order():
    stream = data(OPENING, chunk({"content": "Foo"}), chunk({"content": "!"}), chunk({}, "stop"), USAGE_CHUNK) + DONE
    assert Decoded("chat", stream).deltas == [
        Started("chatcmpl-B1", "gpt-4o-2024-08-06"),
        Text("Foo"),
        Text("!"),
        Finish("stop"),
        Usage(9, 12, 21, 4, 3, USAGE),
    ]


def test_the_cut_of_the_bytes_does_not_change_the_deltas():
    stream = data(OPENING, chunk({"content": "Grüße 😀"}), chunk({}, "stop"), USAGE_CHUNK) + DONE
    assert Decoded("chat", stream, size=1).deltas == Decoded("chat", stream).deltas


def test_a_refusal_stream_is_refusal_not_text():
    stream = data(chunk({"role": "assistant", "content": None, "refusal": ""}), chunk({"refusal": "I'm"}))
    decoded = Decoded("chat", stream + data(chunk({"refusal": " sorry"}), chunk({}, "stop")) + DONE)
    assert decoded.of(Refusal) == [Refusal("I'm"), Refusal(" sorry")]
    assert decoded.text() == ""


def test_a_streamed_tool_call_yields_its_fragments_and_then_one_whole_call_before_the_finish():
    first = {"role": "assistant", "content": None, **fragment(0, "call_1", "get_weather")}
    stream = data(chunk(first), chunk(fragment(0, arguments='{"ci')), chunk(fragment(0, arguments='ty":1}')))
    assert Decoded("chat", stream + data(chunk({}, "tool_calls")) + DONE).deltas[1:] == [
        ToolCallDelta(0, "call_1", "get_weather", ""),
        ToolCallDelta(0, None, None, '{"ci'),
        ToolCallDelta(0, None, None, 'ty":1}'),
        ToolCall(0, "call_1", "get_weather", '{"city":1}'),
        Finish("tool_calls"),
    ]


def test_two_tool_calls_are_merged_apart():
    calls = [
        fragment(0, "call_1", "a"),
        fragment(0, arguments="{}"),
        fragment(1, "call_2", "b"),
        fragment(1, arguments="[]"),
    ]
    decoded = Decoded("chat", data(*map(chunk, calls), chunk({}, "tool_calls")) + DONE)
    assert decoded.of(ToolCall) == [ToolCall(0, "call_1", "a", "{}"), ToolCall(1, "call_2", "b", "[]")]


def test_several_fragments_of_one_call_in_one_chunk_are_all_kept():
    parts = [fragment(0, "call_1", "a", "{")["tool_calls"][0], fragment(0, arguments="}")["tool_calls"][0]]
    decoded = Decoded("chat", data(chunk({"tool_calls": parts}), chunk({}, "tool_calls")) + DONE)
    assert decoded.of(ToolCall) == [ToolCall(0, "call_1", "a", "{}")]


def test_the_deprecated_single_function_call_is_a_tool_call_with_an_id_of_its_own():
    pieces = [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}]
    decoded = Decoded("chat", data(*map(chunk, pieces), chunk({}, "function_call")) + DONE)
    assert decoded.of(ToolCall) == [ToolCall(0, "call_0", "f", "{}")]


def test_calls_to_which_a_server_gives_one_id_or_none_have_ids_of_their_own():
    for id in ("same", "", None):
        fragments = [fragment(0, id, "f", "{}"), fragment(1, id, "g", "{}")]
        calls = Decoded("chat", data(*map(chunk, fragments), chunk({}, "tool_calls")) + DONE).of(ToolCall)
        assert [call.name for call in calls] == ["f", "g"]
        assert len({call.id for call in calls} - {""}) == 2


def test_a_tool_call_of_a_cut_stream_is_given_out_at_the_close():
    decoded = Decoded("chat", data(chunk(fragment(0, "call_1", "a", '{"x'))))
    assert decoded.of(ToolCall) == [ToolCall(0, "call_1", "a", '{"x')]


def test_interleaved_choices_keep_their_own_text_and_finish():
    stream = data(
        chunk({"role": "assistant", "content": ""}, index=0),
        chunk({"content": "A"}, index=0),
        chunk({"role": "assistant", "content": ""}, index=1),
        chunk({"content": "B"}, index=1),
        chunk({"content": "a"}, index=0),
        chunk({"content": "b"}, index=1),
        chunk({}, "stop", index=1),
        chunk({}, "length", index=0),
    )
    decoded = Decoded("chat", stream + DONE, choices=2)
    assert (decoded.text(0), decoded.text(1)) == ("Aa", "Bb")
    assert decoded.of(Finish) == [Finish("stop", 1), Finish("length", 0)]
    assert decoded.decoder.finish_reasons == {1: "stop", 0: "length"}


def test_the_stream_has_not_ended_while_one_of_two_choices_has_no_finish_reason():
    assert not Decoded("chat", data(chunk({"content": "A"}), chunk({}, "stop", index=1)), choices=2).decoder.ended


def test_a_finish_reason_sent_twice_finishes_once():
    assert Decoded("chat", data(chunk({}, "stop"), chunk({}, "stop"))).of(Finish) == [Finish("stop")]


def test_usage_null_on_every_chunk_does_not_hide_the_usage_chunk():
    stream = data(chunk({"content": "x"}, usage=None), chunk({}, "stop", usage=None), USAGE_CHUNK)
    assert Decoded("chat", stream + DONE).decoder.usage == Usage(9, 12, 21, 4, 3, USAGE)


def test_a_stream_interrupted_before_its_usage_chunk_has_no_usage():
    decoded = Decoded("chat", data(chunk({"content": "x"})))
    assert decoded.decoder.usage is None
    assert decoded.of(Usage) == []


def test_padding_against_side_channels_and_unknown_fields_are_passed_over():
    noisy = chunk({"content": "x", "novel": [1]}, obfuscation="a8Hs", moderation={"x": 1})
    assert Decoded("chat", data(noisy) + DONE).deltas[1:] == [Text("x")]


def test_what_is_not_text_has_deltas_of_its_own():
    logprobs = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}], "refusal": None}
    first = chunk({"role": "assistant", "content": "Hi"}, service_tier="flex")
    first["choices"][0]["logprobs"] = logprobs
    citation = {"type": "url_citation", "url_citation": {"url": "http://x", "title": "t"}}
    sealed = {"type": "reasoning.encrypted", "data": "zzz"}
    decoded = Decoded(
        "chat",
        data(
            first,
            chunk({"annotations": [citation]}),
            chunk({"annotations": [citation], "audio": {"id": "a1", "data": "AAAA", "transcript": "spoken"}}),
            chunk(
                {
                    "role": "assistant",
                    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}],
                }
            ),
            chunk({"role": "assistant", "reasoning_details": [sealed]}),
            chunk({}, "stop", citations=["http://y"]),
        )
        + DONE,
    )
    assert decoded.deltas[1:] == [
        Text("Hi"),
        Logprobs(logprobs),
        Annotation(citation),
        Audio("AAAA", "spoken", "a1"),
        Image("data:image/png;base64,AA"),
        Item(sealed),
        Annotation({"type": "url_citation", "url": "http://y"}),
        Finish("stop"),
    ]
    assert (decoded.decoder.service_tier, decoded.decoder.system_fingerprint) == ("flex", "fp_b86ebc5bbb")


def test_a_field_alone_in_its_delta_is_not_lost():
    for field, value, kind in (
        ("annotations", [{"type": "x"}], Annotation),
        ("audio", {"transcript": "a"}, Audio),
        ("images", ["http://x/y.png"], Image),
    ):
        assert len(Decoded("chat", data(chunk({field: value})) + DONE).of(kind)) == 1


def test_every_token_of_a_stream_with_log_probabilities_has_its_own():
    stream = b""
    for number in range(20):
        one = chunk({"content": "x"})
        one["choices"][0]["logprobs"] = {"content": [{"token": "x", "logprob": -number}]}
        stream += data(one)
    decoded = Decoded("chat", stream)
    assert [one.tokens["content"][0]["logprob"] for one in decoded.of(Logprobs)] == [-number for number in range(20)]
    assert decoded.text() == "x" * 20


def test_a_thought_signature_comes_with_its_call():
    call = fragment(None, "c", "f", "{}")
    call["tool_calls"][0]["extra_content"] = {"google": {"thought_signature": "s"}}
    (told,) = Decoded("chat", data(chunk(call), chunk({}, "stop"))).of(ToolCall)
    assert told.message() == {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "s"}},
    }


def test_an_audio_update_with_nothing_but_its_expiry_yields_nothing():
    assert Decoded("chat", data(chunk({"audio": {"expires_at": 1731456250}}))).deltas[1:] == []


def test_the_done_mark_ends_the_stream_without_its_space_and_with_trailing_blanks():
    for mark in (b"data:[DONE]\n\n", b"data: [DONE]\n\n", b"data: [DONE] \t\n\n", b"data:  [DONE]\r\n\r\n"):
        assert Decoded("chat", data(chunk({"content": "x"})) + mark).decoder.done, mark


def test_the_done_mark_inside_the_text_does_not_end_the_stream():
    decoded = Decoded("chat", data(chunk({"content": "[DONE]"}), chunk({"content": " x"})))
    assert not decoded.decoder.done
    assert decoded.text() == "[DONE] x"


def test_what_follows_the_done_mark_is_ignored_in_the_same_read_and_in_the_next():
    stream = data(chunk({"content": "x"})) + DONE + data(chunk({"content": "y"})) + DONE
    assert Decoded("chat", stream).text() == "x"
    assert Decoded("chat", stream, size=7).text() == "x"


def test_a_second_close_gives_nothing_twice():
    decoder = chat.Decoder()
    decoder.decode(sse.Decoder().feed(data(chunk(fragment(0, "c", "f")), USAGE_CHUNK)))
    assert decoder.close()
    assert decoder.close() == []


def test_a_finish_reason_that_shares_its_chunk_with_text_comes_after_the_text():
    assert Decoded("chat", data(chunk({"content": "x"}, "stop"))).deltas[1:] == [Text("x"), Finish("stop")]


def test_json_on_several_data_lines_is_one_event():
    stream = b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"x"}}]}\n\n'
    assert Decoded("chat", stream).text() == "x"


def test_a_whole_completion_yields_the_deltas_of_a_stream():
    body = {
        "id": "chatcmpl-B1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "refusal": None,
                    "reasoning_content": "Hm",
                    "tool_calls": [
                        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "free"}},
                    ],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
    decoder = chat.Decoder()
    deltas = decoder.decode_body(body) + decoder.close()
    assert [type(delta).__name__ for delta in deltas if type(delta) is not ToolCallDelta] == [
        *("Started", "Reasoning", "Text", "ToolCall", "ToolCall", "Finish", "Usage")
    ]
    assert deltas[-3:-1] == [ToolCall(1, "c2", "g", "free", kind="custom"), Finish("stop")]
    assert decoder.done
    assert decoder.failure is None
