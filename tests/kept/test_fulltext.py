"""Whatever is typed is searched for, and no syntax is wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.effort import rounds
from unspool.journal import fulltext


def ask(texts: Sequence[str], question: str, *values: object) -> list[tuple[Any, ...]]:
    """What a question to the words of these texts brings."""
    with closing(sqlite3.connect(":memory:")) as made:
        made.execute(f"CREATE VIRTUAL TABLE words USING fts5(text, tokenize = '{fulltext.TOKENIZER}')")
        made.executemany("INSERT INTO words VALUES (?)", [(fulltext.spaced(text),) for text in texts])
        return made.execute(question, values).fetchall()


def found(texts: Sequence[str], *typed: str) -> list[int]:
    rows = ask(texts, "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid", fulltext.query(typed))
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("The Python language", ["python"]),
        ("The Python language", ["LANGUAGE", "python"]),
        ("un café noir", ["cafe"]),
        ("un cafe noir", ["CAFÉ"]),
        ("un cafe\u0301 noir", ["caf\u00e9"]),
        ("streaming tokens", ["stream*"]),
        ("streaming tokens", ["stream*", "tok*"]),
        ("an event stream ends", ["event stream"]),
        ("an event stream ends", ['"event stream" ends']),
        ("an event stream ends", ['"event str"*']),
        ("an event stream ends", ['"event stream']),
        ("this AND that", ["AND"]),
        ("NOT NEAR(x)", ["NEAR(x)", "NOT"]),
        ("use C++ here", ["C++"]),
        ("use C++ here", ["++", "use"]),
        ("prompt: hi", ["prompt:"]),
        ("a-b_c", ["a-b_c"]),
        ('say "hi"', ['say "hi"']),
        ("流式输出很快", ["流式"]),
        ("流式输出很快", ["输出"]),
        ("流式输出很快", ["快"]),
        ("用Python流式输出", ["python", "流式"]),
        ("ストリーミング", ["リーミ"]),
        ("파이썬은 언어다", ["파이썬"]),
        ("สวัสดีครับ", ["ครับ"]),
        ("before\0after \x02 \x03 \x1f", ["after"]),
        ("𠮷野家", ["野家"]),
    ],
)
def test_it_is_found(text: str, typed: list[str]) -> None:
    assert found(["nothing of the kind", text], *typed) == [2]


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("The Python language", ["python", "java"]),
        ("stream of an event", ["event stream"]),
        ("streaming", ["stream"]),
        ("式流", ["流式"]),
        ("hi", ["hi\0bye"]),
    ],
)
def test_it_is_not_found(text: str, typed: list[str]) -> None:
    assert found([text], *typed) == []


@pytest.mark.parametrize("typed", ["", "  ", "++", '"', '""', "*", "'; --", "()", "\0"])
def test_where_there_is_no_word_that_is_said(typed: str) -> None:
    with pytest.raises(fulltext.NoWords):
        fulltext.query([typed])


@given(
    st.lists(
        st.text(max_size=12) | st.sampled_from(['"', "*", "AND", "NEAR(", "a:", "^b", "{x}", "-c", "流", "é"]),
        max_size=6,
    )
)
@settings(max_examples=rounds(150), deadline=None)
def test_no_syntax_is_wrong(typed: list[str]) -> None:
    try:
        query = fulltext.query(typed)
    except fulltext.NoWords:
        return
    ask(["a text"], "SELECT * FROM words WHERE words MATCH ?", query)


def test_a_thousand_words_are_one_search() -> None:
    many = [f"w{number}" for number in range(1000)]
    assert found([" ".join(many)], *many) == [1]


def test_a_snippet_says_where_its_hits_are() -> None:
    ((snippet,),) = ask(
        ["很快的流式输出 and a stream of tokens"],
        "SELECT snippet(words, -1, ?, ?, '…', 24) FROM words WHERE words MATCH ?",
        fulltext.BEGIN,
        fulltext.END,
        fulltext.query(["流式", "stream"]),
    )
    text, hits = fulltext.hit(snippet)
    assert text.startswith("很快的流式输出 and a stream of tokens")
    assert [text[begin:end] for begin, end in hits] == ["流式", "stream"]
