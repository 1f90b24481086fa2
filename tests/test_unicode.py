"""Bytes that a person gave become text, or are refused; they are never changed unnoticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool import unicode

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\ufeff"))


@given(TEXT, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_text_comes_back_from_every_unicode_encoding_that_says_what_it_is(text, encoding):
    assert unicode.decode(text.encode(encoding), "x") == text


@given(st.binary())
def test_bytes_are_text_that_encodes_to_them_or_are_refused(data):
    try:
        text = unicode.decode(data, "x")
    except unicode.NotText:
        return
    assert data in (text.encode(), text.encode("utf-8-sig")) or data.startswith(
        (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a\nGrüße".encode("latin-1"), r"^notes.txt is not UTF-8 text \(line 2, byte 3\); convert it first"),
        ("hello".encode("utf-16-le"), "^notes.txt has NUL bytes: it is binary, or UTF-16 without a byte order mark$"),
        (b"\xff\xfea", "^notes.txt begins as UTF-16 and is damaged at byte"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data, message):
    with pytest.raises(unicode.NotText, match=message):
        unicode.decode(data, "notes.txt")
