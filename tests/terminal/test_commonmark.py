"""The examples of the CommonMark specification: none is too much, none loses a word, and each is streamed as it is rendered whole.

The specification comes as a package of npm's, for its licence is not this project's.
"""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import pytest

from unspool.terminal.markdown.document import Markdown
from unspool.terminal.sequences import OURS

_NODE = Path(__file__).parent.parent / "node"
_SPEC = Path(os.environ.get("UNSPOOL_NODE_MODULES") or _NODE / "node_modules") / "commonmark-spec" / "spec.txt"
_FENCE = "`" * 32


def _examples():
    """The number of each example, what it says, and the HTML that it stands for."""
    if not _SPEC.exists():
        return []
    text = _SPEC.read_text("utf-8").replace("→", "\t")
    found = re.findall(f"^{_FENCE} example\n(.*?)^\\.\n(.*?)^{_FENCE}$", text, re.MULTILINE | re.DOTALL)
    return [pytest.param(source, expected, id=str(number)) for number, (source, expected) in enumerate(found, 1)]


_EXAMPLES = _examples()
_needed = pytest.mark.skipif(
    not _EXAMPLES, reason=f"there is no {_SPEC}: run `npm install` in tests/node, or set UNSPOOL_NODE_MODULES"
)


def _whole(text, width, **options):
    page = Markdown(width, **options)
    return page.feed(text) + page.finish()


def _words(text):
    return re.findall(r"[^\W_]+", text)


@_needed
def test_there_are_as_many_examples_as_the_specification_has():
    assert len(_EXAMPLES) > 640


@_needed
@pytest.mark.parametrize(("source", "expected"), _EXAMPLES)
def test_every_word_of_an_example_is_shown(source, expected):
    shown = "".join(_words(" ".join(_whole(source, 200, theme=None))))
    # What is no HTML to a terminal is shown as it was written: tags need not be looked for. They may stand within a word.
    text = html.unescape(re.sub(r"<!--.*?-->|<[^<>]*>", " ", expected, flags=re.DOTALL))
    missing = [word for word in _words(text) if word not in shown]
    assert missing == []


@_needed
@pytest.mark.parametrize(("source", "expected"), _EXAMPLES)
@pytest.mark.parametrize("width", [12, 79])
def test_an_example_in_pieces_is_the_example(source, expected, width):
    whole = _whole(source, width)
    for size in (1, 2, 7):
        page, lines = Markdown(width), []
        for at in range(0, len(source), size):
            lines += page.feed(source[at : at + size])
            page.preview()
            page.preview(all=True)
        assert lines + page.finish() == whole
    # A blank that does not break is the only one that is not a blank to Python, and no control character.
    assert OURS.sub("", "".join(whole)).replace("\xa0", " ").isprintable()
