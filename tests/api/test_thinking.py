"""``<think>…</think>`` at the head of an answer is reasoning, however the server cuts it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unspool.api.deltas import Finish, Reasoning, Text
from unspool.api.thinking import ThinkTags


def _read(pieces, finish=True, choice=0):
    tags = ThinkTags()
    deltas = []
    for piece in pieces:
        deltas += tags.feed([Text(piece, choice)])
    if finish:
        deltas += tags.feed([Finish("stop", choice)])
    deltas += tags.close()
    thought = "".join(one.text for one in deltas if type(one) is Reasoning)
    return thought, "".join(one.text for one in deltas if type(one) is Text)


@pytest.mark.parametrize(
    ("text", "thought", "said"),
    [
        ("Hello <think>no</think>", "", "Hello <think>no</think>"),
        ("<think>a</think>b", "a", "b"),
        ("\n<think>\na b\n</think>\n\nc d", "a b\n", "c d"),
        ("<think>\n\n</think>\n\nyes", "", "yes"),
        ("<think>a < b </thin c</think>d", "a < b </thin c", "d"),
        ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
        ("<thinking>a</thinking>b", "", "<thinking>a</thinking>b"),
        ("<think>a</think>", "a", ""),
        ("<thi", "", "<thi"),
        ("  \n", "", "  \n"),
        ("", "", ""),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_only_a_closed_tag_at_the_head_is_reasoning(text, thought, said, size):
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert _read(pieces) == (thought, said)
    assert _read(pieces, finish=False) == (thought, said)


@pytest.mark.parametrize("text", ["<think>never closed", " <think>never </thin", "<think>"])
def test_a_tag_that_is_never_closed_is_text_in_the_end(text):
    assert _read(list(text))[1] == text
    assert _read([text], finish=False)[1] == text


_PIECES = st.sampled_from(["<think>", "</think>", "<", "think>", "</", "a", " ", "\n", "é"])


@given(st.lists(_PIECES, max_size=12), st.data())
@example(["<think>", "a", "</", "think>", "b"], None)
def test_how_the_text_is_cut_changes_nothing(pieces, data):
    text = "".join(pieces)
    thought, said = _read([text])
    assert _read(pieces) == (thought, said)
    assert _read(list(text)) == (thought, said)
    if not text.lstrip().startswith("<think>"):
        assert (thought, said) == ("", text)


def test_choices_are_told_apart():
    tags = ThinkTags(2)
    deltas = tags.feed([Text("<think>a", 0), Text("b", 1), Text("</think>c", 0), Text("d", 1)])
    assert [(type(one), one.text, one.choice) for one in deltas] == [
        (Reasoning, "a", 0),
        (Text, "b", 1),
        (Text, "c", 0),
        (Text, "d", 1),
    ]
    assert tags.is_over


def test_ordinary_text_is_handed_on_as_it_is_and_the_filter_is_over():
    tags = ThinkTags()
    piece = Text("Hello")
    assert tags.feed([piece])[0] is piece
    assert tags.is_over
