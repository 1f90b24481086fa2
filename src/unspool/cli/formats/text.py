"""``--format text``: the answer's text to the letter."""

from __future__ import annotations

from unspool.api.deltas import Part, Refusal, Text, ToolCall
from unspool.cli.formats import Format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from unspool.api.deltas import Delta
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Output


class TextFormat(Format):
    """The answer's text as it arrives: to the letter into a pipe or file, made safe for a terminal.

    Of several choices the first streams and the others follow it. Where tool calls are all of the answer, a pipe or file gets
    them, each on a line as `unspool.shape.describe` says; on a terminal they are reported beside the answer.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._others: dict[int, list[str]] = {}
        self._has_text = False
        self._tool_calls: list[ToolCall] = []
        self._extras: list[Delta] = []

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Write what the deltas add to the text, in one go."""
        texts: list[str] = []
        for delta in deltas:
            if type(delta) is Text or type(delta) is Refusal:
                if delta.choice == 0:
                    texts.append(delta.text)
                else:
                    self._others.setdefault(delta.choice, []).append(delta.text)
            elif type(delta) is ToolCall:
                self._tool_calls.append(delta)
            elif isinstance(delta, Part):
                texts += self._take_part(delta)
        if texts:
            self._has_text = True
            self._put("".join(texts))

    def _take_part(self, part: Part) -> list[str]:
        """Keep what comes beside the text; returns what of it is text."""
        from unspool.api.parts import Annotation, Audio, Image

        if isinstance(part, Annotation | Audio | Image):
            self._extras.append(part)
        return [part.transcript] if isinstance(part, Audio) and part.choice == 0 and part.transcript else []

    def close(self, ending: Ending, id: str | None) -> None:
        """Write what was kept back, and on a terminal the line end that the answer lacks."""
        for choice in sorted(self._others):
            self._put(f"\n\n[choice {choice + 1}]\n" + "".join(self._others[choice]))
        if self._tool_calls and not self._has_text and not self._others and not self._output.is_tty:
            from unspool.jsontext import dumps
            from unspool.shape import describe

            self._put("".join(dumps(describe(call)) + "\n" for call in self._tool_calls))
        if self._output.is_tty and not self._output.at_line_start:
            self._output.write("\n")

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls of the answer."""
        return self._tool_calls

    @property
    def extras(self) -> Sequence[Delta]:
        """The citations, pictures and sounds of the answer."""
        return self._extras

    def _put(self, text: str) -> None:
        self._output.write(self._output.safe(text))
