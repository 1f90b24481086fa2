"""Markdown that arrives in pieces, as lines for a terminal: those that are final, and a preview of the rest.

    page = Markdown(80)
    for piece in answer:
        for line in page.feed(piece): ...     # append it; it never changes
        page.preview()                        # the rows that finish() would add now
    page.finish()

The rows of `feed` and `finish` together depend only on the text, not on its pieces: decisions are made at line ends, and
in long lines at places that the text itself determines. The cost of a piece does not depend on the length of the text before it.
"""

from __future__ import annotations

import re

from unspool.terminal.cells import clusters
from unspool.terminal.markdown.blocks import Blocks
from unspool.terminal.markdown.leaves import Code, Paragraph, Verbatim
from unspool.terminal.markdown.tables import Table
from unspool.terminal.paint import Painter
from unspool.terminal.safety import Sanitizer
from unspool.terminal.style import DARK, PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.style import Row

# A line that is longer is taken before its end, if its beginning shows that it is prose: models write paragraphs in one line.
_PROSE = 200
# A heading, or a row of a table, that is longer is prose.
_STRUCTURE = 8192
# Of a line of code that is longer, as much of its end is previewed.
_TAIL = 2000
# Beginnings of lines that say nothing yet: showing them would show a list or a rule for a moment where emphasis follows.
_UNDECIDED = re.compile(r"(?:[-+*_=~`|:$<>#\\ \t]|\d{1,9}(?:[.)]|$))*")
# The characters of a line that may close a block of code or a formula.
_MAY_CLOSE = " \t`~$\\]>"
_LONE = re.compile("[\ud800-\udfff]")
# Half of it is for text, and the widest character takes four cells.
_NARROWEST = 8


class Markdown:
    """A document that is rendered while it arrives, at most ``width`` cells wide, lines of code excepted.

    ``theme`` maps roles to colours (see `unspool.terminal.style`); without one there are no sequences at all. ``links`` makes links
    clickable (OSC 8) instead of writing their URLs out. ``columns`` sends the cursor to where the next column of a table begins.
    ``breaks`` keeps single line ends within paragraphs, which Markdown joins with a blank.
    """

    def __init__(
        self,
        width: int = 80,
        *,
        theme: dict[int, str] | None = DARK,
        links: bool = False,
        columns: bool = False,
        breaks: bool = False,
    ) -> None:
        self._painter = Painter(theme, links=links, columns=columns)
        self._blocks = Blocks(max(width, _NARROWEST), show_urls=not self._painter.links, breaks=breaks)
        self._sanitizer = Sanitizer()
        # The line that has not ended: its beginning, and the rest so far.
        self._line = ""
        self._rest: list[str] = []
        # Whether it is prose, and was rendered as it arrived.
        self._given = False
        self._number = 1
        # The width that follows when the line is part of a block, 0 for the same.
        self._next_width = 0

    def feed(self, text: str) -> list[str]:
        """Take a piece of the text; return the lines that became final."""
        text = self._sanitizer.feed(text)
        if not text.isprintable():
            text = _LONE.sub("\ufffd", text)
        *ends, rest = text.split("\n")
        for end in ends:
            self._add(end)
            self._end_line()
        if rest:
            self._add(rest)
        return self._painted(self._blocks.take())

    def finish(self) -> list[str]:
        """End the text; return the rest of the lines."""
        if self._line or self._given:
            self._end_line()
        return self._painted(self._blocks.finish())

    @property
    def held(self) -> int:
        """The number of the line, from 1, whose beginning `preview` leaves out since it says nothing yet; 0 if there is none."""
        if self._given or not self._line.strip(" \t"):
            return 0
        leaf = self._blocks.leaf
        if isinstance(leaf, (Code, Verbatim)) and self._blocks.is_verbatim(self._line):
            return 0 if self._line.strip(_MAY_CLOSE) else self._number
        if _UNDECIDED.fullmatch(self._line) is None or (isinstance(leaf, Table) and "|" in self._line):
            return 0
        return self._number

    def preview(self, *, all: bool = False) -> list[str]:
        """Return the lines that are not final yet, as `finish` would most likely return them. Only a line with a URL is wider than ``width``.

        Open marks are shown as if they were closed. Marks without text are left out, or, with ``all``, shown unchanged.
        """
        blocks = self._blocks.copy()
        if not self._given:
            self._look_ahead(blocks, all)
        width = blocks.width
        rows = blocks.finish()
        if all and self.held:
            rows.append([(self._line, PLAIN, None)])
        return self._painted([part for row in rows for part in _broken(row, width)])

    def resize(self, width: int, *, keep: bool = False) -> None:
        """Continue at another width. Final rows do not change; with ``keep`` neither does the preview of the open block."""
        width = max(width, _NARROWEST)
        if keep and self._line:
            self._next_width = width  # its block is not known yet
        else:
            self._next_width = 0
            self._blocks.resize(width, keep=keep)

    def _add(self, text: str) -> None:
        if self._given:
            self._blocks.more(text)
            return
        if self._rest:
            self._rest.append(text)
            return
        known = len(self._line)
        self._line += text
        length = len(self._line)
        if known < _PROSE <= length and self._blocks.is_prose(self._line[:_PROSE]):
            self._give(_PROSE)
        elif known < _STRUCTURE <= length:
            if self._blocks.is_verbatim(self._line[:_STRUCTURE]):
                self._rest = [self._line[_STRUCTURE:]]
                self._line = self._line[:_STRUCTURE]
            else:
                self._give(_STRUCTURE)

    def _give(self, size: int) -> None:
        """Give the line away, though its end is not known."""
        line, self._line = self._line, ""
        self._blocks.line(line[:size], whole=False)
        self._blocks.more(line[size:])
        self._given = True
        self._resize_next()

    def _end_line(self) -> None:
        if not self._given:
            self._blocks.line(self._line + "".join(self._rest))
        self._line, self._rest, self._given = "", [], False
        self._number += 1
        self._resize_next()

    def _resize_next(self) -> None:
        if self._next_width:
            self.resize(self._next_width, keep=True)

    def _look_ahead(self, blocks: Blocks, all: bool) -> None:
        """Give the beginning of the line to a copy of the blocks."""
        leaf = blocks.leaf
        if isinstance(leaf, (Code, Verbatim)) and (not self._line or blocks.is_verbatim(self._line)):
            if len(self._line) > _TAIL:
                blocks.line(self._end())
            elif self._line.strip(_MAY_CLOSE):
                blocks.line(self._line)
            blocks.leave_open()
            return
        undecided = _UNDECIDED.fullmatch(self._line) is not None
        if isinstance(leaf, Table) and "|" in self._line:
            return  # half a row
        if isinstance(leaf, Paragraph) and undecided and leaf.has_one_line and leaf.text.startswith("|") and not all:
            blocks.forget_leaf()  # most likely the header of a table
        elif not undecided and not (self._line.lstrip(" ").startswith("|") and not isinstance(leaf, Paragraph)):
            blocks.line(self._line)
            if isinstance(blocks.leaf, Code):
                blocks.leave_open()

    def _end(self) -> str:
        """The end of a long line: as much of it as is worth a look."""
        parts: list[str] = []
        size = 0
        for part in reversed([self._line[-_TAIL:], *self._rest[-_TAIL:]]):
            parts.append(part)
            size += len(part)
            if size >= _TAIL:
                break
        return "".join(reversed(parts))[-_TAIL:]

    def _painted(self, rows: list[Row]) -> list[str]:
        return [self._painter.row(row) for row in rows]


def _broken(row: Row, width: int) -> list[Row]:
    """A row of code, as rows of at most ``width`` cells, which a terminal would make of it."""
    if sum(len(text) for text, _, _ in row) * 2 <= width or any("://" in text for text, _, _ in row):
        return [row]  # a URL stays in one piece, see `Wrapper`
    rows: list[Row] = [[]]
    used = 0
    for text, style, url in row:
        if text.isascii():
            while len(text) > width - used:
                if width > used:
                    rows[-1].append((text[: width - used], style, url))
                text = text[width - used :]
                rows.append([])
                used = 0
            rows[-1].append((text, style, url))
            used += len(text)
            continue
        part = ""
        for cluster, size in clusters(text):
            if used + size > width:
                rows[-1].append((part, style, url))
                rows.append([])
                part, used = "", 0
            part += cluster
            used += size
        rows[-1].append((part, style, url))
    return rows
