"""Write src/unspool/terminal/cell_table.py: ``python tools/cell_table.py``, with the wcwidth package installed.

wcwidth carries the tables of the newest Unicode version, where Python's own unicodedata is as old as the interpreter. The package
itself takes 128 million instructions to import, twice as many as all of unspool's renderer, so only its ranges are kept.
"""

from __future__ import annotations

from pathlib import Path

from wcwidth.table_mc import CATEGORY_MC
from wcwidth.table_wide import WIDE_EASTASIAN
from wcwidth.table_zero import ZERO_WIDTH

_TARGET = Path(__file__).parent.parent / "src" / "unspool" / "terminal" / "cell_table.py"


def _newest(table: dict[str, tuple[tuple[int, int], ...]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    version = max(table, key=lambda name: tuple(map(int, name.split("."))))
    return version, table[version]


def _without(zero: tuple[tuple[int, int], ...], spacing: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """Leave out spacing marks (general category Mc), which tmux, xterm, VTE and glibc give a cell of their own.

    Terminals that work with grapheme clusters show some of them without one; a row that comes out shorter does no harm.
    """
    marks = {code for first, last in spacing for code in range(first, last + 1)}
    # ASCII never looks here, and controls never reach it.
    codes = sorted(code for first, last in zero for code in range(max(first, 0xA0), last + 1) if code not in marks)
    ranges: list[tuple[int, int]] = []
    for code in codes:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = ranges[-1][0], code
        else:
            ranges.append((code, code))
    return tuple(ranges)


def _rows(name: str, words: str, ranges: tuple[tuple[int, int], ...]) -> str:
    flat = [f"0x{number:X}" for first, last in ranges for number in (first, last + 1)]
    lines = []
    line = "   "
    for number in flat:
        if len(line) + len(number) + 2 > 120:
            lines.append(line)
            line = "   "
        line += f" {number},"
    lines.append(line)
    return f"# {words}\n{name} = (\n" + "\n".join(lines) + "\n)\n"


def main() -> None:
    """Write the table."""
    version, wide = _newest(WIDE_EASTASIAN)
    _, zero = _newest(ZERO_WIDTH)
    _, spacing = _newest(CATEGORY_MC)
    zero = _without(zero, spacing)
    _TARGET.write_text(
        f'"""Display widths of characters as of Unicode {version}. Written by tools/cell_table.py: do not edit.\n\n'
        "Each table lists its ranges as boundaries in order: first code point, first code point after the range.\n"
        '"""\n\n# fmt: off\n'
        + _rows("WIDE", "East Asian wide and full-width characters, and those shown as emoji: two cells.", wide)
        + _rows("ZERO", "Nonspacing marks and format characters: none.", zero)
    )


main()
