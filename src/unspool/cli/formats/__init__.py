"""How an answer goes to stdout: ``--format text|json|stream-json|sse``. Text is here; of the others only what is wanted is imported."""
# ruff: noqa: B027 (the hooks of the base class are empty on purpose)

from __future__ import annotations

import os
from abc import ABC, abstractmethod

from unspool.api.deltas import Part, Refusal, Text, ToolCall
from unspool.outcome import COMPLETE, LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from unspool.api.deltas import Delta
    from unspool.cli.options.ask import AskOptions
    from unspool.cli.options.shared import RenderingOptions
    from unspool.jsontext import JsonObject
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Output

    #: Makes a format that writes to an output.
    View: TypeAlias = Callable[[Output], "Format"]

NAMES = ("text", "json", "stream-json", "sse")

# What asks for colours also where there is no terminal.
_FORCING = ("FORCE_COLOR", "CLICOLOR_FORCE")


class Format(ABC):
    """How an answer goes to stdout.

    `show` takes what arrived together, `close` comes last. All other methods are hooks: they do nothing unless a format has a use
    for them.
    """

    #: What the status line says while nothing is shown; "" for the usual words.
    awaits = ""

    @abstractmethod
    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Show what arrived ``at`` seconds after the request: the deltas, and the server's events they came in."""

    @abstractmethod
    def close(self, ending: Ending, id: str | None) -> None:
        """Show what was held back, and how the answer ended. ``id`` is its journal's, None where it is not kept."""

    # Formats that draw

    def due(self) -> float | None:
        """Return the seconds until `tick` has something to do, None for never."""
        return None

    def tick(self) -> None:
        """Draw pending output."""

    def prepare(self) -> None:
        """Do now what the first text would otherwise wait for."""

    def show_status(self, line: str | None) -> bool:
        """Show a line below the answer until the next one, None takes it away. Returns whether this format can."""
        return False

    def step_aside(self) -> None:
        """Take away the rows that may still change, so that another may write; the next drawing brings them back."""

    def redraw(self) -> None:
        """Draw below the current screen content, which others may have changed."""

    def flush(self) -> None:
        """Show all that has come, though the answer has not ended."""

    # What an answer must have, and what is reported beside it

    def problem(self) -> str:
        """Return why an otherwise complete answer is invalid, or ""."""
        return ""

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """The tool calls to report beside the answer."""
        return ()

    @property
    def extras(self) -> Sequence[Delta]:
        """The citations, pictures and sounds to report beside the answer."""
        return ()

    def code(self) -> str | None:
        """Return the code block that is shown in place of the answer, None where the answer is."""
        return None

    def take_object(self, value: object) -> None:
        """Take the JSON value that the text of the first choice is."""

    def take_stats(self, facts: JsonObject) -> bool:
        """Take the facts of ``--stats``. Returns whether this format shows it itself."""
        return False


class TextFormat(Format):
    """The answer's text as it arrives: to the letter into a pipe or file, made safe for a terminal.

    A last line without an end gets one on a terminal, and elsewhere with ``ends_line``, where the answer is not cut: more of a cut
    answer may be appended. Of several choices the first streams and the others follow it. Where tool calls are all of the answer, a pipe or file gets
    them, each on a line as `unspool.shape.describe` says; on a terminal they are reported beside the answer.
    """

    def __init__(self, output: Output, *, ends_line: bool = True) -> None:
        self._output = output
        self._ends_line = ends_line
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
        """Write the text that was held back, and a missing line end."""
        for choice in sorted(self._others):
            self._put(f"\n\n[choice {choice + 1}]\n" + "".join(self._others[choice]))
        if self._tool_calls and not self._has_text and not self._others and not self._output.is_tty:
            from unspool.jsontext import dumps
            from unspool.shape import describe

            self._put("".join(dumps(describe(call)) + "\n" for call in self._tool_calls))
        if not self._output.at_line_start and (
            self._output.is_tty or (self._ends_line and ending.outcome in (COMPLETE, LENGTH))
        ):
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


def choose(options: RenderingOptions) -> View:
    """Return what makes the format that the options ask for: text is rendered where a person reads it, and exact elsewhere."""
    name = options.format
    if options.extract:
        from unspool.cli.formats.extract import ExtractFormat

        return lambda output: ExtractFormat(output, last=options.extract == "last", ends_line=not options.no_newline)
    if name != "text":
        from unspool.cli.formats import machine

        return machine.FORMATS[name]

    def text(output: Output) -> Format:
        color = options.color
        if not options.raw and (options.markdown or _is_rendered(output, color)):
            from unspool.cli.formats.rendered import MarkdownFormat

            return MarkdownFormat(output, color, breaks=options.breaks)
        return TextFormat(output, ends_line=not options.no_newline)

    return text


def of_answer(options: AskOptions) -> View:
    """Return what makes the format of a new answer, which checks it against its schema where there is one. Raises UsageError."""
    if not options.schema and not options.schema_multi:
        return choose(options)
    from unspool.cli.formats import structured
    from unspool.cli.options import UsageError
    from unspool.cli.prompt.material import schema_of

    try:
        schema = schema_of(options)
    except ValueError as error:
        raise UsageError(str(error)) from error
    assert schema is not None
    return structured.choose(schema, options)


def _is_rendered(output: Output, color: str) -> bool:
    if not output.is_tty and color == "auto" and not any(map(os.environ.get, _FORCING)):
        return False
    from unspool.terminal import abilities

    if output.is_tty:
        return not abilities.is_dumb(os.environ)
    return abilities.wants_colour(color, os.environ, is_tty=False) is True
