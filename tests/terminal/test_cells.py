"""Cell widths: of a code point, of what a person sees as one character, and of a text that is cut."""

import unicodedata

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st
from wcwidth.table_mc import CATEGORY_MC

from unspool.terminal.cells import cells, clip, clusters, fold, pad, width_of


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("नमस्ते दुनिया", 10),
        ("हिंदी", 4),
        ("தமிழ்", 4),
        ("বাংলা", 5),
        ("ไทยกำลัง", 7),
        ("العَرَبِيَّة", 7),
        ("한국어", 6),
        ("한", 2),
        ("日本語", 6),
        ("e\u0301", 1),
        ("🇩🇪", 2),
    ],
)
def test_a_word_of_each_script_is_as_wide_as_tmux_shows_it(text, width):
    assert cells(text) == width


def test_every_character_is_as_wide_as_the_wcwidth_package_says_but_spacing_marks():
    _, ranges = max(CATEGORY_MC.items(), key=lambda item: tuple(map(int, item[0].split("."))))
    spacing = {code for first, last in ranges for code in range(first, last + 1)}
    # The package carries the same tables of Unicode, a version or two earlier or later.
    differing = [
        code
        for code in range(0xA0, 0x110000)
        if not 0xD800 <= code < 0xE000
        and unicodedata.category(chr(code)) != "Cn"
        and code not in spacing
        and width_of(chr(code)) != max(0, wcwidth.wcwidth(chr(code)))
    ]
    assert differing == []


@given(st.text(), st.integers(0, 40))
def test_a_text_that_is_cut_fits_and_one_that_fits_is_not_cut(text, columns):
    text = "".join(text.split())
    shown = clip(text, columns)
    assert cells(shown) <= columns or cells(text) == 0
    if cells(text) <= columns:
        assert shown == text


@given(st.text(alphabet="ab -\u4e2d", max_size=40), st.integers(1, 20))
def test_a_folded_text_has_the_same_words_in_rows_that_fit_unless_a_word_does_not(text, columns):
    text = " ".join(text.split())
    rows = fold(text, columns, "").split("\n")
    assert " ".join(rows) == text
    assert all(cells(row) <= columns or " " not in row for row in rows)


@given(st.text())
def test_clusters_are_the_text_and_pad_only_adds_blanks(text):
    assert "".join(cluster for cluster, _ in clusters(text)) == text
    assert pad(text, cells(text) + 3) == text + "   "
