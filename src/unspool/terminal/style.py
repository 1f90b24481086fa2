"""The look of a span of text: its style says its role, a theme the colours of each role."""

from __future__ import annotations

# A style is a number: attributes are its bits, and above them is a role, which has a colour.
PLAIN = 0
BOLD = 1
ITALIC = 2
UNDERLINE = 4
STRIKE = 8
DIM = 16
_ATTRIBUTES = ((BOLD, "1"), (DIM, "2"), (ITALIC, "3"), (UNDERLINE, "4"), (STRIKE, "9"))

# The cursor is moved to the column where the cells before it should end, since terminals disagree about some widths.
ALIGNED = 4096

_ROLE = 32
HEADING, CODE, LINK, MARKER, KEYWORD, STRING, COMMENT, NUMBER, NAME, INSERTED, DELETED = (
    _ROLE * number for number in range(1, 12)
)

#: Text of one line, its style, and the URL it links to.
Span = tuple[str, int, str | None]
#: A line of the screen.
Row = list[Span]

# Colours of the terminal's own palette, whose owner has made them readable, and not of ours.
DARK = {
    HEADING: "95",
    CODE: "96",
    LINK: "94",
    MARKER: "93",
    KEYWORD: "95",
    STRING: "92",
    COMMENT: "90",
    NUMBER: "93",
    NAME: "94",
    INSERTED: "92",
    DELETED: "91",
}
LIGHT = {
    HEADING: "35",
    CODE: "36",
    LINK: "34",
    MARKER: "33",
    KEYWORD: "35",
    STRING: "32",
    COMMENT: "90",
    NUMBER: "33",
    NAME: "34",
    INSERTED: "32",
    DELETED: "31",
}
#: Bold and underline without colour, for NO_COLOR.
COLOURLESS = {CODE: "1"}


def sgr(style: int, theme: dict[int, str]) -> str:
    """The parameters of the sequence that turns a style on, "" for plain text."""
    parts = [code for bit, code in _ATTRIBUTES if style & bit]
    colour = theme.get(style & -_ROLE)
    if colour:
        parts.append(colour)
    return ";".join(parts)
