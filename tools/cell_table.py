"""Write src/unspool/terminal/cell_table.py: ``python tools/cell_table.py``, with the wcwidth package installed.

wcwidth carries the tables of the newest Unicode version, where Python's own unicodedata is as old as the interpreter. The package
itself takes longer to import than all of unspool's renderer, so only its ranges are kept.
"""

from __future__ import annotations

from pathlib import Path

from wcwidth.table_wide import WIDE_EASTASIAN
from wcwidth.table_zero import ZERO_WIDTH

_TARGET = Path(__file__).parent.parent / "src" / "unspool" / "terminal" / "cell_table.py"


def _newest(table: dict[str, tuple[tuple[int, int], ...]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    version = max(table, key=lambda name: tuple(map(int, name.split("."))))
    return version, table[version]


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
    # ASCII never looks here, and controls never reach it.
    zero = tuple((first, last) for first, last in zero if first > 0x9F)
    _TARGET.write_text(
        f'"""How many cells a character takes, as Unicode {version} has it. Written by tools/cell_table.py: do not edit.\n\n'
        "Each table is the borders of its ranges in order: where one begins, and where it is over.\n"
        '"""\n\n# fmt: off\n'
        + _rows("WIDE", "East Asian wide and full-width characters, and those shown as emoji: two cells.", wide)
        + _rows("ZERO", "Combining marks and format characters: none.", zero)
    )


main()
