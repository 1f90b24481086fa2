"""The seam between a cut answer and its continuation: an exact repetition is taken away, and never anything else."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.client.resume.continuation import Seam

SHORTEST, LONGEST = 8, 400

# Few letters, so that texts repeat themselves and each other.
_WORDS = st.text(st.sampled_from("ab \n"), max_size=60)
_TEXTS = st.one_of(
    _WORDS,
    st.builds(lambda unit, count: unit * count, st.text("ab", min_size=1, max_size=9), st.integers(0, 80)),
    st.text(max_size=40),
)


def longest_overlap(before: str, after: str) -> int:
    """How many characters ``after`` repeats of the end of ``before``: the definition, tried from the longest."""
    for length in range(min(len(before), len(after), LONGEST), SHORTEST - 1, -1):
        if before.endswith(after[:length]):
            return length
    return 0


def joined(before: str, pieces: list[str]) -> str:
    seam = Seam(before)
    return "".join([*(seam.feed(piece) for piece in pieces), seam.close()])


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({min(place, len(text)) for place in places})
    return [text[first:last] for first, last in zip([0, *ends], [*ends, len(text)], strict=True)]


@settings(max_examples=rounds(1500), deadline=None, derandomize=True)
@given(_TEXTS, _TEXTS, _TEXTS, st.lists(st.integers(0, 300), max_size=12))
@example("the end of it", "", " and more", [])
@example("abcabcabcabc", "abcabcabcabc", "abc", [1, 2, 3])
@example("x" * 500, "x" * 450, "y", [100])
def test_exactly_the_repetition_is_taken_away(before: str, shared: str, after: str, places: list[int]) -> None:
    before += shared
    for continuation in (shared + after, after):
        pieces = cut(continuation, places)
        assert "".join(pieces) == continuation
        assert joined(before, pieces) == continuation[longest_overlap(before, continuation) :]


@settings(max_examples=rounds(300), deadline=None, derandomize=True)
@given(_TEXTS, _TEXTS)
def test_letter_by_letter_gives_what_one_piece_gives(before: str, after: str) -> None:
    assert joined(before, list(after)) == joined(before, [after])


@settings(max_examples=rounds(300), deadline=None, derandomize=True)
@given(_TEXTS, _TEXTS, st.lists(st.integers(0, 300), max_size=12))
def test_what_is_shown_so_far_is_never_taken_back(before: str, after: str, places: list[int]) -> None:
    whole = joined(before, [after])
    seam, shown = Seam(before), ""
    for piece in cut(after, places):
        shown += seam.feed(piece)
        assert whole.startswith(shown)


def test_what_is_no_repetition_is_not_held_back() -> None:
    seam = Seam("It was a dark and stormy night")
    assert seam.feed("; the rain") == "; the rain"


def test_a_repetition_of_seven_characters_stays() -> None:
    assert joined("so it goes 1234567", ["1234567 on"]) == "1234567 on"
    assert joined("so it goes 12345678", ["12345678 on"]) == " on"
