"""GFM tables: the widths of columns, which must be chosen while rows still arrive."""

from __future__ import annotations

import re

from unspool.terminal.markdown.inlines import parse, plain
from unspool.terminal.markdown.wrap import wrap
from unspool.terminal.paint import row_cells
from unspool.terminal.style import ALIGNED, BOLD, DIM, PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.markdown.inlines import References
    from unspool.terminal.style import Row

# Lines of the screen that a table may take before its widths are fixed and it is written: it has to fit where it can be redrawn.
_MOST_LIVE = 10
# A column that is narrower than this, and not so by nature, cannot be read.
_NARROWEST = 6
# Width that stays free for later and longer cells when the widths are fixed.
_SPARE = 6
_GAP = 3

_BREAK = re.compile(r"<br */?>", re.IGNORECASE)
_DELIMITER = re.compile(":?-+:?")
# By whether there is a colon before, and after: left, right, centred.
_ALIGNMENTS = {(False, False): "<", (True, False): "<", (False, True): ">", (True, True): "^"}


def split(line: str) -> list[str]:
    """Return the cells of a row."""
    line = line.strip(" \t")
    if line.startswith("|"):
        line = line[1:]
    if line.endswith("|") and not line.endswith("\\|"):
        line = line[:-1]
    if "\\|" in line:
        return [cell.replace("\0", "|").strip(" \t") for cell in line.replace("\\|", "\0").split("|")]
    return [cell.strip(" \t") for cell in line.split("|")]


def alignments(line: str, columns: int) -> list[str] | None:
    """Return the alignment of each column if the line is a delimiter row for so many columns."""
    cells = split(line)
    if len(cells) != columns or not ("|" in line or ":" in line) or not all(map(_DELIMITER.fullmatch, cells)):
        return None
    return [_ALIGNMENTS[cell.startswith(":"), cell.endswith(":")] for cell in cells]


class Table:
    """A table that takes a row at a time, and gives its lines when its widths are fixed: at its end, or when it has grown tall."""

    kind = "table"

    def __init__(self, header: str, aligned: list[str], width: int, references: References, show_urls: bool) -> None:
        self._aligned = aligned
        self._width = width
        self._references = references
        self._show_urls = show_urls
        self._header = self._parse(header, BOLD)
        self._rows: list[list[Row]] = []
        # The width that each column needs, then the one that it has.
        self._natural = [max(1, row_cells(cell)) for cell in self._header]
        self._widths: list[int] | None = None
        self._records = False
        self._height = 0

    def copy(self) -> Table:
        """The same table, to look ahead with."""
        other = Table.__new__(Table)
        other.__dict__.update(self.__dict__)
        other._rows, other._natural = self._rows.copy(), self._natural.copy()
        return other

    def take(self, line: str) -> list[Row]:
        """Add a row; return the lines that can be written."""
        cells = self._parse(line, PLAIN)
        if self._widths is not None:
            return self._laid_out(cells)
        self._rows.append(cells)
        self._natural = [max(width, row_cells(cell)) for width, cell in zip(self._natural, cells, strict=True)]
        # At least a line a row, and more where a cell does not fit.
        self._height += 1 + sum(row_cells(cell) for cell in cells) // max(1, self._width)
        return self._fix(spare=True) if self._height >= _MOST_LIVE else []

    def fix(self) -> list[Row]:
        """Fix the widths as they are by now; return the lines that can be written."""
        return self._fix(spare=False) if self._widths is None and self._rows else []

    def finish(self) -> list[Row]:
        """Return the lines that are still to be written."""
        return self._fix(spare=False) if self._widths is None else []

    def _parse(self, line: str, style: int) -> list[Row]:
        cells = split(line)[: len(self._aligned)]
        cells += [""] * (len(self._aligned) - len(cells))
        return [self._runs(cell, style) for cell in cells]

    def _runs(self, cell: str, style: int) -> Row:
        # A break inside a cell, which GFM can only say in HTML, becomes a blank.
        runs = parse(_BREAK.sub(" ", cell), self._references, style=style, show_urls=self._show_urls)
        return [(" ", style, None) if run[0] == "\n" else run for run in runs]

    def _fix(self, *, spare: bool) -> list[Row]:
        """Fix the widths, and return all lines so far."""
        room = self._width - _GAP * (len(self._natural) - 1)
        least = [min(width, _NARROWEST) for width in self._natural]
        self._records = sum(least) > room
        widths = self._natural
        if spare:
            widths = [width + _SPARE for width in widths] if sum(widths) + _SPARE * len(widths) <= room else widths
        self._widths = _shrunk(widths, least, room)
        rows, self._rows = self._rows, []
        lines: list[Row] = []
        if not self._records:
            lines += self._laid_out(self._header)
            lines.append([("─┼─".join("─" * width for width in self._widths), DIM, None)])
        elif not rows:
            lines += [line for cell in self._header for line in wrap(cell, self._width)]
        for row in rows:
            lines += self._laid_out(row)
        return lines

    def _laid_out(self, cells: list[Row]) -> list[Row]:
        """Return the lines of one row."""
        assert self._widths is not None
        if self._records:
            return self._as_record(cells)
        wrapped = [wrap(cell, width) or [[]] for cell, width in zip(cells, self._widths, strict=True)]
        lines = []
        for number in range(max(map(len, wrapped))):
            line: Row = []
            for column, (rows, width) in enumerate(zip(wrapped, self._widths, strict=True)):
                if column:
                    line.append((" │ ", DIM, None))
                row = rows[number] if number < len(rows) else []
                space = max(0, width - row_cells(row))
                left = {"<": 0, ">": space, "^": space // 2}[self._aligned[column]]
                if left:
                    line.append((" " * left, PLAIN, None))
                line += row
                last = column == len(self._widths) - 1
                # Terminals disagree about the width of joined emoji, of skin tones, of much that is not ASCII: the line between
                # two columns stands where it belongs all the same.
                style = PLAIN if plain(row).isascii() else ALIGNED
                if (space - left or style) and not last:
                    line.append((" " * (space - left), style, None))
            lines.append(line)
        return lines

    def _as_record(self, cells: list[Row]) -> list[Row]:
        """A row where columns would be too narrow to be read: each cell after its header, and an empty line."""
        lines: list[Row] = []
        for header, cell in zip(self._header, cells, strict=True):
            if header and not cell and plain(header):
                lines += wrap(header, self._width)
                continue
            if header:
                header = [*header, (": ", BOLD, None)]
            lines += wrap([*header, *cell], self._width, keeps_urls=True)
        return [*lines, []]


def _shrunk(natural: list[int], least: list[int], room: int) -> list[int]:
    """Take from the widest columns until all fit."""
    widths = natural.copy()
    excess = sum(widths) - max(room, sum(least))
    while excess > 0:
        widest = max(widths)
        at = [column for column, width in enumerate(widths) if width == widest and width > least[column]]
        if not at:
            at = [column for column, width in enumerate(widths) if width > least[column]]
            if not at:
                break
        lower = max([width for width in widths if width < widest], default=0)
        step = max(1, min(widest - lower, excess // len(at)))
        for column in at:
            taken = min(step, widths[column] - least[column], excess)
            widths[column] -= taken
            excess -= taken
    return widths
