"""How large the terminal is."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS, ROWS = 80, 24


def size_of(fd: int, environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return columns and rows: the terminal's own, ``COLUMNS`` where there is no terminal, else 80 by 24."""
    try:
        columns, rows = os.get_terminal_size(fd)
    except OSError:
        given = environment.get("COLUMNS", "")
        columns, rows = int(given) if given.isdecimal() and 0 < int(given) < 10_000 else 0, 0
    return columns or COLUMNS, rows or ROWS
