"""The program that takes the pictures of the documentation: they show what was on the screen."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

TOOL = Path(__file__).parent.parent.parent / "tools" / "pictures.py"
pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="the tools are not beside the tests")


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("pictures", TOOL)
    module = sys.modules["pictures"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["pictures"]


def drawn(svg):
    """The texts of a picture by row, each with where it begins."""
    rows = {}
    for one in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        rows.setdefault(float(one.get("y")), []).append((float(one.get("x")), one.text))
    return [row for _, row in sorted(rows.items())]


def test_a_cut_and_what_resumed_it_are_in_the_picture(pictures):
    svg = pictures.draw(pictures.take(pictures.SCENES["resume"], "dark"), "dark", "resume")
    lines = ["".join(text for _, text in row) for row in drawn(svg)]
    assert any("the server closed the stream before its end" in line for line in lines)
    assert "exit 7" in lines
    assert " ".join(lines[-2:]).endswith("the rest can be requested.")


def test_wide_letters_styles_and_hostile_markup_are_drawn_where_the_screen_has_them(pictures):
    screen = pictures._Screen(20, 3, None)
    pictures.pyte.Stream(screen).feed("a日b\x1b[1;2;31m<&>\x1b[0mc\r\n│x")
    svg = pictures.draw(screen, "light", 'a "title" & <more>')
    cell, margin = pictures._CELL, pictures._MARGIN
    columns = [(round((x - margin) / cell), text) for x, text in drawn(svg)[0]]
    assert columns == [(0, "a"), (1, "日"), (3, "b"), (4, "<&>"), (7, "c")]
    assert "font-weight:bold" in svg
    assert "opacity" in svg
    assert drawn(svg)[1] == [(margin + cell, "x")]
