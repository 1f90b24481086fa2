"""``-x`` and ``--xl``: one fenced code block of an answer, and nothing else of it."""

from __future__ import annotations

from unspool.api.deltas import Text
from unspool.cli.formats import TextFormat
from unspool.terminal.markdown.fences import Fences

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Output


class ExtractFormat(TextFormat):
    """The first code block as it arrives, or the last when all has. Of several choices it is the first one's."""

    awaits = "waiting for a code block"

    def __init__(self, output: Output, *, last: bool = False, ends_line: bool = True) -> None:
        super().__init__(output, ends_line=ends_line)
        self._fences = Fences()
        self._last = last
        # The block that is wanted, as far as it is known; and which one that is.
        self._code: list[str] = []
        self._number = 0

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Write what the deltas add to the block."""
        super().show([one for one in deltas if type(one) is not Text or one.choice == 0], events, at)

    def close(self, ending: Ending, id: str | None) -> None:
        """Write what was kept back."""
        self._take(self._fences.finish())
        if self._last:
            self._output.write(self._output.safe("".join(self._code)))
        super().close(ending, id)

    def problem(self) -> str:
        """Return what to say where there is no code block."""
        return "" if self._fences.count else "the answer has no fenced code block"

    def code(self) -> str:
        """Return the block."""
        return "".join(self._code)

    def _put(self, text: str) -> None:
        self._take(self._fences.feed(text))

    def _take(self, pieces: list[tuple[int, str]]) -> None:
        new = []
        for number, piece in pieces:
            if self._last and number != self._number:
                self._code.clear()
                self._number = number
            if self._last or number == 1:
                new.append(piece)
                self._code.append(piece)
        if new and not self._last:
            super()._put("".join(new))
