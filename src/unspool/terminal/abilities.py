"""Abilities of a terminal and wishes of its user: colours, links, a theme. All of it comes from the environment.

The terminal itself is not queried: a late reply would end up in the shell.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

THEMES = ("dark", "light")

# Variables set by programs that support OSC 8.
_LINKING = (
    "WT_SESSION",
    "KITTY_WINDOW_ID",
    "KONSOLE_VERSION",
    "WEZTERM_PANE",
    "GHOSTTY_RESOURCES_DIR",
    "ALACRITTY_WINDOW_ID",
)
_LINKING_PROGRAMS = frozenset(("iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "rio", "zed", "Tabby"))
# Python itself puts this into LC_CTYPE if the locale is C (PEP 538); it says nothing about the terminal.
_COERCED = ("C.UTF-8", "C.utf8", "UTF-8")
# The first VTE whose handling of OSC 8 does not crash.
_VTE = 5000


def is_dumb(environment: Mapping[str, str]) -> bool:
    """Whether the terminal has no escape sequences."""
    return environment.get("TERM", "") in ("", "dumb")


def shows_utf8(environment: Mapping[str, str]) -> bool:
    """Whether the locale is UTF-8, from the variables in the order of POSIX."""
    names = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if sys.platform != "darwin" and names[1] in _COERCED and names[0] == "" and names[2] in ("", "C", "POSIX"):
        return False
    name = next(filter(None, names), "")
    if name == "UTF-8":  # a locale of macOS
        return True
    return name.lower().replace("-", "").partition(".")[2].startswith("utf8")


def wants_colour(choice: str, environment: Mapping[str, str], *, is_tty: bool) -> bool | None:
    """Whether to colour: True; False for bold and underline only; None for no sequences.

    The command line takes precedence, then NO_COLOR (https://no-color.org), then FORCE_COLOR and CLICOLOR_FORCE
    (https://bixense.com/clicolors), then whether the output is a terminal.
    """
    able = is_tty and not is_dumb(environment)
    if choice == "always":
        return True
    if choice == "never" or environment.get("NO_COLOR"):
        return False if able else None
    if is_forced(environment):
        return True
    return True if able else None


def is_forced(environment: Mapping[str, str]) -> bool:
    """Whether the environment forces colours, also for files and pipes."""
    return any(environment.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))


def follows_links(environment: Mapping[str, str]) -> bool:
    """Whether links can be made clickable."""
    term = environment.get("TERM", "")
    if is_dumb(environment) or term.startswith(("linux", "screen", "tmux")) or "TMUX" in environment:
        return False
    if any(name in environment for name in _LINKING) or environment.get("TERM_PROGRAM") in _LINKING_PROGRAMS:
        return True
    version = environment.get("VTE_VERSION", "")
    return version.isdecimal() and int(version) >= _VTE


def theme_name(environment: Mapping[str, str]) -> str:
    """The theme of UNSPOOL_THEME, else the one for the background in COLORFGBG, else dark."""
    name = environment.get("UNSPOOL_THEME", "")
    if name in THEMES:
        return name
    # COLORFGBG=foreground;background, set by rxvt, Konsole and others: 7 and 15 are white.
    return "light" if environment.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15") else "dark"
