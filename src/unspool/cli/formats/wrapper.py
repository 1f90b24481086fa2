"""A format that changes what another one shows."""

from __future__ import annotations

from unspool.cli.formats import Format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unspool.api.deltas import Delta, ToolCall
    from unspool.jsontext import JsonObject
    from unspool.outcome import Ending
    from unspool.sse import Event


class Wrapper(Format):
    """Delegates everything to the format inside; subclasses change what they are about."""

    def __init__(self, inner: Format) -> None:
        self.inner = inner
        self.awaits = inner.awaits

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show what arrived together."""
        self.inner.show(deltas, events, at)

    def close(self, ending: Ending, id: str | None) -> None:
        """Show what was held back, and how the answer ended."""
        self.inner.close(ending, id)

    def due(self) -> float | None:
        """Return the seconds until `tick` has something to do."""
        return self.inner.due()

    def tick(self) -> None:
        """Draw pending output."""
        self.inner.tick()

    def prepare(self) -> None:
        """Do now what the first text would otherwise wait for."""
        self.inner.prepare()

    def show_status(self, line: str | None) -> bool:
        """Show a line below the answer, or take it away."""
        return self.inner.show_status(line)

    def step_aside(self) -> None:
        """Take away the rows that may still change."""
        self.inner.step_aside()

    def redraw(self) -> None:
        """Draw below the current screen content."""
        self.inner.redraw()

    def flush(self) -> None:
        """Show all that has come."""
        self.inner.flush()

    def problem(self) -> str:
        """Return why an otherwise complete answer is invalid."""
        return self.inner.problem()

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls to report beside the answer."""
        return self.inner.tool_calls

    @property
    def extras(self) -> Sequence[Delta]:
        """The citations, pictures and sounds to report beside the answer."""
        return self.inner.extras

    def code(self) -> str | None:
        """Return the code block that is shown in place of the answer."""
        return self.inner.code()

    def take_object(self, value: object) -> None:
        """Take the JSON value of the first choice."""
        self.inner.take_object(value)

    def take_stats(self, facts: JsonObject) -> bool:
        """Take the facts of ``--stats``."""
        return self.inner.take_stats(facts)
