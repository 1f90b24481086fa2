"""Answers that have to follow a schema: the object as it grows, and whether it is what was asked for.

As text, the JSON goes out as it comes, without a code fence around it; that it is no JSON, or not what the schema says, is reported
at the end.
"""

from __future__ import annotations

from unspool import outcome
from unspool.api.deltas import Refusal, Text, ToolCall
from unspool.api.jsonblock import JsonText
from unspool.api.validation import mismatch
from unspool.cli import formats
from unspool.cli.formats.wrapper import Wrapper
from unspool.client.library.objects import NOTHING, Growing
from unspool.jsontext import clean, dumps, loads
from unspool.outcome import Ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.api.deltas import Delta
    from unspool.cli.formats import Format, View
    from unspool.cli.options.shared import RenderingOptions
    from unspool.jsontext import JsonObject
    from unspool.sse import Event
    from unspool.terminal.output import Output


def choose(schema: JsonObject, options: RenderingOptions) -> View:
    """Return what makes the format that the options ask for. JSON is shown as it is, unless Markdown is asked for."""
    view = formats.choose(options.replace(raw=options.raw or not options.markdown))
    form = options.format
    return lambda output: Structured(view(output), output, schema, tells=form == "stream-json", cuts=form == "text")


class Structured(Wrapper):
    """A format with what becomes of the JSON in its text.

    With ``tells`` lines of JSON with the object so far, and with the complete one, are written between those of the format; with
    ``cuts`` the format inside gets the JSON alone, and not what is around it.
    """

    def __init__(self, format: Format, output: Output, schema: JsonObject, *, tells: bool, cuts: bool) -> None:
        super().__init__(format)
        self._output = output
        self._schema = schema
        self._tells = tells
        self._cuts = cuts
        self._readers: dict[int, JsonText] = {}
        # The JSON of each choice, in pieces.
        self._texts: dict[int, list[str]] = {}
        self._growing: dict[int, Growing] = {}
        self._has_refused = False
        self._has_called = False
        self._wrong = ""

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show the deltas of one turn, and then the objects that have grown by them."""
        shown: list[Delta] = []
        for delta in deltas:
            if type(delta) is Text:
                text = self._readers.setdefault(delta.choice, JsonText()).feed(delta.text)
                self._texts.setdefault(delta.choice, []).append(text)
                if text:
                    shown.append(Text(text, delta.choice))
            else:
                shown.append(delta)
            self._has_refused = self._has_refused or type(delta) is Refusal
            self._has_called = self._has_called or type(delta) is ToolCall
        super().show(shown if self._cuts else deltas, events, at)
        if not self._tells:
            return
        for choice, pieces in self._texts.items():
            if choice not in self._growing:
                self._growing[choice] = Growing(pieces)
            value = self._growing[choice].look()
            if value is not NOTHING:
                self._line({"type": "partial", "object": value, "choice": choice, "at": round(at, 3)})

    def close(self, ending: Ending, id: str | None) -> None:
        """Judge the objects, and close the format with what came of that."""
        wrong = None
        for choice, reader in self._readers.items():
            rest = reader.finish()
            self._texts[choice].append(rest)
            if rest and self._cuts:
                super().show([Text(rest, choice)], [], 0.0)
        for choice, pieces in sorted(self._texts.items()) or [(0, [])]:
            several = choice in self._readers and self._readers[choice].blocks > 1
            value, why = self._judge("".join(pieces)) if not several else (None, "it has several code blocks")
            wrong = wrong or why
            if choice == 0:
                self.take_object(value)
            if self._tells and (pieces or why):
                self._line({"type": "object", "object": value, "error": why, "choice": choice})
        if wrong is not None and ending.outcome == outcome.COMPLETE:
            self._wrong = f"the answer is complete, but {wrong}"
            ending = Ending(outcome.ERROR, self._wrong, ending.finish_reason)
        super().close(ending, id)

    def problem(self) -> str:
        """Return what to say where the answer is complete but does not follow its schema."""
        return self._wrong or super().problem()

    def _judge(self, text: str) -> tuple[object, str | None]:
        """The value of a complete text, and what is wrong with it."""
        if not text.strip():
            if self._has_called:
                return None, None
            return None, "the model refused" if self._has_refused else "it is empty, not JSON"
        try:
            value = clean(loads(text))
        except ValueError as error:
            return None, f"it is not JSON: {error}"
        wrong = mismatch(self._schema, value)
        return value, wrong and f"does not follow the schema: {wrong}"

    def _line(self, value: JsonObject) -> None:
        self._output.write(self._output.safe(dumps(value) + "\n"))
