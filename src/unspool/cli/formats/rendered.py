"""``--format text`` as a person reads it: rendered Markdown."""

from __future__ import annotations

import time

from unspool.cli.formats import TextFormat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.outcome import Ending
    from unspool.terminal.output import Output
    from unspool.terminal.page import Page

# Seconds in which a connection is mostly made and the request sent. Only then is there time for imports.
_CONNECTED = 0.1


class MarkdownFormat(TextFormat):
    """The answer's text as Markdown, rendered while it arrives.

    The renderer is imported when the request is on its way, in the time that its answer takes.
    """

    def __init__(self, output: Output, color: str = "auto", *, breaks: bool = False) -> None:
        super().__init__(output)
        self._color = color
        self._breaks = breaks
        self._page: Page | None = None
        self._ready_at = time.monotonic() + _CONNECTED

    def due(self) -> float | None:
        """Seconds until `tick` should be called, None while it need not."""
        return max(0.0, self._ready_at - time.monotonic()) if self._page is None else self._page.due()

    def tick(self) -> None:
        """Import the renderer when there is time, or draw what is due."""
        if self._page is not None or time.monotonic() >= self._ready_at:
            self._ready().tick()

    def step_aside(self) -> None:
        """Make room for a line that is no part of the answer."""
        if self._page is not None:
            self._page.step_aside()

    def prepare(self) -> None:
        """Import the renderer now."""
        self._ready()

    def show_status(self, line: str | None) -> bool:
        """Show a line below what has come, until the next one; None takes it away."""
        if self._page is not None:
            self._page.status(line)
        return True

    def redraw(self) -> None:
        """Leave what is on the screen as it is, since others may have written below it, and continue under that."""
        if self._page is not None:
            self._page.start_anew()

    def flush(self) -> None:
        """Show all that has come, though more will."""
        if self._page is not None:
            self._page.close()

    def close(self, ending: Ending, id: str | None) -> None:
        """Show all that has come."""
        for choice in sorted(self._others):
            self._put(f"\n\n---\n\nchoice {choice + 1}\n\n" + "".join(self._others[choice]))
        self.flush()

    def _put(self, text: str) -> None:
        self._ready().write(text)

    def _ready(self) -> Page:
        if self._page is None:
            from unspool.terminal.page import Page

            self._page = Page(self._output, color=self._color, breaks=self._breaks)
        return self._page
