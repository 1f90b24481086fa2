"""Foreign text made safe: all of it shown, none of it obeyed, however it is cut."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.terminal.safety import Sanitizer, one_line

_ODD = st.sampled_from(
    "\r\n\t\x00\x1b\x07\x08\x7f\x85\x9b\x9d\u061c\u200b\u200d\u2028\u202e\u2066\ufeff\U000e0041é🙂a "
)
_TEXT = st.text(_ODD | st.characters(exclude_categories=["Cs"]))


@settings(max_examples=rounds(300), derandomize=True)
@given(_TEXT)
def test_nothing_a_terminal_obeys_is_left(text):
    for mark in Sanitizer().feed(text):
        assert mark in "\n\t" or unicodedata.category(mark) != "Cc"
        assert unicodedata.bidirectional(mark) not in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@settings(max_examples=rounds(300), derandomize=True)
@given(_TEXT, st.data())
def test_where_it_is_cut_makes_no_difference(text, data):
    cut = data.draw(st.integers(0, len(text)))
    whole, parts = Sanitizer(), Sanitizer()
    assert parts.feed(text[:cut]) + parts.feed(text[cut:]) == whole.feed(text)


@settings(max_examples=rounds(100), derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_ordinary_text_is_left_as_it_is(text):
    assert Sanitizer().feed(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("\x1b]52;c;cm0=\x07", "␛]52;c;cm0=␇"),
        ("\x9b2J", "\ufffd2J"),
        ("\u202eevil", "<U+202E>evil"),
        ("\u061c", "<U+061C>"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("می‌خواهم", "می‌خواهم"),
    ],
)
def test_what_is_shown_for_it(text, shown):
    assert Sanitizer().feed(text) == shown


@settings(max_examples=rounds(100), derandomize=True)
@given(_TEXT)
def test_a_message_is_one_line(text):
    assert len(one_line(text).split("\n")) == 1
    assert one_line(text) == one_line(text).strip()
