"""The reference says what the program says."""

from __future__ import annotations

import importlib.util

import pytest

from .pages import ROOT

PROGRAM = ROOT / "tools" / "reference.py"


@pytest.mark.skipif(not PROGRAM.exists(), reason="the tools are not beside the tests")
@pytest.mark.parametrize("name", ["commands.md", "api.md"])
def test_a_generated_page_is_up_to_date(name: str) -> None:
    specification = importlib.util.spec_from_file_location("reference", PROGRAM)
    assert specification is not None
    assert specification.loader is not None
    reference = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(reference)
    assert (reference.REFERENCE / name).read_text("utf-8") == reference.PAGES[name](), "run: python tools/reference.py"


@pytest.mark.skipif(not PROGRAM.exists(), reason="the documentation is not beside the tests")
def test_no_cell_of_the_commands_shows_an_escape_or_a_placeholder() -> None:
    text = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    assert "\\|" not in text
    assert "SUPPRESS" not in text
    assert "{default}" not in text
