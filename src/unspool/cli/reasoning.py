"""What the model thinks, on stderr as it arrives. Imported with the first piece of it."""

from __future__ import annotations

import os

from unspool.terminal import abilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.output import Notes


class ReasoningView:
    """Writes the reasoning, dim where a terminal can show that, else under a heading."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._is_dim = notes.output.is_tty and not abilities.is_dumb(os.environ)
        # A row that has not ended.
        self._is_open = False

    def begin(self) -> None:
        """Write what comes before the first piece."""
        if not self._is_dim:
            self._notes.write("reasoning:\n")

    def write(self, text: str) -> None:
        """Write a piece."""
        text = self._notes.output.safe(text)
        if text:
            self._is_open = not text.endswith("\n")
            self._notes.write(f"\x1b[2m{text}\x1b[0m" if self._is_dim else text)

    def end_row(self) -> None:
        """End the row, so that another may write."""
        if self._is_open:
            self._is_open = False
            self._notes.write("\n")

    def end(self, *, is_followed: bool) -> None:
        """End the reasoning, set off from an answer that follows on the same screen."""
        self._notes.write(("\n" if self._is_open else "") + ("\n" if is_followed and self._notes.output.is_tty else ""))
        self._is_open = False
