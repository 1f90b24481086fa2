"""Which text of a document is code between fences."""

from __future__ import annotations

import pyromark
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyromark import Options

from unspool.terminal.markdown.fences import Fences


def _blocks(*pieces):
    fences = Fences()
    found: dict[int, str] = {}
    for number, text in [one for piece in pieces for one in fences.feed(piece)] + fences.finish():
        found[number] = found.get(number, "") + text
    assert list(found) == list(range(1, fences.count + 1))
    return list(found.values())


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("```\na\n```\n", ["a\n"]),
        ("~~~ python title=x\na\n~~~\nb", ["a\n"]),
        ("no code", []),
        ("`a` and ``` b ```", []),
        ("```not `one\na\n", []),
        ("~~~one `too`\na\n~~~\n", ["a\n"]),
        ("````md\n```\na\n```\n````\n", ["```\na\n```\n"]),
        ("```\n~~~\n```\n", ["~~~\n"]),
        ("```\n````\nb", [""]),
        ("```\n``` b\n```\n", ["``` b\n"]),
        ("```\n    ```\n```\n", ["    ```\n"]),
        ("```\na\n``` \t\nb", ["a\n"]),
        ("    ```\n    a\n    ```\n", []),
        ("  ```\n  a\n   b\n c\n  ```\n", ["a\n b\nc\n"]),
        ("```make\nall:\n\techo\n```\n", ["all:\n\techo\n"]),
        ("- item\n  ```\n  a\n\n    b\n  ```\n", ["a\n\n  b\n"]),
        ("1. item\n\n   ```\n   a\n   \tb\n   ```\n", ["a\n\tb\n"]),
        ("-\t```\n\ta\n\t\tb\n\t```\n", ["a\n\tb\n"]),
        ("- ```\n  a\nb\n", ["a\n"]),
        ("> ```\n> a\n>  b\n> ```\n", ["a\n b\n"]),
        ("> ```\n> a\nb\n", ["a\n"]),
        ("> - ```\n>   a\n>   ```\n", ["a\n"]),
        ("text\n```\na\n```", ["a\n"]),
        ("```\na\r\nb\r\n```\r\n", ["a\nb\n"]),
        ("```\na\rb\n```\n", ["a\rb\n"]),
        ("```\nunclosed", ["unclosed"]),
        ("```\nunclosed\n", ["unclosed\n"]),
        ("```", [""]),
        ("```\n``", ["``"]),
        ("<!--\n```\na\n```\n-->\n", []),
        ("$$\nx\n```\na\n```\n", ["a\n"]),
        ("```\na\n```\n```\nb\n```\n", ["a\n", "b\n"]),
    ],
)
def test_the_code_between_fences_is_found_to_the_letter(text, blocks):
    assert _blocks(text) == blocks
    assert _blocks(*text) == blocks


def test_code_is_given_out_before_its_line_has_ended():
    fences = Fences()
    assert fences.feed("Look:\n```py\n") == [(1, "")]
    assert fences.feed("pri") == [(1, "pri")]
    assert "".join(text for _, text in fences.feed("nt(1)\n``")) == "nt(1)\n"
    assert fences.feed("`\nafter") == []
    assert fences.finish() == []


_PARTS = ["```", "~~~", "````", "```py", "  ", "    ```", "- ", "1. ", "> ", ">", "a", "`c`", "# h", "---", "", "<div>"]
_PARTS += ["<!--", "-->", "| a | b |", "|---|---|", "$$", "```a`b", "~~~ x~", "* ", "   ~~~", "=== ", "x\ty"]
_DOCUMENTS = st.lists(st.lists(st.sampled_from(_PARTS), max_size=3).map("".join), max_size=8).map("\n".join)


@given(_DOCUMENTS, st.data())
def test_where_the_text_is_cut_makes_no_difference(text, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert _blocks(*pieces) == _blocks(text) == _blocks(*text)


@given(_DOCUMENTS)
def test_a_whole_documents_parser_finds_the_same(text):
    # How the last line of code ends is not said by CommonMark.
    assert [one.rstrip() for one in _blocks(text)] == [one.rstrip() for one in _parsed(text)]


def _parsed(text):
    found, inside = [], False
    for event in pyromark.events(text, options=Options.ENABLE_TABLES):
        match event:
            case {"Start": {"CodeBlock": {"Fenced": _}}}:
                found.append("")
                inside = True
            case {"End": "CodeBlock"}:
                inside = False
            case {"Text": piece} if inside:
                found[-1] += piece
    return found


@pytest.mark.parametrize(
    "document", ["a" * 20_000, " " * 20_000, "```\n" + "a" * 20_000, "```\n" + "`" * 20_000, "> " * 10_000]
)
def test_a_long_line_is_looked_at_a_bounded_number_of_times(document, monkeypatch):
    from unspool.terminal.markdown import fences

    looked = 0

    class Pattern:
        def fullmatch(self, text):
            nonlocal looked
            looked += len(text)
            return fences_pattern.fullmatch(text)

    fences_pattern = fences._MAY_CLOSE
    monkeypatch.setattr(fences, "_MAY_CLOSE", Pattern())
    _blocks(*document)
    assert looked < 3 * len(document) + 40_000
