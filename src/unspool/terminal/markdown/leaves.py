"""The blocks that hold text: each takes lines, and gives rows as soon as nothing that follows can change them.

Every leaf keeps a bounded amount of what it was given, so that one endless block costs no more for each token than many short ones,
and so that a copy of it, which the preview is made from, is cheap.
"""

from __future__ import annotations

import re

from unspool.terminal.cells import width_of
from unspool.terminal.markdown.code import Highlighter
from unspool.terminal.markdown.inlines import completed, is_settled, parse
from unspool.terminal.markdown.wrap import Wrapper
from unspool.terminal.style import CODE, DIM, PLAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.markdown.inlines import References
    from unspool.terminal.style import Row

_DEFINITION = re.compile(
    r" {0,3}\[((?:[^\[\]\\]|\\.)+)\]:[ \t]*(<[^<>]*>|\S+)(?:[ \t]+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?[ \t]*"
)
_HARD_BREAK = re.compile(r"(?: {2,}|\\)\n$")
_ANY_BREAK = re.compile(r"(?: *|\\)\n$")


class Paragraph:
    """Prose. It is parsed in stretches of a few rows, so that only the open end is parsed again.

    A stretch ends at the first blank after ``_USUAL`` rows at which no emphasis, code or link is open; after ``_MOST`` rows at any
    blank, and marks that are open there stay marks; after twice that anywhere. All three depend on the text alone, and not on
    how it arrived.
    """

    kind = "paragraph"
    _USUAL = 3
    _MOST = 8

    def __init__(self, width: int, references: References, show_urls: bool, *, breaks: bool = False) -> None:
        self._references = references
        self._show_urls = show_urls
        self._hard_break = _ANY_BREAK if breaks else _HARD_BREAK
        self._breaks = breaks
        self._wrapper = Wrapper(width, keeps_urls=True)
        self._source = ""
        # Up to here no stretch can end; the cells up to here, and those from which on to ask again.
        self._tried = (1, 0, 0)
        # Where the last line begins in the source, -1 when that has been parsed.
        self._line_at = 0
        self.is_whole = True

    def copy(self) -> Paragraph:
        """The same paragraph, to look ahead with."""
        other = Paragraph.__new__(Paragraph)
        other.__dict__.update(self.__dict__)
        other._wrapper = self._wrapper.copy()
        other._references = self._references.fixed()
        return other

    @property
    def last_line(self) -> str | None:
        """The last line, None if a part of it is parsed already."""
        return None if self._line_at < 0 else self._source[self._line_at :]

    @property
    def has_one_line(self) -> bool:
        """Whether there is nothing before the last line."""
        return self.is_whole and self._line_at == 0

    def drop_last_line(self) -> None:
        """Give the last line away: it turned out to be the header of a table."""
        self._source = self._source[: max(0, self._line_at - 1)]
        self._line_at = -1

    @property
    def text(self) -> str:
        """The text that is not parsed yet."""
        return self._source

    def take(self, text: str, *, continues: bool = False) -> list[Row]:
        """Add a line, or more of the last one; return the rows that are final."""
        if continues:
            self._source += text
        elif self._source or not self.is_whole:
            self._line_at = len(self._source) + 1
            self._source += "\n" + text
        else:
            self._source = text
        while cut := self._next_cut():
            self._put(self._source[:cut])
            self._source = self._source[cut:]
            self._line_at = self._line_at - cut if self._line_at >= cut else -1
            self._tried = (1, 0, 0)
            self.is_whole = False
        return self._wrapper.take()

    def resize(self, width: int) -> None:
        """Continue at another width."""
        self._wrapper = self._wrapper.at(width)

    def finish(self, *, preview: bool = False) -> list[Row]:
        """Return the rest of the rows."""
        if self._source:
            self._put(completed(self._source) if preview else self._source, ends=True)
            self._source = ""
        return self._wrapper.finish()

    def _put(self, text: str, *, ends: bool = False) -> None:
        text, definitions = self._without_definitions(text)
        for label, url in definitions:
            self._wrapper.add([(f"[{label}]: {url}", DIM, None)])
            self._wrapper.end_row()
        breaks = None if ends else self._hard_break.search(text)
        if breaks is not None:
            text = text[: breaks.start()]
        stripped = text.strip(" \t\n")
        if stripped:
            runs = parse(stripped, self._references, show_urls=self._show_urls, breaks=self._breaks)
            if text[0] in " \t\n":
                runs.insert(0, (" ", PLAIN, None))
            if text[-1] in " \t\n":
                runs.append((" ", PLAIN, None))
            self._wrapper.add(runs)
        if breaks is not None:
            self._wrapper.end_row()

    def _without_definitions(self, text: str) -> tuple[str, list[tuple[str, str]]]:
        """Take the link reference definitions off the beginning. They are shown, so that no URL is lost."""
        found = []
        while self.is_whole and text.startswith("["):
            line, _, rest = text.partition("\n")
            definition = _DEFINITION.fullmatch(line)
            if definition is None or definition[1].startswith("^"):
                break
            label, url = definition[1], definition[2].strip("<>")
            self._references.define(label, url)
            found.append((label, url))
            text = rest
        return text, found

    def _next_cut(self) -> int:
        """The end of the stretch, 0 if it has none yet. The text before a position and one character after it decide."""
        source, width = self._source, self._wrapper.width
        usual, most = self._USUAL * width, self._MOST * width
        tried, size, asked = self._tried
        for position in range(tried, len(source)):
            before, here = source[position - 1], source[position]
            # Characters without a width count too: there may be any number of them.
            size += 1 if before < "\u0300" else width_of(before) or 1
            if before == "\n":
                size += width // 2
            if size < usual:
                continue
            is_blank = before == "\n" or (before == " " and here not in " \n" and source[position - 2] not in " \n\\")
            if is_blank or before > "\u2e7f":
                # Asking costs a parse, so it is asked for every quarter of a row.
                if size >= most or (size >= asked and is_settled(source[:position], self._references)):
                    if not _joins(here):
                        return position
                elif size >= asked:
                    asked = size + width // 4
            elif size >= 2 * most and (not _joins(here) or size >= 4 * most):
                return position
        self._tried = (max(1, len(source)), size, asked)
        return 0


def _joins(mark: str) -> bool:
    """Whether a character belongs to the one before it."""
    return (
        mark == "\u200d"
        or mark == "\ufe0f"
        or (mark > "\u02ff" and width_of(mark) == 0)
        or "\U0001f1e6" <= mark <= "\U0001f3ff"
    )


class Code:
    """A block of code. Each line is final immediately. The terminal wraps it, so that copying gives the complete line."""

    kind = "code"

    def __init__(self, width: int, language: str = "", fence: str = "", indent: int = 0) -> None:
        self.fence = fence
        self.indent = indent
        self._width = width
        self._language = language
        self._lexer = Highlighter(language)
        # Blank lines at the end of indented code are none of it.
        self._blanks = 0

    def copy(self) -> Code:
        """The same block, to look ahead with."""
        other = Code.__new__(Code)
        other.__dict__.update(self.__dict__)
        other._lexer = self._lexer.copy()
        return other

    def begin(self) -> list[Row]:
        """Return the line above the code."""
        if not self.fence:
            return []
        language = self._language[: self._width // 2]
        return [[("─── " + language if language else "───", DIM, None)]]

    def take(self, line: str) -> list[Row]:
        """Add a line; return its row."""
        if not self.fence:
            if not line.strip(" "):
                self._blanks += 1
                return []
            rows: list[Row] = [[] for _ in range(self._blanks)]
            self._blanks = 0
            return [*rows, [("    ", PLAIN, None), *self._lexer.line(line)]]
        return [self._lexer.line(line.expandtabs(4))]

    def finish(self) -> list[Row]:
        """Return the line below the code."""
        return [[("───", DIM, None)]] if self.fence else []


class Verbatim:
    """Lines that are shown as they are: HTML, which a terminal cannot show, and formulas. They are wrapped."""

    def __init__(self, kind: str, end: str, width: int) -> None:
        self.kind = kind
        #: The expression that the last line matches, "" when a blank line ends it.
        self.end = end
        self._width = width

    def copy(self) -> Verbatim:
        """The same: it has no state."""
        return self

    def take(self, line: str) -> list[Row]:
        """Add a line; return its rows."""
        wrapper = Wrapper(self._width)
        text = line.expandtabs(4)
        indent = min(len(text) - len(text.lstrip(" ")), self._width // 2)
        if indent:
            wrapper.add([("\u00a0" * indent, PLAIN, None)])
        wrapper.add([(text.lstrip(" "), DIM if self.kind == "html" else CODE, None)])
        return wrapper.finish()

    def finish(self) -> list[Row]:
        """Nothing is kept back."""
        return []
