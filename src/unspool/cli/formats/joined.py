"""An answer and its rest, which was asked for later: shown as one."""

from __future__ import annotations

from unspool.api.deltas import Text
from unspool.cli.formats.wrapper import Wrapper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.cli.formats import Format
    from unspool.client.resume.continuation import Seam
    from unspool.outcome import Ending
    from unspool.sse import Event


class Joined(Wrapper):
    """A format that is shown a continuation, without what it repeats of the text before."""

    def __init__(self, inner: Format, seam: Seam) -> None:
        super().__init__(inner)
        self._seam = seam

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show the deltas of one turn."""
        self.inner.show(self._seam.joined(deltas), events, at)

    def close(self, ending: Ending, id: str | None) -> None:
        """Show what the seam held back, and close the format."""
        held = self._seam.close()
        if held:
            self.inner.show([Text(held)], [], 0.0)
        self.inner.close(ending, id)
