"""The manual: written from the parsers, so that it says what they know, and fit for what shows manuals."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from unspool.cli.commands import NAMES

ROOT = Path(__file__).parent.parent.parent
TOOL = ROOT / "tools" / "man_page.py"
PAGE = ROOT / "docs" / "unspool.1"
pytestmark = pytest.mark.skipif(not TOOL.exists() or not PAGE.exists(), reason="the manual is not beside the tests")


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("man_page", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_manual_says_what_the_parsers_know_now(tool):
    assert PAGE.read_text("utf-8") == tool.page(), "options have changed since the manual was written: make man"


def test_the_manual_has_every_command_and_every_exit_code(tool):
    text = PAGE.read_text("utf-8")
    for name in NAMES:
        assert name == "ask" or f".SS unspool {name}" in text, name
    assert set(tool._EXITS) == {str(code) for code in (*tool.outcome.EXIT_CODES.values(), tool.outcome.USAGE_EXIT_CODE)}


def test_a_line_that_begins_like_a_request_is_text(tool):
    assert tool._text(".config and 'a' \\ -x ~ …") == "\\&.config and \\(aqa\\(aq \\e \\-x \\(ti \\[u2026]"


@pytest.mark.parametrize(
    "checker", [("groff", "-ww", "-z", "-man", "-Tutf8", "-K", "utf8"), ("mandoc", "-T", "lint", "-W", "warning")]
)
def test_roff_has_nothing_to_complain_about(checker):
    if shutil.which(checker[0]) is None:
        pytest.skip(f"there is no {checker[0]} here")
    done = subprocess.run([*checker, str(PAGE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
