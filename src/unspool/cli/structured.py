"""Answers that have to follow a schema: the object as it grows, and whether it is what was asked for.

The text goes out as it comes, whatever becomes of it; that it is no JSON, or not what the schema says, is told at the end.
"""

from __future__ import annotations

from unspool import outcome
from unspool.api.deltas import Refusal, Text, ToolCall
from unspool.api.validation import mismatch
from unspool.cli import formats
from unspool.cli.material import read_schema, several
from unspool.jsontext import clean, dumps, from_json, loads
from unspool.outcome import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.sse import Event
    from unspool.terminal.output import Output

# A text is parsed from its beginning each time, which would cost the square of its length if it were done for each piece. So a
# longer one is parsed again when it has grown by this share, which makes the whole cost that of some 16 parsings at the end.
_SHARE = 16
# The longest text that is parsed anew for each piece.
_SHORT = 1024


def choose(arguments: dict[str, Any]) -> Callable[[Output], Any]:
    """Return what makes the format that the arguments ask for. JSON is shown as it is, unless Markdown is asked for."""
    schema = (
        read_schema(arguments["schema"]) if arguments["schema"] else several(read_schema(arguments["schema_multi"]))
    )
    view = formats.choose({**arguments, "raw": arguments["raw"] or not arguments["markdown"]})
    return lambda output: Structured(view(output), output, schema, tells=arguments["format"] == "stream-json")


class Structured:
    """A format with what becomes of the JSON in its text.

    ``verdict`` is how the asking ended where the answer is whole but not what its schema says, else None. With ``tells`` lines
    of JSON with the object so far, and with the whole one, are written between those of the format.
    """

    def __init__(self, format: Any, output: Output, schema: dict[str, Any], *, tells: bool) -> None:
        self.verdict: Ending | None = None
        self._format = format
        self._output = output
        self._schema = schema
        self._tells = tells
        self._growing: dict[int, _Growing] = {}
        self._has_refused = False
        self._has_called = False

    def __getattr__(self, name: str) -> Any:
        # What else formats can do, and whether this one can.
        return getattr(self._format, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # What formats are told from outside is meant for the one inside.
        super().__setattr__(name, value) if name[0] == "_" or name == "verdict" else setattr(self._format, name, value)

    def show(self, deltas: list[Delta], events: list[Event], at: float) -> None:
        """Show the deltas of one turn, and then the objects that have grown by them."""
        self._format.show(deltas, events, at)
        for delta in deltas:
            if type(delta) is Text:
                self._growing.setdefault(delta.choice, _Growing()).add(delta.text)
            self._has_refused = self._has_refused or type(delta) is Refusal
            self._has_called = self._has_called or type(delta) is ToolCall
        if not self._tells:
            return
        for choice, growing in self._growing.items():
            if growing.is_due and growing.read():
                self._line({"type": "partial", "object": growing.value, "choice": choice, "at": round(at, 3)})

    def close(self, ending: Ending, id: str | None) -> None:
        """Judge the objects, and close the format with what came of that."""
        wrong = None
        for choice, growing in sorted(self._growing.items()) or [(0, _Growing())]:
            value, why = self._judge(growing)
            wrong = wrong or why
            if choice == 0 and hasattr(self._format, "object"):
                self._format.object = value
            if self._tells and (growing.pieces or why):
                self._line({"type": "object", "object": value, "error": why, "choice": choice})
        if wrong is not None and ending.outcome == outcome.COMPLETE:
            self.verdict = ending = Ending(outcome.ERROR, f"the answer is whole, but {wrong}", ending.finish_reason)
        self._format.close(ending, id)

    def _judge(self, growing: _Growing) -> tuple[Any, str | None]:
        """The value of a whole text, and what is wrong with it."""
        text = "".join(growing.pieces)
        if not text.strip():
            if self._has_called:
                return None, None
            return None, "the model refused" if self._has_refused else "it is empty, and no JSON"
        try:
            value = clean(loads(text))
        except ValueError as error:
            return None, f"it is not JSON: {error}"
        wrong = mismatch(self._schema, value)
        return value, wrong and f"does not follow the schema: {wrong}"

    def _line(self, value: dict[str, Any]) -> None:
        self._output.write(self._output.safe(dumps(value) + "\n"))


class _Growing:
    """A JSON text as it arrives, and its value so far."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.value: Any = None
        self._size = 0
        self._read_size = 0

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self._size += len(text)

    @property
    def is_due(self) -> bool:
        """Whether it has grown enough to be read again."""
        grown = self._size - self._read_size
        return grown > 0 and (self._size <= _SHORT or grown * _SHARE >= self._read_size)

    def read(self) -> bool:
        """Read the value so far; whether it is another than before."""
        text = "".join(self.pieces)
        self.pieces = [text]
        self._read_size = self._size
        try:
            value = from_json(text.encode(), partial_mode="trailing-strings")
        except ValueError:
            return False
        if value == self.value:
            return False
        self.value = value
        return True
