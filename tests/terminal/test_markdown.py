"""The promises of the renderer: streamed is whole, what is out stays, and no token costs more than another."""

from __future__ import annotations

import re

import pyromark
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyromark import Options

from support.effort import rounds
from unspool.terminal.cells import cells
from unspool.terminal.markdown import document as markdown
from unspool.terminal.markdown import inlines, leaves, wrap
from unspool.terminal.markdown.document import Markdown
from unspool.terminal.sequences import OURS, without
from unspool.terminal.style import BOLD, CODE, ITALIC, STRIKE

from .documents import ANSWER, DOCUMENTS, HOSTILE

_WIDTHS = (8, 20, 79)
_PIECES = st.sampled_from(
    [
        *(
            "a",
            "word ",
            "**",
            "*",
            "_",
            "`",
            "```",
            "~~~",
            "~~",
            "\n",
            "\n\n",
            "- ",
            "1. ",
            "> ",
            "# ",
            "|",
            "    ",
            "\t",
        ),
        *(
            "| a | b |\n|---|---|\n",
            "[x](http://u)",
            "[r]",
            "[r]: http://x\n",
            "漢字",
            "：**",
            "（",
            "👩‍👩‍👧",
            "e\u0301",
            "🇩🇪",
            "<div>",
        ),
        *("$$", "\\[", "\\", "&#27;", "===", "---", "![i](", "\r\n", "\r", "\x1b[2J", "\u2028", "[ ] ", '"""', "<!--"),
        *("words that go on and on for more than a row of the screen ", "x" * 300, " " * 50, "```python\n", "  \n"),
    ]
)
_TEXTS = st.lists(_PIECES, max_size=60).map("".join) | st.text()


def _whole(text, width=79, **options):
    page = Markdown(width, **options)
    return page.feed(text) + page.finish()


def _in_pieces(text, sizes, width=79, **options):
    page = Markdown(width, **options)
    lines, at, number = [], 0, 0
    while at < len(text):
        size = sizes[number % len(sizes)]
        lines += page.feed(text[at : at + size])
        page.preview()
        at, number = at + size, number + 1
    return lines + page.finish()


def _words(text):
    return re.findall(r"\w+", text)


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("width", _WIDTHS)
def test_streamed_is_whole(name, width):
    text = DOCUMENTS[name]
    whole = _whole(text, width)
    for sizes in ([1], [4], [7, 1, 64], [1000]):
        assert _in_pieces(text, sizes, width) == whole


@settings(deadline=None)
@given(_TEXTS, st.lists(st.integers(1, 40), min_size=1), st.sampled_from(_WIDTHS))
def test_streamed_is_whole_for_any_text_cut_anywhere(text, sizes, width):
    assert _in_pieces(text, sizes, width) == _whole(text, width)


@settings(deadline=None, max_examples=rounds(50))
@given(_TEXTS, st.sampled_from(_WIDTHS))
def test_no_preview_is_wider_than_the_screen(text, width):
    page = Markdown(width)
    for mark in text:
        page.feed(mark)
        for row in page.preview():
            assert cells(without(row)) <= width or "://" in row


# What is decoded, or joined, is not in the text letter by letter.
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in ("entities", "emoji", "combining")])
def test_all_words_of_the_text_are_there(name):
    text = DOCUMENTS[name].replace("'title'", "").replace("<br>", "")
    shown = "".join("".join(without(line) for line in _whole(text)).split())
    # Numbers of items are counted anew, the box of a task is drawn, and the rest of a fence's info is for programs.
    words = [word for word in _words(text) if not word.isdecimal() and word not in ("x", "X")]
    assert [word for word in words if word.replace("_", "") not in shown.replace("_", "")] == []


# What a whole document's parser sees otherwise: references and definitions, maths, tables, and text beyond a stretch.
_OTHERWISE = frozenset(
    (
        *(
            "references",
            "reference",
            "maths",
            "unclosed maths",
            "footnotes",
            "links",
            "half links",
            "deep in a line",
            "deep quotes",
        ),
        *(
            "marks that never close",
            "numbers alone",
            "setext after much",
            "entities",
            "many columns",
            "tall table",
            "wide table",
            "deep lists",
        ),
    )
)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in _OTHERWISE])
def test_the_text_is_what_a_whole_documents_parser_finds(name):
    """Marks that mean something are gone, those that do not are there, and all is in the same order."""
    kinds = ("Text", "Code", "Html", "InlineHtml")
    found = ""
    for event in pyromark.events(
        DOCUMENTS[name], options=Options.ENABLE_STRIKETHROUGH | Options.ENABLE_TABLES | Options.ENABLE_TASKLISTS
    ):
        if isinstance(event, dict):
            ((kind, value),) = event.items()
            found += value if kind in kinds else ""
    lines = [without(line) for line in _whole(DOCUMENTS[name], 200, links=True)]
    shown = "".join(_OURS.sub("", line) for line in lines)
    assert _essence(shown) == _essence(found.replace("<br>", ""))


# Marks of items and quotes, the lines around code, rules and borders of tables.
_OURS = re.compile(r"^(?:[ •◦▪│☐☑]|\d+[.)](?= |$))*(?:─── \S+$)?|[─│┼]")


def _essence(text):
    return "".join(mark for mark in text if mark.isalnum() or mark in "*_`#[]<>|~")


# Lines of code are left to the terminal to wrap. Indented code is meant by some of these without saying so.
_CODE = re.compile(r"```|~~~|^ {4}|\t", re.MULTILINE)


@pytest.mark.parametrize("width", _WIDTHS)
@pytest.mark.parametrize("name", [name for name in DOCUMENTS if not _CODE.search(DOCUMENTS[name])])
def test_only_code_and_urls_are_wider_than_the_screen(name, width):
    wide = [line for line in map(without, _whole(DOCUMENTS[name], width)) if cells(line) > width]
    assert [line for line in wide if "://" not in line or cells(line) > 9 * width] == []


@pytest.mark.parametrize("width", [20, 40, 79])
@pytest.mark.parametrize("before", ["", "- ", "> ", "See ", "a few words that fill a part of the row, then ("])
def test_a_url_is_never_broken(before, width):
    url = "https://example.com/a/very/long/path/that/does/not/fit?x=1&y=2#a-place-in-the-page"
    text = f"{before}{url}) and more words.\n"
    assert [url in line for line in map(without, _whole(text, width))].count(True) == 1
    page = Markdown(width)
    for mark in text:
        page.feed(mark)
    page.feed("\n")
    assert all(cells(without(row)) <= width for row in page.preview() if url not in row)


def test_a_partial_line_is_visible_at_once():
    page = Markdown(79)
    page.feed("The answer is **fort")
    assert [without(row) for row in page.preview()] == ["The answer is fort"]
    assert "\x1b[1mfort" in page.preview()[0]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**", ""),
        ("* **", ""),
        ("- ", ""),
        ("a `co", "a co"),
        ("a [li", "a li"),
        ("a [link](http://exa", "a link"),
        ("a *b **c", "a b c"),
        ("a **b*", "a b"),
        ("a ~~b", "a b"),
        ("2 * 3", "2 * 3"),
        ("snake_case_na", "snake_case_na"),
        ("| a | b |\n|--", ""),
        ("| a | b |\n|---|---|\n| c", "a │ b\n──┼──"),
        ("```py\nx = '", "─── py\nx = '"),
        ("```py\nx\n``", "─── py\nx"),
        ("Text\n--", "Text"),
        ("# Ti", "Ti"),
    ],
)
def test_a_preview_shows_what_most_likely_comes(text, shown):
    page = Markdown(79)
    lines = page.feed(text) + page.preview()
    assert "\n".join(without(line) for line in lines) == shown


def test_previews_change_nothing():
    page = Markdown(79)
    lines = []
    for mark in ANSWER:
        lines += page.feed(mark)
        assert page.preview() == page.preview()
    assert lines + page.finish() == _whole(ANSWER)


class _Counter:
    """Counts the characters that go through a function."""

    def __init__(self, patch, module, name):
        self.total = 0
        plain = getattr(module, name)

        def counted(text, *arguments, **options):
            self.total += len(text)
            return plain(text, *arguments, **options)

        patch.setattr(module, name, counted)


_ENDLESS = {
    "answers": ANSWER,
    "paragraph": "Some words, *some of them* stressed and `some` code. ",
    "paragraph with an open mark": "some words *and more of them, and ",
    "lines": "a line of some words\n",
    "word": "x",
    "cjk": "漢字かな交じり文の例、",
    "combining": "\u0301",
    "brackets": "[",
    "backticks": "a ` ",
    "list": "- an item of a list\n",
    "nested list": "- an item\n  - of a list\n",
    "loose list": "- an item\n\n  of a list\n\n",
    "quote": "> some quoted words\n",
    "code": "    x = 1\n",
    "table": "| a cell | another cell |\n",
    "wide table": "| a cell | " + "many words " * 20 + "|\n",
    "html": "<p>some text\n",
}
_STARTS = {
    "table": "| a | b |\n|---|---|\n",
    "wide table": "| a | b |\n|---|---|\n",
    "code": "```python\n",
    "html": "<div>\n",
}


@pytest.mark.parametrize("name", _ENDLESS)
def test_no_token_costs_more_than_another(name, monkeypatch):
    """Counted is what is parsed, measured and broken into rows, not the time that takes."""
    counters = [
        _Counter(monkeypatch, leaves, "parse"),
        _Counter(monkeypatch, leaves, "completed"),
        _Counter(monkeypatch, leaves, "is_settled"),
        _Counter(monkeypatch, wrap, "clusters"),
        _Counter(monkeypatch, markdown, "clusters"),
        _Counter(monkeypatch, inlines, "events"),
    ]
    text = _STARTS.get(name, "") + _ENDLESS[name] * (16_000 // len(_ENDLESS[name]))
    page = Markdown(79)
    costs, rows = [], 0
    for at in range(0, len(text), 4):
        if at % 4000 == 0:
            costs.append(0)
        before = sum(counter.total for counter in counters)
        page.feed(text[at : at + 4])
        rows = max(rows, len(page.preview()))
        costs[-1] += sum(counter.total for counter in counters) - before
    assert costs[-1] <= 1.3 * max(costs[:2]) + 4000
    # And it is little: what is open are some rows.
    assert max(costs) / 1000 <= 79 * 80
    assert rows <= 40


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_can_instruct_the_terminal(name, links):
    text = HOSTILE[name]
    for form in (
        text,
        f"a {text} b",
        f"- {text}",
        f"> {text}",
        f"**{text}**",
        f"```\n{text}\n```\n",
        f"# {text}\n",
        f"`{text}`",
    ):
        page = Markdown(79, links=links)
        for mark in form:
            _assert_ours(page.feed(mark))
            _assert_ours(page.preview())
        _assert_ours(page.finish())


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_can_instruct_the_terminal(data, links):
    _assert_ours(_whole(data.decode("utf-8", "replace"), 20, links=links))
    _assert_ours(_whole(data.decode("latin-1"), 20, links=links))


def _assert_ours(lines):
    for line in lines:
        for target in re.findall(r"\x1b\]8;([^\x1b]*)\x1b\\", line):
            assert re.fullmatch(r";|id=[0-9a-f]+;(?:https?://|mailto:)[!-~]*", target)
        rest = OURS.sub("", line)
        bad = [
            mark for mark in rest if ord(mark) < 0x20 or 0x7F <= ord(mark) < 0xA0 or mark in "\u202e\u2028\u2029\u200f"
        ]
        assert not bad
        rest.encode()


def test_a_link_is_clickable_only_where_it_may_be():
    [line] = _whole("[a](http://b/ü) [c](javascript:d) [http://bank.example](http://evil.example)", links=True)
    assert "http://b/%C3%BC\x1b\\" in line
    assert "\x1b]8;id" in line
    assert "javascript" not in "".join(re.findall(r"\x1b\]8;[^\x1b]*", line))
    assert "(http://evil.example)" in without(line)


def test_links_are_written_out_where_they_cannot_be_clicked():
    assert _whole("[a](http://b) <http://c>", theme=None) == ["a (http://b) http://c"]


def test_without_a_theme_there_are_no_sequences():
    assert "\x1b" not in "".join(_whole(ANSWER, theme=None, links=True))


def test_another_width_is_for_what_is_not_out_yet():
    page = Markdown(79)
    first = page.feed("# Title\n\n" + "some words " * 6)
    page.resize(20)
    assert all(cells(without(row)) <= 20 for row in page.preview())
    rest = page.feed("and more\n\n") + page.finish()
    assert first == _whole("# Title\n")
    assert all(cells(without(row)) <= 20 for row in rest)


@pytest.mark.parametrize(
    ("text", "words", "style"),
    [
        ("**重要：**请看", "重要：", BOLD),
        ("请看**“重要”**的", "“重要”", BOLD),
        ("*（斜）*体", "（斜）", ITALIC),
        ("~~删除。~~了", "删除。", STRIKE),
        ("**한국어(Korean)**는", "한국어(Korean)", BOLD),
        ("**日本語。**テスト", "日本語。", BOLD),
        ("**`コード`**です", "コード", CODE),
    ],
)
def test_emphasis_beside_cjk_punctuation_needs_no_blanks(text, words, style):
    row = inlines.parse(text, inlines.References())
    assert [run[0] for run in row if run[1] & style] == [words]


@pytest.mark.parametrize("text", ["**Note:**text", "a**(b)**c", "2 * 3 * 4，是", "\\*重要：\\*请", "`**重要：**请`"])
def test_marks_that_are_none_elsewhere_are_none_beside_cjk(text):
    row = inlines.parse(text, inlines.References())
    assert not any(run[1] & (BOLD | ITALIC) for run in row)
    assert "\ufeff" not in inlines.plain(row)


def test_a_url_beside_cjk_text_is_kept_as_it_is():
    row = inlines.parse("看[这里](https://x.test/重**a**要)。", inlines.References())
    assert [run[2] for run in row if run[2]] == ["https://x.test/重**a**要"]


@given(_TEXTS, st.lists(st.integers(1, 40), min_size=1))
@settings(deadline=None, max_examples=50)
def test_streamed_is_whole_where_single_line_ends_are_kept(text, sizes):
    whole = Markdown(40, theme=None, breaks=True)
    page = Markdown(40, theme=None, breaks=True)
    lines, at, number = [], 0, 0
    while at < len(text):
        size = sizes[number % len(sizes)]
        lines += page.feed(text[at : at + size])
        at, number = at + size, number + 1
    assert lines + page.finish() == whole.feed(text) + whole.finish()


def test_single_line_ends_are_kept_where_that_is_wanted():
    poem = "Roses are red,\n*violets*\nare blue.\n\n- one\n  two\n" + "and a longer line of prose\n" * 20
    page = Markdown(40, theme=None, breaks=True)
    lines = page.feed(poem) + page.finish()
    assert lines[:6] == ["Roses are red,", "violets", "are blue.", "", "• one", "  two"]
    assert lines[6:] == ["  and a longer line of prose"] * 20
    page = Markdown(40, theme=None)
    assert (page.feed(poem) + page.finish())[0] == "Roses are red, violets are blue."
