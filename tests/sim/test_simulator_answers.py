"""The texts, the tokens they are cut into, and where choices end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.sim.endpoints import answer, texts, tokens


@given(st.text())
def test_tokens_join_to_the_text(text):
    assert "".join(tokens.split(text)) == text


def test_a_word_keeps_the_space_before_it():
    assert tokens.split("Hello, big world\n    x = 1") == [
        "Hello",
        ",",
        " big",
        " world",
        "\n",
        "   ",
        " x",
        " =",
        " 1",
    ]


def test_a_token_is_about_four_characters():
    text = texts.markdown("What is Python?")
    assert 3.5 < len(text) / tokens.count(text) < 4.5


@pytest.mark.parametrize("prompt", ["What is Python?", "what is python", " WHAT'S PYTHON?! ", "What is   Python"])
def test_the_question_about_python_is_recognised_loosely(prompt):
    assert texts.markdown(prompt).startswith("# What is Python?")
    assert texts.prose(prompt).startswith("\n\nPython is")


@given(st.text(), st.sampled_from(["", "Answer 1 of 2"]))
def test_every_answer_says_that_no_model_wrote_it(prompt, label):
    for text in (texts.markdown(prompt, label), texts.prose(prompt, label)):
        assert "simulator" in text
        assert "model" in text


def test_a_prompt_is_quoted_line_by_line():
    assert "\n> Tell me\n> a story\n" in texts.markdown("Tell me\na story")


def test_a_long_prompt_is_quoted_by_its_beginning():
    assert len(texts.markdown("word " * 10_000)) < 2_000


@pytest.mark.parametrize(("asked", "length"), [("40", 40), ("4000", 4000), ("4,000", 4000)])
def test_an_answer_can_be_asked_for_by_its_length(asked, length):
    for write in (texts.markdown, texts.prose):
        assert tokens.count(write(f"Tell me a story in {asked} tokens.")) == length


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_a_choice_ends_before_the_first_stop_sequence(text, one, other):
    ended = answer.end(text, stop=[one, other]).text
    assert text.startswith(ended)
    assert one not in ended
    assert other not in ended


@given(st.text(), st.integers(0, 9))
def test_a_choice_is_cut_by_its_limit_exactly_when_it_says_so(text, limit):
    choice = answer.end(text, limit=limit)
    assert len(choice.tokens) <= limit
    assert (choice.text != text) == (choice.finish_reason == "length")


def test_a_shorter_choice_ends_while_the_other_goes_on():
    short, long = answer.end("one"), answer.end("one two")
    assert list(answer.rounds([short, long])) == [
        [(0, "one"), (1, "one")],
        [(0, None), (1, " two")],
        [(1, None)],
    ]
