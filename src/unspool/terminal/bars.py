"""Bars for a histogram, to an eighth of a cell, or in ASCII."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉"


def bars(rows: Sequence[tuple[str, int]], columns: int, *, ascii: bool = False) -> list[str]:
    """Return a line for each label and count: the label, a bar, and the count, in at most so many columns.

    Every count above zero has a visible bar.
    """
    label = max((len(label) for label, _ in rows), default=0)
    most = max((count for _, count in rows), default=0)
    digits = len(f"{most:,}")
    room = max(columns - label - digits - 4, 8)
    lines = []
    for name, count in rows:
        share = count / most if most else 0.0
        bar = _bar(share, room, ascii) if count else ""
        lines.append(f"{name:>{label}}  {bar:<{room}}  {count:>{digits},}".rstrip())
    return lines


def _bar(share: float, room: int, ascii: bool) -> str:
    if ascii:
        return "#" * max(round(share * room), 1)
    full, eighths = divmod(max(round(share * room * 8), 1), 8)
    return "█" * full + _EIGHTHS[eighths].strip()
