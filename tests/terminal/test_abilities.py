"""What the environment says of a terminal, and which saying goes before which."""

from __future__ import annotations

import os
import pty
import termios

import pytest

from unspool.terminal.abilities import follows_links, shows_utf8, theme_name, wants_colour
from unspool.terminal.size import size_of

_TTY = {"TERM": "xterm"}


@pytest.mark.parametrize(
    ("choice", "environment", "is_tty", "wanted"),
    [
        ("auto", _TTY, True, True),
        ("auto", _TTY, False, None),
        ("auto", {"TERM": "dumb"}, True, None),
        ("auto", {}, True, None),
        ("auto", {**_TTY, "NO_COLOR": "1"}, True, False),
        ("auto", {**_TTY, "NO_COLOR": ""}, True, True),
        ("auto", {**_TTY, "NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {**_TTY, "FORCE_COLOR": "1"}, False, True),
        ("auto", {**_TTY, "CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {**_TTY, "CLICOLOR_FORCE": "0"}, False, None),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {**_TTY, "FORCE_COLOR": "1"}, True, False),
        ("never", {"FORCE_COLOR": "1"}, False, None),
    ],
)
def test_the_command_line_goes_before_no_color_and_that_before_force_color(choice, environment, is_tty, wanted):
    assert wants_colour(choice, environment, is_tty=is_tty) is wanted


@pytest.mark.parametrize(
    ("environment", "follows"),
    [
        (_TTY, False),
        ({**_TTY, "WT_SESSION": "x"}, True),
        ({**_TTY, "TERM_PROGRAM": "iTerm.app"}, True),
        ({**_TTY, "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({**_TTY, "VTE_VERSION": "6003"}, True),
        ({**_TTY, "VTE_VERSION": "4601"}, False),
        ({**_TTY, "VTE_VERSION": "new"}, False),
        ({"TERM": "screen-256color", "VTE_VERSION": "6003"}, False),
        ({"TERM": "linux", "WT_SESSION": "x"}, False),
        ({"TERM": "dumb", "WT_SESSION": "x"}, False),
    ],
)
def test_links_are_for_terminals_that_are_known_to_follow_them(environment, follows):
    assert follows_links(environment) is follows


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "dark"),
        ({"UNSPOOL_THEME": "light"}, "light"),
        ({"UNSPOOL_THEME": "pink"}, "dark"),
        ({"COLORFGBG": "0;15"}, "light"),
        ({"COLORFGBG": "0;15", "UNSPOOL_THEME": "dark"}, "dark"),
    ],
)
def test_the_theme_is_the_named_one_or_that_of_the_background(environment, name):
    assert theme_name(environment) == name


@pytest.mark.parametrize(
    ("environment", "shows"),
    [
        ({"LANG": "C.UTF-8"}, True),
        ({"LANG": "en_GB.utf8"}, True),
        ({"LANG": "C.UTF-8", "LC_ALL": "C"}, False),
        ({"LC_CTYPE": "de_DE.UTF-8", "LANG": "C"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({}, False),
    ],
)
def test_a_locale_shows_utf8_if_the_first_variable_of_posix_that_is_set_names_it(environment, shows):
    assert shows_utf8(environment) is shows


@pytest.mark.parametrize(
    ("columns", "width"), [("", 80), ("100", 100), ("0", 80), ("-5", 80), ("²", 80), ("9" * 9, 80)]
)
def test_the_width_of_no_terminal_is_what_columns_says(columns, width, tmp_path):
    with open(tmp_path / "file", "w") as file:
        assert size_of(file.fileno(), {"COLUMNS": columns}) == (width, 24)


def test_the_size_of_a_terminal_is_its_own_and_80_by_24_where_it_has_none():
    ours, theirs = pty.openpty()
    try:
        assert size_of(theirs, {"COLUMNS": "100"}) == (80, 24)
        termios.tcsetwinsize(theirs, (30, 50))
        assert size_of(theirs, {"COLUMNS": "100"}) == (50, 30)
    finally:
        os.close(ours)
        os.close(theirs)
