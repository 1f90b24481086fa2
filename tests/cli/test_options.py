"""Two readers of the same options: whatever the quick one takes, argparse takes in the same way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unspool.cli.commands import ask, models, show, sim
from unspool.cli.options import scan
from unspool.cli.options.parser import build, read

_NAMES = [name for option in ask.OPTIONS for name in option.names]
_WORDS = [
    "",
    "-",
    "--",
    "hi",
    "two words",
    "last",
    "0",
    "1",
    "-1",
    "0.5",
    "5m",
    "nan",
    "json",
    "chat",
    "=",
    "-x",
    "a=b",
    "é",
    "@f",
]
_ATTACHED = [
    f"{name}{joint}{word}" for name in _NAMES for joint in ("", "=") for word in ("", "1", "hi", "=", "json", "-n")
]
_ARGV = st.lists(
    st.sampled_from(_NAMES) | st.sampled_from(_WORDS) | st.sampled_from(_ATTACHED) | st.text(max_size=4), max_size=6
)


@pytest.fixture(scope="module")
def parser():
    return ask.parser()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_ARGV)
def test_what_the_quick_reader_takes_argparse_takes_in_the_same_way(parser, argv):
    quick = scan(ask.OPTIONS, argv, "prompt")
    if quick is not None:
        assert read(parser, argv) == quick


@pytest.mark.parametrize("options", [models.OPTIONS, show.OPTIONS, sim.OPTIONS])
def test_the_defaults_are_the_same(options):
    built = build("p", options, rest="words", metavar="W", rest_help="", examples="", description="")
    assert read(built, []) == scan(options, [], "words")


def test_argparse_too_leaves_alone_what_follows_two_dashes(parser):
    read_slowly = read(parser, ["-qv", "a", "--", "-m", "--", "x"])
    assert (read_slowly["prompt"], read_slowly["quiet"], read_slowly["verbose"]) == (["a", "-m", "--", "x"], True, True)


def test_no_prompt_begins_with_a_dash_unless_after_two():
    assert scan(ask.OPTIONS, ["--", "-m", "x"], "prompt")["prompt"] == ["-m", "x"]
    assert scan(ask.OPTIONS, ["-m", "-x"], "prompt") is None
