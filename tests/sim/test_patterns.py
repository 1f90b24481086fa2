"""Texts that regular expressions match."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.sim.endpoints import patterns

UNDERSTOOD = [
    r"^[A-Z]{2}-[0-9]{3}$",
    r"^(?:a|b(c|d))*$",
    r"^\d{4}-\d{2}-\d{2}T\d\d:\d\d(:\d\d)?Z?$",
    r"[^a-z]+",
    r"^[\w.+-]+@[\w-]+\.[\w.-]+$",
    r"^#?([a-f0-9]{6}|[a-f0-9]{3})$",
    r"^(\([0-9]{3}\))?[0-9]{3}-[0-9]{4}$",
    r"^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
    r"^.{10,12}?$",
    r"\u00e9\x41\t",
    r"^[\d\s-]{3}$",
    r"^(?P<year>\d+)$",
    "a{",
    "",
]


@pytest.mark.parametrize("pattern", UNDERSTOOD)
@pytest.mark.parametrize("seed", range(5))
def test_a_text_is_made_that_the_pattern_matches(pattern, seed):
    text = patterns.example(pattern, random.Random(seed))
    assert text is not None
    assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", ["a{100000}", "((a{9999}){9999}){9999}", "(" * 2_000 + ")" * 2_000, "[a", r"\p{L}"])
def test_a_pattern_that_asks_for_too_much_gets_no_text(pattern):
    assert patterns.example(pattern, random.Random(0)) is None


# What a person writes in a schema: pieces, repeated, in alternatives, between anchors.
PIECES = st.sampled_from(["a", r"\d", r"\w", "[a-f]", "[^x]", ".", r"\.", "-", "(?:ab|c)"])
QUANTIFIERS = st.sampled_from(["", "*", "+", "?", "{2}", "{1,3}", "{2,}", "+?"])
SEQUENCES = st.lists(st.tuples(PIECES, QUANTIFIERS).map("".join), max_size=6).map("".join)


@given(st.lists(SEQUENCES, min_size=1, max_size=3).map("|".join), st.randoms(use_true_random=False))
def test_every_pattern_of_the_subset_gets_a_text_that_matches_all_of_it(alternatives, drawn):
    text = patterns.example(alternatives, drawn)
    assert text is not None
    assert re.fullmatch(alternatives, text)
