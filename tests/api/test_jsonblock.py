"""The JSON of an answer, out of the one fenced block that models put it in."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unspool.api.jsonblock import JsonText, json_in


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ('\n {"a": "```"}\n', '\n {"a": "```"}\n'),
        ('```json\n{"a": 1}\n```', '{"a": 1}\n'),
        ("```\n[1,\n2]\n```\n", "[1,\n2]\n"),
        ('Here it is:\n\n```json\n{"a": "`"}\n```\nIs it good?', '{"a": "`"}\n'),
        ('```json\n{"a": "x\n', '{"a": "x\n'),
        ("````\n```\n````", "```\n"),
        ("true", "true"),
        ("There is none.\n", "There is none.\n"),
        ("A `code` and ```more``` of it", "A `code` and ```more``` of it"),
        ("", ""),
    ],
)
def test_the_one_block_is_the_json_and_else_everything_is(text, found):
    assert json_in(text) == found


def test_of_several_blocks_none_is_taken():
    text = "```\n1\n```\nor\n```\n2\n```\n"
    assert json_in(text) == text


@given(st.lists(st.sampled_from(["```", "`", "\n", "json", "{", '"a"', "}", " ", "So: "]), max_size=14))
@example(["\n", "{", "\n", "```", "\n"])
@example(["```", "\n", '"a"', "```", "\n", "{", "\n", "```"])
def test_how_the_text_is_cut_changes_nothing(pieces):
    whole, cut = JsonText(), JsonText()
    text = "".join(pieces)
    assert whole.feed(text) + whole.finish() == "".join([cut.feed(mark) for mark in text]) + cut.finish()
    assert whole.blocks == cut.blocks


def test_a_block_is_returned_as_it_comes():
    reader = JsonText()
    assert [reader.feed(piece) for piece in ("Sure:\n```js", "on\n{", '"a": 1', "}\n`", "``", "\nbye")] == [
        "",
        "{",
        '"a": 1',
        "}\n",
        "",
        "",
    ]
