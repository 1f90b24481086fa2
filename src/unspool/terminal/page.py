"""An answer on a terminal: Markdown rendered while it arrives, at most thirty frames a second."""

from __future__ import annotations

import os
import time

from unspool.terminal import abilities
from unspool.terminal.markdown.document import Markdown
from unspool.terminal.screen import Screen
from unspool.terminal.size import size_of
from unspool.terminal.style import COLOURLESS, DARK, LIGHT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unspool.terminal.output import Output

# Seconds between two frames.
_FRAME = 1 / 30
# Seconds for which the beginning of a line is held back that may become this or that. Models mostly send what decides it with the next
# token; if the model thinks or has stopped at this point, the person should see the text.
_PATIENCE = 0.15


class Page:
    """Takes text and shows it: the first piece at once, then a frame at most every thirtieth of a second.

    Where there is no terminal, or a dumb one, lines are written when they are final, and nothing is ever redrawn.
    """

    def __init__(
        self,
        output: Output,
        *,
        color: str = "auto",
        breaks: bool = False,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
        size: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        colour = abilities.wants_colour(color, environment, is_tty=output.is_tty)
        theme = LIGHT if abilities.theme_name(environment) == "light" else DARK
        self._output = output
        self._clock = clock
        self._screen = Screen(output, size) if output.is_tty and not abilities.is_dumb(environment) else None
        self._markdown = Markdown(
            # A row as wide as the screen leaves the cursor beyond its end, which terminals treat differently.
            self._screen.columns - 1 if self._screen is not None else size_of(output.fd, environment)[0],
            theme=None if colour is None else theme if colour else COLOURLESS,
            links=self._screen is not None and abilities.follows_links(environment),
            columns=self._screen is not None,
            breaks=breaks,
        )
        self._lines: list[str] = []
        self._is_dirty = False
        self._next = 0.0
        self._status: str | None = None
        # The line whose beginning is held back, and until when it may be; None once it is shown.
        self._held = 0
        self._held_until: float | None = None

    def write(self, text: str) -> None:
        """Take a piece of the answer, and show it now or with the next frame."""
        self._lines += self._markdown.feed(text)
        self._is_dirty = True
        self.tick()

    def due(self) -> float | None:
        """Seconds until `tick` has something to show, None while it has not."""
        if self._is_dirty:
            return max(0.0, self._next - self._clock())
        return max(0.0, self._held_until - self._clock()) if self._held_until is not None else None

    def tick(self) -> None:
        """Show changes, if it is time to."""
        due = self._next if self._is_dirty else self._held_until
        if due is not None and self._clock() >= due:
            self._show()

    def status(self, line: str | None) -> None:
        """Show a line, made safe and short enough, below the text until the next one; None removes it."""
        if self._screen is not None and line != self._status:
            self._status = line
            self._show()

    def step_aside(self) -> None:
        """Leave the place below the final lines to other writers, until the next frame."""
        if self._screen is not None:
            self._screen.clear()
            self._is_dirty = True

    def start_anew(self) -> None:
        """Leave the screen unchanged, and draw the rows that are not final again below it."""
        if self._screen is not None:
            self._screen.forget()
            self._is_dirty = True

    def close(self) -> None:
        """End the text, and show all of it."""
        if self._screen is not None:
            self._measure(self._screen)
        self._lines += self._markdown.finish()
        self._write([])

    def _show(self) -> None:
        if self._screen is not None:
            self._measure(self._screen)
            live = self._markdown.preview(all=self._is_out_of_patience())
            self._write(live if self._status is None else [*live, self._status])
        else:
            self._write([])
        self._is_dirty = False
        self._next = self._clock() + _FRAME

    def _is_out_of_patience(self) -> bool:
        """Whether the text has been held back for long enough."""
        held = self._markdown.held
        if held != self._held:
            self._held, self._held_until = held, self._clock() + _PATIENCE if held else None
        elif self._held_until is not None and self._clock() >= self._held_until:
            self._held_until = None
        return held > 0 and self._held_until is None

    def _measure(self, screen: Screen) -> None:
        if screen.measure():
            self._markdown.resize(screen.columns - 1, keep=screen.is_live)

    def _write(self, live: list[str]) -> None:
        lines, self._lines = self._lines, []
        if self._screen is not None:
            self._screen.frame(lines, live)
        elif lines:
            self._output.write("\n".join(lines) + "\n")
