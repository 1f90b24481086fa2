"""Fenced code out of Markdown that arrives in pieces: exactly the text between the fences, as soon as it is known to be that.

Which fence is one is CommonMark's to say (4.5): within lists and quotes, with backticks or tildes, closed by as many or more, or by
the end of what it stands in. The indentation of the fence and of its containers is taken off; all else stays, tabs too.
"""

from __future__ import annotations

import re

from unspool.terminal.markdown.blocks import Blocks
from unspool.terminal.markdown.leaves import Code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.style import Row

# The beginning of a line that may close a fence; anything else is code.
_MAY_CLOSE = re.compile(r"[ \t]*(?:`+|~+)?[ \t]*")
# A longer beginning that may still close the fence is not examined again before its line is complete.
_LOOKED_AT = 256
# Prose is wrapped and thrown away, at a width that makes little of that.
_WIDTH = 1000


class _Structure(Blocks):
    """The blocks alone, without rendering."""

    def open_fence(self) -> Code | None:
        """The fenced code that the next line may belong to."""
        return self.leaf if isinstance(self.leaf, Code) and self.leaf.fence else None

    def inside(self, line: str) -> str | None:
        """The text of a line within the open containers, None if it leaves one of them."""
        column = 0
        for one in self._containers:
            if one.indent:
                rest, column, taken = _deindented(line, column, one.indent)
                if taken < one.indent and rest.strip(" \t"):
                    return None
                line = rest
            else:
                rest, column, _ = _deindented(line, column, 3)
                if not rest.startswith(">"):
                    return None
                line, column, _ = _deindented(rest[1:], column + 1, 1)
        return line

    @property
    def is_contained(self) -> bool:
        """Whether lists or quotes are open."""
        return bool(self._containers)

    def _write(self, rows: list[Row]) -> None:
        self._leaf_is_new = False


class Fences:
    """Finds the fenced code in a text. ``count`` says how many blocks of it have begun."""

    def __init__(self) -> None:
        self.count = 0
        # A formula is no block to CommonMark.
        self._structure = _Structure(_WIDTH, formulas=False)
        # The line that has not ended: its beginning, while that may close a fence, and the parts after it.
        self._head = ""
        self._parts: list[str] = []
        # Whether the line is certainly code, and was returned as it arrived.
        self._given = False
        self._found: list[tuple[int, str]] = []

    def feed(self, text: str) -> list[tuple[int, str]]:
        """Take a piece of the text; return pieces of code, each with the number of its block. A block begins with an empty one."""
        *ends, rest = text.split("\n")
        for end in ends:
            self._add(end)
            self._end_line("\n")
        if rest:
            self._add(rest)
        return self._take()

    def finish(self) -> list[tuple[int, str]]:
        """End the text; return the last pieces."""
        if self._head or self._parts or self._given:
            self._end_line("")
        return self._take()

    def _add(self, text: str) -> None:
        if self._given:
            held = self._parts.pop() if self._parts else ""
            self._give(held + text)
        elif self._parts or len(self._head) > _LOOKED_AT or self._structure.is_contained:
            self._parts.append(text)
        else:
            self._head += text
            fence = self._structure.open_fence()
            if fence is not None and not _MAY_CLOSE.fullmatch(self._head.removesuffix("\r")):
                self._given = True
                head, self._head = self._head, ""
                self._give(_deindented(head, 0, fence.indent)[0])

    def _give(self, text: str) -> None:
        """Give out code in the middle of a line; a carriage return may be a part of its end."""
        if text.endswith("\r"):
            self._parts.append("\r")
            text = text[:-1]
        if text:
            self._found.append((self.count, text))

    def _end_line(self, end: str) -> None:
        line = self._head + "".join(self._parts)
        given, self._given = self._given, False
        self._head = ""
        self._parts.clear()
        if end:
            line = line.removesuffix("\r")
        if given:
            self._found.append((self.count, line + end))
            return
        structure = self._structure
        fence = structure.open_fence()
        if fence is not None:
            inside = structure.inside(line)
            if inside is not None and not _closes(inside, fence.fence):
                self._found.append((self.count, _deindented(inside, 0, fence.indent)[0] + end))
                return
        structure.line(line)
        opened = structure.open_fence()
        if opened is not None and opened is not fence:
            self.count += 1
            self._found.append((self.count, ""))

    def _take(self) -> list[tuple[int, str]]:
        found, self._found = self._found, []
        return found


def _closes(text: str, fence: str) -> bool:
    bare, _, indent = _deindented(text, 0, 4)
    bare = bare.rstrip(" \t")
    return indent < 4 and len(bare) >= len(fence) and not bare.strip(fence[0])


def _deindented(text: str, column: int, most: int) -> tuple[str, int, int]:
    """Take blanks off the beginning of a text at a column: at most so many columns, of which a tab may leave some as blanks.

    Returns the rest, its column, and how many columns were taken.
    """
    position = taken = 0
    while taken < most and text[position : position + 1] in (" ", "\t"):
        width = 1 if text[position] == " " else 4 - column % 4
        position += 1
        if taken + width > most:
            left = taken + width - most
            return " " * left + text[position:], column + width - left, most
        taken += width
        column += width
    return text[position:], column, taken
