"""The encoder: whatever it writes, the decoder reads back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.sse import Decoder, Event, encode, encode_comment

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
ONE_LINE = TEXT.map(lambda text: text.replace("\n", "").replace("\r", ""))


@settings(max_examples=rounds(300), deadline=None, derandomize=True)
@given(TEXT, ONE_LINE, ONE_LINE, st.none() | st.integers(0, 10**6))
def test_what_is_encoded_decodes_to_itself(data: str, type: str, id: str, retry: int | None) -> None:
    id = id.replace("\0", "")
    data = data.replace("\r\n", "\n").replace("\r", "\n")
    assert Decoder().feed(encode(data, type=type, id=id, retry=retry)) == [Event(type or "message", data, id, retry)]


def test_a_message_is_written_as_openai_writes_it() -> None:
    assert encode('{"a":1}') == b'data: {"a":1}\n\n'
    assert encode("x", type="response.created") == b"event: response.created\ndata: x\n\n"


def test_every_line_end_in_data_becomes_a_data_line() -> None:
    assert encode("a\r\nb\rc\n") == b"data: a\ndata: b\ndata: c\ndata: \n\n"


@pytest.mark.parametrize("value", ["a\nb", "a\rb"])
def test_a_line_end_in_a_type_or_id_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode("x", type=value)
    with pytest.raises(ValueError, match="line end"):
        encode("x", id=value)


def test_a_null_character_in_an_id_is_refused() -> None:
    with pytest.raises(ValueError, match=r"U\+0000"):
        encode("x", id="a\0b")


def test_a_comment_is_no_event_whatever_its_text() -> None:
    decoder = Decoder()
    assert decoder.feed(encode_comment("data: x\n\ndata: y\r\nz") + encode_comment()) == []
    assert decoder.comments == 5
