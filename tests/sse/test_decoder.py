"""The decoder against the rules of the WHATWG standard, one by one, and against a literal reading of its algorithm."""

from __future__ import annotations

import base64
import itertools
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.sse import Decoder, Event, Events, EventTooLarge

WPT = json.loads((Path(__file__).parent / "wpt.json").read_text())


def decode(*chunks: bytes) -> list[Event]:
    decoder = Decoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def data(*chunks: bytes) -> list[str]:
    return [event.data for event in decode(*chunks)]


# --- web-platform-tests -------------------------------------------------------------------------------------------------


def cuttings(chunks: list[bytes]) -> dict[str, list[list[bytes]]]:
    whole = b"".join(chunks)
    return {
        "as given": [chunks],
        "whole": [[whole]],
        "a byte at a time": [[whole[i : i + 1] for i in range(len(whole))]],
        "cut in two everywhere": [[whole[:i], whole[i:]] for i in range(len(whole) + 1)],
    }


@pytest.mark.parametrize("way", ["as given", "whole", "a byte at a time", "cut in two everywhere"])
@pytest.mark.parametrize("stream", WPT["streams"], ids=lambda stream: stream["id"])
def test_web_platform_stream_gives_its_events(stream: dict, way: str) -> None:
    chunks = [base64.b64decode(chunk) for chunk in stream["chunks"]]
    for cutting in cuttings(chunks)[way]:
        decoder = Decoder()
        events = [event for chunk in cutting for event in decoder.feed(chunk)]
        assert decoder.close() == []
        assert [[event.type, event.data, event.id] for event in events] == stream["events"]
        assert decoder.last_event_id == stream["final_last_event_id"]
        assert decoder.retry == stream["retry"]


# --- decoding bytes -----------------------------------------------------------------------------------------------------


def test_malformed_utf8_becomes_replacement_characters() -> None:
    assert data(b"data: a\xffb\xc3\n\n") == ["a\ufffdb\ufffd"]


def test_a_truncated_character_before_a_line_end_becomes_one_replacement_character() -> None:
    assert data(b"data: \xe2\x82\ndata: x\n\n") == ["\ufffd\nx"]


def test_overlong_and_surrogate_encodings_do_not_raise() -> None:
    assert "\ufffd" in data(b"data: \xc0\xaf \xed\xa0\x80 \xf8\x88\x80\x80\x80\n\n")[0]


@pytest.mark.parametrize("cut", range(4))
def test_one_byte_order_mark_is_stripped_wherever_it_is_cut(cut: int) -> None:
    stream = b"\xef\xbb\xbfdata: 1\n\n"
    assert data(stream[:cut], stream[cut:]) == ["1"]


def test_only_the_first_byte_order_mark_is_stripped() -> None:
    assert data(b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\ndata: 2\n\n") == ["2"]
    assert data(b"data: \xef\xbb\xbf1\n\n") == ["\ufeff1"]


def test_a_stream_that_begins_like_a_byte_order_mark_loses_nothing() -> None:
    assert data(b"\xef", b"\xbbdata: 1\n", b"data: 2\n\n") == ["2"]


@pytest.mark.parametrize("character", ["é", "€", "😀"])
def test_a_character_may_be_cut_at_any_byte(character: str) -> None:
    stream = f"data: {character}\n\n".encode()
    for cut in range(len(stream)):
        assert data(stream[:cut], stream[cut:]) == [character]


# --- lines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_each_line_end_ends_a_line(end: bytes) -> None:
    assert decode(b"event: x" + end + b"data: 1" + end + end) == [Event("x", "1")]


@pytest.mark.parametrize("not_an_end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_no_other_character_ends_a_line(not_an_end: str) -> None:
    assert data(f"data: a{not_an_end}b\n\n".encode()) == [f"a{not_an_end}b"]


def test_a_crlf_cut_between_chunks_is_one_line_end() -> None:
    assert data(b"data: 1\r", b"\ndata: 2\r", b"\n\r", b"\n") == ["1\n2"]


def test_an_empty_chunk_between_cr_and_lf_changes_nothing() -> None:
    assert data(b"data: 1\r", b"", b"\n\r", b"", b"\n") == ["1"]


@pytest.mark.parametrize("blank", [b"\n\r\n", b"\r\n\n", b"\n\r", b"\r\r", b"\r\n\r"])
def test_line_ends_mix_also_in_the_blank_line(blank: bytes) -> None:
    assert data(b"data: 1" + blank + b"data: 2\n\n") == ["1", "2"]


def test_a_bare_cr_acts_at_once() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: 1\r\r") == [Event("message", "1")]
    assert decoder.feed(b"\ndata: 2\r\r") == [Event("message", "2")]


# --- fields -------------------------------------------------------------------------------------------------------------


def test_a_comment_is_no_event_and_is_counted() -> None:
    decoder = Decoder()
    assert decoder.feed(b": ping\n\n:\n\n:data: 1\n\n") == []
    assert decoder.comments == 3


def test_the_first_colon_splits_and_others_stay() -> None:
    assert data(b"data:a:b: c\n\n") == ["a:b: c"]


def test_exactly_one_blank_after_the_colon_is_removed() -> None:
    assert data(b"data:  a \n\n", b"data:\tb\n\n", b"data:c\n\n") == [" a ", "\tb", "c"]


def test_a_line_without_a_colon_is_a_field_without_a_value() -> None:
    assert data(b"data\ndata\n\n") == ["\n"]
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\nid\ndata: b\n\n")
    assert decoder.last_event_id == ""


@pytest.mark.parametrize("name", [b"Data", b" data", b"data ", b"datax", b"da\0ta", b"dat", b"\xef\xbb\xbfdata"])
def test_a_name_that_is_not_spelled_so_is_unknown(name: bytes) -> None:
    assert data(b"x: y\n" + name + b": 1\n\n") == []


def test_the_last_event_name_wins_and_an_empty_one_means_message() -> None:
    assert decode(b"event: a\nevent: b\ndata: 1\n\n") == [Event("b", "1")]
    assert decode(b"event: a\nevent:\ndata: 1\n\n") == [Event("message", "1")]


def test_every_empty_data_line_counts() -> None:
    assert data(b"data:\ndata: a\ndata:\ndata:\n\n") == ["\na\n\n"]


def test_null_characters_in_data_are_kept() -> None:
    assert data(b"data: a\0b\n\n") == ["a\0b"]


@pytest.mark.parametrize("value", [b"\0", b"a\0", b"\0a", b"a\0b"])
def test_an_id_with_a_null_character_is_ignored(value: bytes) -> None:
    assert decode(b"id: 1\ndata: a\n\nid: " + value + b"\ndata: b\n\n")[1].id == "1"


@pytest.mark.parametrize(("value", "milliseconds"), [(b"3000", 3000), (b"03000", 3000), (b"0", 0), (b"000", 0)])
def test_a_retry_of_digits_is_taken_in_base_ten(value: bytes, milliseconds: int) -> None:
    decoder = Decoder()
    assert decoder.feed(b"retry: " + value + b"\ndata: x\n\ndata: y\n\n") == [
        Event("message", "x", "", milliseconds),
        Event("message", "y"),
    ]
    assert decoder.retry == milliseconds


@pytest.mark.parametrize("value", ["", "+5", "-5", "1_000", " 10", "10 ", "1.5", "0x10", "٣", "²", "1e3", "a"])
def test_a_retry_that_is_not_only_ascii_digits_is_ignored(value: str) -> None:
    decoder = Decoder()
    decoder.feed(f"retry: {value}\n\n".encode())
    # One blank after the colon is not part of the value.
    assert decoder.retry is None


def test_a_retry_of_ten_thousand_digits_does_not_raise() -> None:
    decoder = Decoder()
    decoder.feed(b"retry: " + b"9" * 10_000 + b"\n\n")
    assert decoder.retry is not None
    assert decoder.retry > 10**12


# --- dispatch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [b"id: 1\n\n", b"event: x\n\n", b"retry: 5\n\n", b": c\n\n", b"\n\n\n", b"x: y\n\n"])
def test_a_block_without_data_is_no_event_also_after_an_id_was_seen(block: bytes) -> None:
    assert data(block) == []
    assert data(b"id: 7\ndata: a\n\n", block) == ["a"]


def test_a_block_of_an_id_alone_sets_the_last_event_id() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 5\n\n")
    assert decoder.last_event_id == "5"


def test_a_block_of_a_name_alone_does_not_name_the_next_event() -> None:
    assert decode(b"event: x\n\ndata: 1\n\n") == [Event("message", "1")]


@pytest.mark.parametrize("block", [b"data:\n\n", b"data\n\n", b"data: \n\n"])
def test_an_empty_data_line_is_an_event(block: bytes) -> None:
    assert decode(block) == [Event("message", "")]


def test_exactly_one_line_end_is_taken_off_the_data() -> None:
    assert data(b"data: a\ndata:\n\n") == ["a\n"]


def test_the_id_stays_in_force_until_it_changes_and_the_type_does_not() -> None:
    assert decode(b"id: 1\nevent: x\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n") == [
        Event("x", "a", "1"),
        Event("message", "b", "1"),
        Event("message", "c", "2"),
    ]


def test_an_id_after_the_data_is_that_events_own() -> None:
    assert decode(b"data: a\nid: 9\n\n") == [Event("message", "a", "9")]


def test_an_event_without_its_blank_line_is_dropped_and_its_id_with_it() -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert decoder.close() == []
    assert decoder.last_event_id == "1"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r"])
def test_an_event_without_its_blank_line_is_given_on_request(end: bytes) -> None:
    decoder = Decoder()
    decoder.feed(b"id: 1\ndata: a\n\nevent: x\ndata: b" + end)
    assert decoder.close(dispatch_incomplete=True) == [Event("x", "b", "1")]
    assert decoder.close(dispatch_incomplete=True) == []


# --- size ---------------------------------------------------------------------------------------------------------------


def test_an_event_past_the_limit_raises_and_one_at_it_does_not() -> None:
    decoder = Decoder(max_event_size=10)
    assert [one.data for one in decoder.feed(b"data: 1234\n\n")] == ["1234"]
    with pytest.raises(EventTooLarge, match="max_event_size"):
        decoder.feed(b"data: 12345678901")


def test_many_data_lines_count_together_towards_the_limit() -> None:
    decoder = Decoder(max_event_size=10)
    for _ in range(10):
        decoder.feed(b"data: 1\n")
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: 1\n")


@pytest.mark.parametrize("line", [b"x" * 16_000, b"data: " + b"x" * 250 + b"\n"], ids=["one line", "many lines"])
def test_an_event_of_64_megabytes_does_not_take_quadratic_time(line: bytes) -> None:
    """A decoder that copies what it holds for each chunk needs minutes; a linear one well under a second or two."""
    decoder = Decoder()
    decoder.feed(b"data: ")
    began = time.process_time()
    for _ in range((64 << 20) // len(line)):
        decoder.feed(line)
    (event,) = decoder.feed(b"\n\n")
    assert time.process_time() - began < 15
    assert len(event.data) > 60 << 20


# --- any bytes, any cuts ------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        b"data",
        b"data: ",
        b"data:",
        b"id: 1",
        b"id",
        b"id: \x00",
        b"event: x",
        b"event",
        b"retry: 10",
        b"retry: x",
        b":",
        b": c",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\xef\xbb\xbf",
        b"\xe2\x82\xac",
        b"\xff",
        b"\x00",
        b" ",
        b"a",
        b"\xe2\x80\xa8",
        b"0",
    ]
)
STREAMS = st.lists(PIECES, max_size=60).map(b"".join) | st.binary(max_size=200)


def literal(stream: bytes) -> tuple[list[tuple[str, str, str]], str, int | None]:
    """The standard's algorithm as it is written, a character at a time."""
    text = stream.decode("utf-8", "replace")
    text = text.removeprefix("\ufeff")
    lines, line, i = [], "", 0
    while i < len(text):
        if text[i] in "\r\n":
            lines.append(line)
            line = ""
            if text[i] == "\r" and text[i + 1 : i + 2] == "\n":
                i += 1
        else:
            line += text[i]
        i += 1
    events, data_buffer, type_buffer, id_buffer, last_id, retry = [], "", "", "", "", None
    for line in lines:
        if line == "":
            last_id = id_buffer
            if data_buffer != "":
                events.append((type_buffer or "message", data_buffer[:-1], last_id))
            data_buffer = type_buffer = ""
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value[:1] == " " else value
        if name == "data":
            data_buffer += value + "\n"
        elif name == "event":
            type_buffer = value
        elif name == "id" and "\0" not in value:
            id_buffer = value
        elif name == "retry" and value and all(c in "0123456789" for c in value):
            retry = int(value)
    return events, last_id, retry


@settings(max_examples=rounds(400), deadline=None, derandomize=True)
@given(STREAMS)
def test_events_are_those_of_the_standards_own_algorithm(stream: bytes) -> None:
    decoder = Decoder()
    events = [(event.type, event.data, event.id) for event in decoder.feed(stream)]
    expected, last_id, retry = literal(stream)
    assert events == expected
    assert decoder.last_event_id == last_id
    assert decoder.retry == retry


@settings(max_examples=rounds(400), deadline=None, derandomize=True)
@given(STREAMS, st.lists(st.integers(0, 300), max_size=12))
def test_the_cutting_of_a_stream_never_changes_its_events(stream: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert decode(*chunks) == decode(stream)
    taking = Decoder()
    assert [event for chunk in chunks for event in taking.take(chunk)] == decode(stream)
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == decode(stream)


# --- runs ---------------------------------------------------------------------------------------------------------------


def test_events_that_differ_in_their_data_alone_are_one_run() -> None:
    decoder = Decoder()
    (plain,) = decoder.take(b"data: a\n\ndata: \n\ndata: b\n\n").runs
    assert (plain.type, plain.utf8, plain.together, plain.id) == ("message", [b"a", b"", b"b"], b"ab", "")
    (named,) = decoder.take(b"event: x\ndata: c\n\nevent: x\ndata: d\n\n").runs
    assert (named.type, named.utf8, named.together) == ("x", [b"c", b"d"], b"cd")
    assert [run.type for run in decoder.take(b"event: x\ndata: 1\n\nevent: y\ndata: 2\n\ndata: 3\n\n").runs] == [
        "x",
        "y",
        "message",
    ]


@settings(max_examples=rounds(200), deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(["message", "x"]), st.text(max_size=4), st.sampled_from(["", "7"]))))
def test_events_are_the_same_as_runs(given: list[tuple[str, str, str]]) -> None:
    events = [Event(*one) for one in given]
    runs = Events.of(events)
    assert list(runs) == events
    assert len(runs) == len(events)
    assert bool(runs) == bool(events)
    assert all(run.together == b"".join(run.utf8) for run in runs.runs)
    for event in events:
        runs.append(event)
    assert list(runs) == events * 2
    runs.clear()
    assert not runs
