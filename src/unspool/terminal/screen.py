"""The lower end of the screen: permanent lines, and below them a few rows that may still change.

Permanent lines are written once and never changed, so the terminal's own scrollback, search and selection keep working. What
may change, the live region, is at most twelve rows, and always less than the screen has: what has scrolled away cannot be reached.
The cursor rests at the end of the last live row, where a terminal that reflows its text takes it along, and is never hidden.
"""

from __future__ import annotations

import re

from unspool.terminal.cells import cells
from unspool.terminal.sequences import without
from unspool.terminal.size import size_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from unspool.terminal.output import Output

MOST_ROWS = 12

# Synchronized output: the terminal shows the text between them in one frame. Others ignore the sequences.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
# How a change of a row begins that goes back in it, which nothing can where the row is wrapped.
_BACK = re.compile(r"\x1b\[\d+D").match
# How a painted row ends that has a style at its end.
_PLAIN = "\x1b[0m"


class Screen:
    """Writes frames: some lines that stay, and the live rows in their present state. One ``write`` for each frame."""

    def __init__(self, output: Output, size: Callable[[], tuple[int, int]] | None = None) -> None:
        self._output = output
        self._size = size or (lambda: size_of(output.fd))
        self.columns, self.rows = self._size()
        self._live: list[str] = []

    @property
    def is_live(self) -> bool:
        """Whether there are live rows on the screen."""
        return bool(self._live)

    def measure(self) -> bool:
        """Look how large the terminal is now; return whether its width has changed.

        Live rows that fit the new width are erased, to be drawn again for it. Rows that do not fit are wrapped by most terminals, and
        stay: the first of them may have scrolled into the history (tmux does that even where there is room below), where nothing
        can be erased, so drawing them again would show them twice. If they cannot all be on the screen any more, they are left
        behind.
        """
        before = self.columns, self.rows
        self.columns, self.rows = self._size()
        if before == (self.columns, self.rows) or not self._live:
            return before[0] != self.columns
        if before[0] != self.columns:
            height = len(self._live)
            if self._height(self._live) == height:
                self._leave() if height >= self.rows else self._erase(height)
        elif len(self._live) >= self.rows:
            self._leave()
        return before[0] != self.columns

    def frame(self, lines: list[str], live: list[str]) -> None:
        """Write lines that stay, and below them the live rows: of those the last, as many as there is room for."""
        live = self._cropped(live)
        old = self._live
        rows = lines + live
        same = 0
        for before, after in zip(old, rows, strict=False):
            if before != after:
                break
            same += 1
        end = "" if live else "\n"
        self._live = live
        if same == len(old):
            # All existing text stays: the new text follows it.
            if len(rows) > same:
                self._output.write(("\n" if old else "") + "\n".join(rows[same:]) + end)
            elif old and not live:
                self._output.write("\n")
            return
        if same == len(old) - 1 and len(rows) > same:
            # Prose that continues in its row is the most frequent frame by far; next come words that move to the next row.
            change = _change(old[same], rows[same])
            if change is not None and not (_BACK(change) and self._height(old[same:]) > 1):
                self._output.write("\n".join([change, *rows[same + 1 :]]) + end)
                return
        if same == len(rows) and live:
            same -= 1  # the cursor belongs at the end of a row that stays
        height = self._height(old[same:])
        if height >= self.rows:
            self._output.write("\n")
            height = 1
        change = "\n".join(rows[same:]) + (end if rows[same:] else "")
        self._output.write(f"{_BEGIN}{_erased(height)}{change}{_END}")

    def clear(self) -> None:
        """Erase the live rows, so that others may write; the next frame writes them again."""
        if self._live:
            self._erase(self._height(self._live))

    def forget(self) -> None:
        """Leave the live rows where they are, since the cursor may be anywhere by now; the next frame writes them again."""
        if self._live:
            self._leave()

    def _height(self, rows: list[str]) -> int:
        """The rows of the screen that these take."""
        return sum(1 if len(row) <= self.columns else max(1, -(-cells(without(row)) // self.columns)) for row in rows)

    def _cropped(self, live: list[str]) -> list[str]:
        """The last of the rows that there is room for."""
        room = max(1, min(self.rows - 1, MOST_ROWS))
        live = live[-room:]
        while len(live) > 1 and self._height(live) > room:
            live = live[1:]
        if live and self._height(live) > room:
            # A URL in a low window: rows that have scrolled away cannot be erased.
            text = without(live[0])
            return [text[-room * self.columns // (1 if text.isascii() else 2) :]]
        return live

    def _erase(self, height: int) -> None:
        self._live = []
        self._output.write(_erased(height))
        self._output.at_line_start = True

    def _leave(self) -> None:
        self._live = []
        self._output.write("\n")


def _erased(height: int) -> str:
    """The sequence that erases so many rows from the last one upwards, and leaves the cursor where the first began.

    Row by row (EL) and not all at once (ED): where ED begins at the upper left corner, tmux keeps what is erased in its history
    (screen_write_clearendofscreen), from which it would come back as a second copy.
    """
    return "\r\x1b[K" + "\x1b[1A\x1b[K" * (height - 1)


def _change(old: str, new: str) -> str | None:
    """The text that turns a row into another one when written at its end, None if the row is better written again."""
    if new.startswith(old):
        return new[len(old) :]
    body = old.removesuffix(_PLAIN)
    escape = body.rfind("\x1b")
    if body != old and new.startswith(body) and body.startswith("\x1b[", escape):
        # The style in which the row ended continues.
        return body[escape : body.index("m", escape) + 1] + new[len(body) :]
    kept = next((at for at, (before, after) in enumerate(zip(old, new, strict=False)) if before != after), len(new))
    tail = old[kept:]
    escape = old.rfind("\x1b")
    is_plain = escape < 0 or (escape + len(_PLAIN) <= kept and old.startswith(_PLAIN, escape))
    # The cursor goes back by cells: what it passes must have one for each character, and nothing may combine with what stays.
    if is_plain and kept and tail.isascii() and old[kept - 1].isascii() and new[kept : kept + 1].isascii():
        return f"\x1b[{len(tail)}D\x1b[K{new[kept:]}"
    return None
