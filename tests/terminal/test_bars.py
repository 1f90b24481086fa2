"""Bars of a histogram."""

import pytest

from unspool.terminal.bars import bars

ROWS = [("one", 0), ("two", 1), ("three", 800), ("four", 400)]


@pytest.mark.parametrize("columns", [10, 40, 79, 200])
@pytest.mark.parametrize("plain", [False, True])
def test_no_line_is_wider_than_the_terminal_which_has_room_for_a_bar(columns, plain):
    assert all(len(line) <= max(columns, 20) for line in bars(ROWS, columns, ascii=plain))


def test_the_longest_bar_fills_the_room_and_half_as_many_are_half_as_long():
    lines = bars(ROWS, 40, ascii=True)
    longest, half = (line.count("#") for line in lines[2:])
    assert (longest, half) == (28, 14)
    assert len(lines[2]) == 40


def test_what_is_not_zero_can_be_seen_and_zero_has_no_bar():
    none, one, *_ = bars(ROWS, 40)
    assert none.split() == ["one", "0"]
    assert one.split() == ["two", "▏", "1"]


def test_plain_bars_are_ascii():
    assert "".join(bars(ROWS, 60, ascii=True)).isascii()


def test_no_rows_are_no_lines():
    assert bars([], 80) == []
