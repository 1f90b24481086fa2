"""What is read without tomllib must read the same with it, and what that refuses must be refused."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unspool.config.plain import read

LINES = st.sampled_from(
    [
        *("", "  ", "# a comment", "[a]", "[a.b]", " [ a . b ] # x", "[b]", "[a]]", "[[a]]", "[]", "[a.]", '["a"]', "[é]"),
        *('k = "v"', 'k="v"#c', "  j  =  true  ", "i = false # no", "i = truer", "n = 1", "d = 2026-11-22", 'k = """v"""'),
        *('k = ""', "k = 'v'", 'k = "a\\"b"', 'k = "a\\u0041"', 'k = "#"', 'k = "a" b', "k =", "= 1", "k", 'k.l = "v"'),
        *('w = ["a", "b"]', "w = []", 'w = ["a",]', 'w = [,]', 'w = ["a" "b"]', 'w = ["a"', 'w = [["a"]]', "w = [true]"),
        *('t = {k = "v"}', 'k\t= "v"', 'a = "v"', 'b = "v"', 'x = "\x7f"', 'k = "v"\r', 'u = "é"', 'w = ["a",,]', '"k" = "v"'),
    ]
)  # fmt: skip


def assert_as_tomllib(text: str) -> None:
    found = read(text.encode())
    if found is None:
        return
    expected: dict[str, Any] = tomllib.loads(text)
    assert found == expected
    assert repr(found) == repr(expected)  # the order too


@given(st.lists(LINES, max_size=8))
def test_lines_in_any_order_read_as_tomllib_reads_them(lines: list[str]) -> None:
    assert_as_tomllib("\n".join(lines))


@given(st.text(alphabet="ab[]=\"#., \n\t\r{}'\\-1é", max_size=30))
def test_any_text_reads_as_tomllib_reads_it(text: str) -> None:
    assert_as_tomllib(text)


@pytest.mark.parametrize("line", ['k = "v"', "k = true  # c", 'w = ["a", "b" , ]', "[a.b]", "# [", ""])
def test_what_most_files_hold_is_read_here(line: str) -> None:
    assert read(line.encode()) == tomllib.loads(line)
