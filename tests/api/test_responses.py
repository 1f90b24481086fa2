"""The Responses API as OpenAI streams it, and as others do."""

import pytest

from unspool import sse
from unspool.api import responses
from unspool.api.deltas import Finish, Reasoning, Refusal, Started, Text, ToolCall, ToolCallDelta, Usage
from unspool.api.parts import Annotation, Audio, Image, Item, Logprobs

from .feeding import DONE, Decoded, created, data, ended, message, piece, response, typed, whole

USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 40,
    "output_tokens_details": {"reasoning_tokens": 32},
    "total_tokens": 51,
}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "in_progress",
    "arguments": "",
    "call_id": "call_1",
    "name": "f",
}


def at(index, **event):
    return {"item_id": "fc_1", "output_index": index, **event}


def added(item, index=0):
    return at(index, type="response.output_item.added", item=item)


def item_done(item, index=0):
    return at(index, type="response.output_item.done", item=item)


def arguments(text, index=0):
    return at(index, type="response.function_call_arguments.delta", delta=text)


def arguments_done(text, index=0, **more):
    return at(index, type="response.function_call_arguments.done", arguments=text, **more)


def summary(text, index, kind="delta"):
    field = "delta" if kind == "delta" else "text"
    return at(0, type=f"response.reasoning_summary_text.{kind}", summary_index=index, **{field: text})


def text_stream(*, usage=None):
    return [
        created(),
        {"type": "response.in_progress", "response": response()},
        added({"id": "rs_1", "type": "reasoning", "encrypted_content": "gAAA", "summary": []}),
        item_done({"id": "rs_1", "type": "reasoning", "encrypted_content": "gBBB", "summary": []}),
        added({"id": "msg_1", "type": "message", "content": []}, 1),
        at(1, type="response.content_part.added", content_index=0, part={"type": "output_text", "text": ""}),
        piece("Hel", output_index=1, logprobs=[], obfuscation="x"),
        piece("lo", output_index=1, logprobs=[], obfuscation="xy"),
        whole("Hello", output_index=1),
        at(1, type="response.content_part.done", content_index=0, part={"type": "output_text", "text": "Hello"}),
        item_done(message("Hello"), 1),
        ended(output=[{"type": "reasoning", "summary": []}, message("Hello")], usage=usage),
    ]


def test_a_text_stream_becomes_start_text_finish_and_usage_in_this_order():
    decoded = Decoded("responses", typed(*text_stream(usage=USAGE)))
    assert decoded.deltas == [
        Started("resp_1", "gpt-5-2025-08-07"),
        Item({"id": "rs_1", "type": "reasoning", "encrypted_content": "gBBB", "summary": []}),
        Text("Hel"),
        Text("lo"),
        Finish("stop"),
        Usage(11, 40, 51, 2, 32, USAGE),
    ]
    assert decoded.decoder.done


def test_what_is_not_text_has_deltas_of_its_own():
    citation = {"type": "url_citation", "url": "http://x", "start_index": 0, "end_index": 4}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "oslo"}}
    picture = {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"}
    click = {"type": "computer_call", "id": "cu", "call_id": "cc1", "action": {"type": "click"}}
    novel = {"type": "thing_of_tomorrow", "id": "t_1"}
    said = message("Oslo is cold.")
    said["phase"] = "final_answer"
    said["content"][0]["annotations"] = [citation]
    logprobs = [{"token": "Oslo", "logprob": -0.2, "top_logprobs": []}]
    partial = {"type": "response.image_generation_call.partial_image", "partial_image_b64": "AA"}
    stream = typed(
        created(),
        item_done(search),
        partial,
        item_done(picture),
        item_done(click),
        {"type": "response.audio.transcript.delta", "delta": "spoken"},
        piece("Oslo is cold.", logprobs=logprobs),
        {"type": "response.output_text.annotation.added", "annotation": citation},
        item_done(said),
        ended(output=[search, picture, click, novel, said]),
    )
    decoded = Decoded("responses", stream)
    assert [one for one in decoded.deltas if type(one) not in (Started, Text, Finish)] == [
        Item(search),
        Image("data:image/png;base64,AA", True),
        Image("data:image/png;base64,AAAA"),
        Item(picture),
        Item(click),
        Audio("", "spoken"),
        Logprobs(logprobs),
        Annotation(citation),
        Item(said),
        Item(novel),
    ]
    assert [one.item["type"] for one in decoded.of(Item) if one.awaits_program] == ["computer_call"]


def test_events_without_an_event_line_are_told_apart_by_their_json():
    assert Decoded("responses", data(*text_stream())).text() == "Hello"


def test_a_done_mark_after_the_terminal_event_changes_nothing():
    assert (
        Decoded("responses", typed(*text_stream()) + DONE).deltas == Decoded("responses", typed(*text_stream())).deltas
    )


def test_a_done_mark_ends_the_connection_and_not_the_answer():
    decoder = Decoded("responses", typed(created(), piece("x")) + DONE).decoder
    assert (decoder.done, decoder.ended) == (True, False)


def test_a_stream_without_its_terminal_event_has_not_ended():
    assert not Decoded("responses", typed(*text_stream()[:-1])).decoder.ended


def test_unknown_event_types_and_fields_are_passed_over():
    stream = typed(
        created() | {"novel": 1},
        {"type": "response.compaction.compacting", "item_id": "x"},
        {"type": "codex.rate_limits", "limits": {}},
        {"type": "acme:trace", "delta": "no"},
        {"type": "response.output_text.annotation.added", "annotation": {"text": "no"}},
        piece("yes"),
    )
    decoded = Decoded("responses", stream)
    assert decoded.text() == "yes"
    assert decoded.decoder.failure is None


def test_keepalives_count_in_the_sequence_and_carry_nothing_else():
    decoded = Decoded("responses", typed(created(), piece("x"), {"type": "keepalive"}))
    assert decoded.deltas[1:] == [Text("x")]
    assert decoded.decoder.last_sequence == 2


def numbered(*events):
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


@pytest.mark.parametrize("harm", ["lost", "doubled", "reordered"])
def test_a_text_that_is_not_the_servers_own_is_not_whole_where_the_numbers_have_a_hole(harm):
    events = numbered(created(), piece("a"), piece("b"), piece("c"), ended(output=[message("abc")]))
    if harm == "lost":
        del events[2]
    elif harm == "doubled":
        events.insert(2, events[2])
    else:
        events[1], events[2] = events[2], events[1]
    decoder = Decoded("responses", data(*events)).decoder
    assert decoder.done
    assert decoder.failure is not None
    assert "lost or duplicated" in decoder.failure.message


def test_a_hole_in_the_numbers_alone_is_no_failure():
    events = numbered(created(), piece("a"), piece("b"), ended(output=[message("ab")]))
    events[2]["sequence_number"] = 7
    decoded = Decoded("responses", data(*events))
    assert decoded.decoder.failure is None
    assert decoded.text() == "ab"


def test_a_text_that_is_not_the_servers_own_is_the_servers_matter_where_the_numbers_have_no_hole():
    events = numbered(created(), piece("<think>a"), piece("b"), ended(output=[message("b")]))
    assert Decoded("responses", data(*events)).decoder.failure is None


def test_the_last_sequence_is_that_of_the_last_event_that_has_one():
    events = [created(), piece("x"), piece("y")]
    assert Decoded("responses", typed(*events)).decoder.last_sequence == 2
    assert Decoded("responses", typed(*events) + data(piece("z"))).decoder.last_sequence == 2
    assert Decoded("responses", data(*events)).decoder.last_sequence is None


def test_a_refusal_is_refusal_not_text():
    stream = typed(
        created(), piece("I can", "refusal"), piece("not", "refusal"), whole("I cannot", "refusal", "refusal")
    )
    assert Decoded("responses", stream).of(Refusal) == [Refusal("I can"), Refusal("not")]


def test_parts_of_a_reasoning_summary_are_kept_apart_by_a_blank_line():
    stream = typed(created(), summary("**A**", 0), summary(" a", 0), summary("**B**", 1), summary("**B**", 1, "done"))
    decoded = Decoded("responses", stream)
    assert decoded.reasoning() == "**A** a\n\n**B**"
    assert {delta.kind for delta in decoded.of(Reasoning)} == {"summary"}


@pytest.mark.parametrize("kind", ["reasoning_text", "reasoning"])
def test_reasoning_of_open_weight_models_is_raw(kind):
    assert Decoded("responses", typed(created(), piece("Hm", kind))).of(Reasoning) == [Reasoning("Hm", 0, "raw")]


def test_reasoning_part_events_of_vllm_repeat_nothing():
    part = {"type": "reasoning_text", "text": "Hm"}
    place = {"item_id": "rs", "output_index": 0, "content_index": 0}
    stream = typed(
        created(),
        {"type": "response.reasoning_part.added", **place, "part": part | {"text": ""}},
        piece("Hm", "reasoning_text"),
        whole("Hm", "reasoning_text"),
        {"type": "response.reasoning_part.done", **place, "part": part},
    )
    assert Decoded("responses", stream).reasoning() == "Hm"


# Tool calls


def test_a_function_call_yields_its_fragments_and_then_one_whole_call():
    done = CALL | {"status": "completed", "arguments": '{"a":1}'}
    stream = typed(
        created(),
        added(CALL),
        arguments('{"a"'),
        arguments(":1}"),
        arguments_done('{"a":1}'),
        item_done(done),
        ended(output=[done]),
    )
    assert Decoded("responses", stream).deltas[1:] == [
        ToolCallDelta(0, "call_1", "f", ""),
        ToolCallDelta(0, None, None, '{"a"'),
        ToolCallDelta(0, None, None, ":1}"),
        ToolCall(0, "call_1", "f", '{"a":1}'),
        Finish("stop"),
    ]


@pytest.mark.parametrize("kept", [[5], [4, 5], [6], [1, 6], [1, 2, 3], [1, 4], [1, 2, 6], [2, 3, 5]])
def test_a_function_call_is_told_exactly_once_whichever_of_its_events_come(kept):
    done = CALL | {"status": "completed", "arguments": "{}"}
    events = {
        1: added(CALL),
        2: arguments("{"),
        3: arguments("}"),
        4: arguments_done("{}"),
        5: item_done(done),
        6: ended(output=[done]),
    }
    decoded = Decoded("responses", typed(created(), *(events[number] for number in kept)))
    assert decoded.of(ToolCall) == [ToolCall(0, "call_1", "f", "{}")]
    assert "".join(delta.arguments for delta in decoded.of(ToolCallDelta)) == "{}"


def test_function_calls_that_interleave_are_merged_apart_and_numbered_in_their_order():
    other = CALL | {"id": "fc_2", "call_id": "call_2", "name": "g"}
    stream = typed(
        created(),
        added(CALL, 1),
        added(other, 2),
        arguments("{", 1),
        arguments("[", 2),
        arguments("}", 1),
        arguments("]", 2),
    )
    assert Decoded("responses", stream).of(ToolCall) == [
        ToolCall(0, "call_1", "f", "{}"),
        ToolCall(1, "call_2", "g", "[]"),
    ]


def test_a_custom_tool_call_streams_its_input():
    item = {"type": "custom_tool_call", "call_id": "call_1", "name": "sh", "input": ""}
    stream = typed(
        created(),
        added(item),
        at(0, type="response.custom_tool_call_input.delta", delta="ls"),
        at(0, type="response.custom_tool_call_input.done", input="ls -l"),
        item_done(item | {"input": "ls -l"}),
    )
    assert Decoded("responses", stream).of(ToolCall) == [ToolCall(0, "call_1", "sh", "ls -l", kind="custom")]


def test_calls_that_the_server_makes_itself_are_not_tool_calls():
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    mcp = at(0, type="response.mcp_call_arguments.delta", delta="{}")
    assert (
        Decoded("responses", typed(created(), added(item), mcp, item_done(item), ended(output=[item]))).of(ToolCall)
        == []
    )


# What was never streamed


def test_text_that_comes_only_in_the_terminal_snapshot_is_given_out():
    assert Decoded("responses", typed(created(), ended(output=[message("Hello")]))).text() == "Hello"


def test_text_that_comes_only_when_its_part_is_done_is_given_out_once():
    assert Decoded("responses", typed(created(), whole("Hello"), ended(output=[message("Hello")]))).text() == "Hello"


@pytest.mark.parametrize("last", [whole("Hello"), ended(output=[message("Hello")])])
def test_the_rest_of_a_text_is_given_out_when_the_whole_begins_with_what_came(last):
    assert Decoded("responses", typed(created(), piece("Hel"), last)).of(Text) == [Text("Hel"), Text("lo")]


@pytest.mark.parametrize("last", [whole("Howdy"), whole("H"), ended(output=[message("Howdy")]), ended(output=[])])
def test_a_whole_that_contradicts_what_came_adds_nothing(last):
    assert Decoded("responses", typed(created(), piece("Hello"), last)).text() == "Hello"


def test_a_server_that_numbers_its_output_otherwise_in_the_snapshot_does_not_repeat_its_text():
    snapshot = [{"type": "reasoning", "summary": []}, message("Hello")]
    assert Decoded("responses", typed(created(), piece("Hello"), ended(output=snapshot))).text() == "Hello"


def test_a_server_that_numbers_a_part_otherwise_when_it_is_done_does_not_repeat_its_text():
    assert Decoded("responses", typed(created(), piece("Hello"), whole("Hello", output_index=1))).text() == "Hello"


def test_interleaved_parts_are_not_repeated_when_they_are_done():
    events = [piece("A"), piece("B", output_index=1), piece("a"), piece("b", output_index=1)]
    wholes = [whole("Aa"), whole("Bb", output_index=1), ended(output=[message("Aa"), message("Bb")])]
    assert Decoded("responses", typed(created(), *events, *wholes)).text() == "ABab"


# Ends


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter", "max_messages", "steered"])
def test_an_incomplete_response_finishes_with_its_own_reason(reason):
    decoded = Decoded("responses", typed(created(), ended("incomplete", incomplete_details={"reason": reason})))
    assert decoded.of(Finish) == [Finish(reason)]
    assert decoded.decoder.done


def test_an_incomplete_response_that_gives_no_reason_is_not_taken_for_whole():
    assert Decoded("responses", typed(created(), ended("incomplete"))).of(Finish) == [Finish("incomplete")]


def test_a_failed_response_is_a_failure_with_its_code_and_no_finish():
    error = {"code": "server_error", "message": "The model failed."}
    decoded = Decoded("responses", typed(created(), piece("x"), ended("failed", error=error)))
    assert (decoded.message, decoded.decoder.failure.code) == ("The model failed.", "server_error")
    assert decoded.of(Finish) == []
    assert decoded.decoder.done


def test_a_response_that_was_cancelled_says_so_whatever_its_event_is_called():
    for event in (ended("cancelled"), {"type": "response.completed", "response": response("cancelled")}):
        assert Decoded("responses", typed(created(), event)).of(Finish) == [Finish("cancelled")]


def test_events_after_the_terminal_one_are_ignored():
    stream = typed(*text_stream(), piece("more"))
    assert Decoded("responses", stream).text() == Decoded("responses", stream, size=5).text() == "Hello"


def test_a_terminal_event_without_its_response_still_ends_the_stream():
    assert Decoded("responses", typed(created(), piece("x"), {"type": "response.completed"})).of(Finish) == [
        Finish("stop")
    ]


def test_a_stream_that_resumes_in_the_middle_starts_without_an_id():
    decoded = Decoded("responses", typed(piece("lo"), ended()))
    assert decoded.deltas[0] == Started(None, None)
    assert decoded.decoder.response_id == "resp_1"


def test_the_decoder_takes_a_stream_over_two_connections():
    decoder = responses.Decoder()
    first = decoder.decode(sse.Decoder().feed(typed(created(), piece("Hel"))))
    second = decoder.decode(sse.Decoder().feed(typed(piece("lo"), ended(output=[message("Hello")]))))
    assert first + second == [Started("resp_1", "gpt-5-2025-08-07"), Text("Hel"), Text("lo"), Finish("stop")]


def test_a_whole_response_yields_the_deltas_of_a_stream_in_the_order_of_its_output():
    reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in ("A", "B")]}
    decoder = responses.Decoder()
    body = response("completed", output=[reasoning, message("Hi"), CALL | {"arguments": "{}"}], usage=USAGE)
    assert decoder.decode_body(body) + decoder.close() == [
        Started("resp_1", "gpt-5-2025-08-07"),
        Reasoning("A", 0, "summary"),
        Reasoning("\n\n", 0, "summary"),
        Reasoning("B", 0, "summary"),
        Text("Hi"),
        ToolCallDelta(0, "call_1", "f", ""),
        ToolCallDelta(0, None, None, "{}"),
        ToolCall(0, "call_1", "f", "{}"),
        Finish("stop"),
        Usage(11, 40, 51, 2, 32, USAGE),
    ]


def test_a_response_still_in_progress_has_not_ended():
    decoder = responses.Decoder()
    assert decoder.decode_body(response("in_progress", output=[message("Hi")])) == [
        Started("resp_1", "gpt-5-2025-08-07"),
        Text("Hi"),
    ]
    assert not decoder.ended
