"""The forms in which an answer goes to stdout: ``--format text|json|stream-json|sse``."""

from __future__ import annotations

import os
import time

from unspool.api.deltas import Refusal, Text, ToolCall
from unspool.cli.options import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from unspool.api.deltas import Delta
    from unspool.outcome import Ending
    from unspool.sse import Event
    from unspool.terminal.output import Output
    from unspool.terminal.page import Page

NAMES = ("text", "json", "stream-json", "sse")

# What asks for colours also where there is no terminal.
_FORCING = ("FORCE_COLOR", "CLICOLOR_FORCE")
# Seconds in which a connection is mostly made and the request sent. Only then is there time for imports.
_CONNECTED = 0.1

_GROUP = "what comes out"

#: Options of every command that shows text.
RENDERING_OPTIONS = (
    Option(
        ("-r", "--raw"),
        "flag",
        "show the text as it is, without rendering; a terminal still gets no control characters",
        group=_GROUP,
    ),
    Option(("--markdown",), "flag", "render Markdown even into a pipe or file", group=_GROUP),
    Option(
        ("--color",),
        "value",
        "colours: auto on a terminal, unless NO_COLOR is set, and elsewhere if FORCE_COLOR is; UNSPOOL_THEME=light suits a"
        " light background",
        group=_GROUP,
        choices=("auto", "always", "never"),
        default="auto",
    ),
    Option(
        ("-x", "--extract"),
        "flag",
        "print the first fenced code block alone, as it arrives; exit code 1 if there is none",
        group=_GROUP,
        const="first",
    ),
    Option(
        ("--xl",),
        "flag",
        "print the last fenced code block alone",
        group=_GROUP,
        dest="extract",
        const="last",
    ),
    Option(
        ("--show-reasoning",),
        "flag",
        "show the model's reasoning on stderr also where that is no terminal",
        group=_GROUP,
        dest="reasoning",
        const="show",
        default="auto",
    ),
    Option(("--copy",), "flag", "put the answer on the clipboard when it is whole", group=_GROUP),
    Option(("-u", "--usage"), "flag", "say on stderr what it took: tokens, seconds", group=_GROUP),
    Option(
        ("--stats",),
        "value",
        "say on stderr all that was measured, as a line or as JSON; with --json it is a line of the output",
        group=_GROUP,
        choices=("line", "json"),
    ),
)


class TextFormat:
    """The answer's text as it arrives: to the letter into a pipe or file, made safe for a terminal.

    Of several choices the first streams and the others follow it. Where tool calls are all of the answer, a pipe or file gets
    them, each on a line as `unspool.shape.describe` says; a person is told of them beside the answer.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._others: dict[int, list[str]] = {}
        self._has_text = False
        self.tool_calls: list[ToolCall] = []

    def show(self, deltas: list[Delta], events: Iterable[Event], at: float) -> None:
        """Write what the deltas add to the text, in one go."""
        texts = []
        for delta in deltas:
            if type(delta) is Text or type(delta) is Refusal:
                if delta.choice == 0:
                    texts.append(delta.text)
                else:
                    self._others.setdefault(delta.choice, []).append(delta.text)
            elif type(delta) is ToolCall:
                self.tool_calls.append(delta)
        if texts:
            self._has_text = True
            self._put("".join(texts))

    def close(self, ending: Ending, id: str | None) -> None:
        """Write what was kept back, and on a terminal the line end that the answer lacks."""
        for choice in sorted(self._others):
            self._put(f"\n\n[choice {choice + 1}]\n" + "".join(self._others[choice]))
        if self.tool_calls and not self._has_text and not self._others and not self._output.is_tty:
            from unspool.jsontext import dumps
            from unspool.shape import describe

            self._put("".join(dumps(describe(call)) + "\n" for call in self.tool_calls))
        if self._output.is_tty and not self._output.at_line_start:
            self._output.write("\n")

    def _put(self, text: str) -> None:
        self._output.write(self._output.safe(text))


class MarkdownFormat(TextFormat):
    """The answer's text as Markdown, rendered while it arrives.

    The renderer is imported when the request is on its way, in the time that its answer takes.
    """

    def __init__(self, output: Output, color: str = "auto") -> None:
        super().__init__(output)
        self._color = color
        self._page: Page | None = None
        self._ready_at = time.monotonic() + _CONNECTED

    def due(self) -> float | None:
        """Seconds until `tick` should be called, None while it need not."""
        return max(0.0, self._ready_at - time.monotonic()) if self._page is None else self._page.due()

    def tick(self) -> None:
        """Do what is due: get ready for the first text, or show what has come."""
        if self._page is not None or time.monotonic() >= self._ready_at:
            self._ready().tick()

    def step_aside(self) -> None:
        """Make room for a line that is no part of the answer."""
        if self._page is not None:
            self._page.step_aside()

    def get_ready(self) -> None:
        """Import the renderer now."""
        self._ready()

    def status(self, line: str | None) -> None:
        """Show a line below what has come, until the next one; None takes it away."""
        if self._page is not None:
            self._page.status(line)

    def start_anew(self) -> None:
        """Leave what is on the screen as it is, since others may have written below it, and go on under that."""
        if self._page is not None:
            self._page.start_anew()

    def leave(self) -> None:
        """Show all that has come, though more will."""
        if self._page is not None:
            self._page.close()

    def close(self, ending: Ending, id: str | None) -> None:
        """Show all that has come."""
        for choice in sorted(self._others):
            self._put(f"\n\n---\n\nchoice {choice + 1}\n\n" + "".join(self._others[choice]))
        self.leave()

    def _put(self, text: str) -> None:
        self._ready().write(text)

    def _ready(self) -> Page:
        if self._page is None:
            from unspool.terminal.page import Page

            self._page = Page(self._output, color=self._color)
        return self._page


def choose(arguments: dict[str, Any]) -> Callable[[Output], Any]:
    """Return what makes the format that the arguments ask for: text is rendered where a person reads it, and exact elsewhere."""
    name = arguments["format"]
    if arguments["extract"]:
        return _extracting(arguments["extract"] == "last")
    if name != "text":
        from unspool.cli import machine

        return machine.FORMATS[name]
    if arguments["raw"]:
        return TextFormat
    color = arguments["color"]

    def text(output: Output) -> Any:
        if not arguments["markdown"] and not _is_rendered(output, color):
            return TextFormat(output)
        return MarkdownFormat(output, color)

    return text


def _extracting(last: bool) -> Callable[[Output], Any]:
    from unspool.cli.extract import ExtractFormat

    return lambda output: ExtractFormat(output, last=last)


def _is_rendered(output: Output, color: str) -> bool:
    if not output.is_tty and color == "auto" and not any(map(os.environ.get, _FORCING)):
        return False
    from unspool.terminal import abilities

    if output.is_tty:
        return not abilities.is_dumb(os.environ)
    return abilities.wants_colour(color, os.environ, is_tty=False) is True
