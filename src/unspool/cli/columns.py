"""Lines of a list that fit a terminal: how wide a text is shown, and cutting it to a width."""

from __future__ import annotations

import os
from unicodedata import combining, east_asian_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.output import Output


def columns(output: Output) -> int:
    """How many columns a terminal has: ``COLUMNS`` if it says, else what the terminal says, else 80."""
    try:
        given = int(os.environ.get("COLUMNS", "0"))
    except ValueError:
        given = 0
    if given > 0:
        return given
    try:
        return os.get_terminal_size(output.fd).columns or 80
    except OSError:
        return 80


def width(text: str) -> int:
    """How many columns a text takes at most, given as `unspool.terminal.safety.one_line` returns it."""
    return len(text) if text.isascii() else sum(map(_width, text))


def clip(text: str, most: int) -> str:
    """Cut a text to this many columns, with an ellipsis in place of what is cut off."""
    if width(text) <= most:
        return text
    if most < 1:
        return ""
    left = most - 1
    for at, character in enumerate(text):
        left -= _width(character)
        if left < 0:
            return text[:at].rstrip() + "…"
    return text


def pad(text: str, wanted: int) -> str:
    """Fill a text up to this many columns."""
    return text + " " * (wanted - width(text))


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if combining(character) or character == "\u200d":
        return 0
    # U+FE0F asks for the emoji form of the character before it, which takes a column more. Ambiguous ones are narrow
    # everywhere but in terminals set up for it; the emoji of a joined one are each counted, which errs on the safe side.
    return 2 if east_asian_width(character) in "WF" else 1
