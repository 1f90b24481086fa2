"""Progress on a terminal's tab and task bar: OSC 9;4, which ConEmu introduced (its documentation, "Ansi X3.64 and xterm codes").

In other terminals OSC 9 is a notification or appears as text, so it is written only where it is known to be supported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Something is under way, and nobody knows how much of it is done.
WORKING = "\x1b]9;4;3;0\x1b\\"
#: Something is wrong, and is being waited for.
TROUBLED = "\x1b]9;4;2;100\x1b\\"
NONE = "\x1b]9;4;0;0\x1b\\"
#: Seconds after which it is said again: Ghostty takes a bar away that nobody has touched for 15.
REPEAT = 5.0

_PROGRAMS = frozenset(("ghostty", "WezTerm"))
# The first iTerm2 that knows it.
_ITERM = (3, 6, 6)


def is_known(environment: Mapping[str, str]) -> bool:
    """Whether the terminal follows OSC 9;4. Within tmux and screen it would not arrive, or arrive as something else."""
    term = environment.get("TERM", "")
    if (
        term in ("", "dumb")
        or term.startswith(("screen", "tmux", "linux"))
        or "TMUX" in environment
        or "STY" in environment
    ):
        return False
    if environment.get("WT_SESSION") or environment.get("ConEmuANSI") == "ON":
        return True
    program = environment.get("TERM_PROGRAM", "")
    if program == "iTerm.app":
        numbers = environment.get("TERM_PROGRAM_VERSION", "").split(".")
        return all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) >= _ITERM
    return program in _PROGRAMS
