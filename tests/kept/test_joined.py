"""An answer whose rest was asked for reads as one in the conversation."""

from __future__ import annotations

from unspool.client.resume.continuation import joined
from unspool.journal.summary import GO_ON


def said(*turns):
    return [{"role": "user" if number % 2 == 0 else "assistant", "content": turn} for number, turn in enumerate(turns)]


def test_the_request_for_the_rest_is_left_out_and_the_parts_are_joined():
    assert joined(said("Hi", "One two ", GO_ON, "three ", GO_ON, "four.", "And?", "Yes.")) == said(
        "Hi", "One two three four.", "And?", "Yes."
    )


def test_what_the_rest_repeats_is_there_once():
    assert joined(said("Hi", "a dark and stormy", GO_ON, "dark and stormy night")) == said(
        "Hi", "a dark and stormy night"
    )


def test_a_rest_that_has_not_come_is_still_asked_for():
    assert joined(said("Hi", "One ", GO_ON)) == said("Hi", "One ", GO_ON)
    assert joined([]) == []
