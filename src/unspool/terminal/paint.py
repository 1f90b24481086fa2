"""The only module that turns spans of text and URLs into terminal output, and the only one that writes their escape sequences.

Its output is text without control characters, ``CSI … m``, ``CSI … G`` and ``OSC 8``. Text is made safe here again, since a Markdown
parser decodes ``&#27;``.
"""

from __future__ import annotations

import re

from unspool.terminal.cells import cells
from unspool.terminal.safety import Sanitizer
from unspool.terminal.style import ALIGNED, sgr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.style import Row

# Schemes that a click may open. A file: link from a model could run a program.
_SCHEMES = ("https://", "http://", "mailto:")
# The limit of VTE; it and others ignore longer ones.
_LONGEST_URL = 2083
_UNSAFE_IN_URL = re.compile(r"[^!-~]")
_LONE = re.compile("[\ud800-\udfff]")


def safe(text: str) -> str:
    """Return a text of one line with every control character made visible."""
    if text.isprintable():
        return text
    text = _LONE.sub("\ufffd", Sanitizer().feed(text))
    return text.replace("\n", " ").replace("\t", " ")


def clickable(url: str) -> str | None:
    """Return a URL in the form that OSC 8 takes, None if it should not be clickable."""
    if not url.lower().startswith(_SCHEMES):
        return None
    url = _UNSAFE_IN_URL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace")), url)
    return url if len(url) <= _LONGEST_URL else None


class Painter:
    """Turns rows into text for the terminal. Each row begins and ends without a style, so that rows are independent.

    Without a ``theme`` there are neither styles nor links, and without ``columns`` the cursor is not sent to any.
    """

    def __init__(self, theme: dict[int, str] | None, *, links: bool = False, columns: bool = False) -> None:
        self.links = links and theme is not None
        self._columns = columns
        self._theme = theme
        self._known: dict[int, str] = {0: ""}

    def row(self, row: Row) -> str:
        """Return one row, without a line end."""
        parts = []
        now, target = 0, None
        for number, (text, style, url) in enumerate(row):
            url = clickable(url) if url is not None and self.links else None
            if url != target:
                if target is not None:
                    parts.append("\x1b]8;;\x1b\\")
                if url is not None:
                    # The same id joins the parts of a link that is broken over rows.
                    parts.append(f"\x1b]8;id={_id(url)};{url}\x1b\\")
                target = url
            if style != now:
                if self._sequence(now):
                    parts.append("\x1b[0m")
                parts.append(self._sequence(style))
                now = style
            parts.append(safe(text))
            if style & ALIGNED and self._columns:
                parts.append(f"\x1b[{row_cells(row[: number + 1]) + 1}G")
        if target is not None:
            parts.append("\x1b]8;;\x1b\\")
        if self._sequence(now):
            parts.append("\x1b[0m")
        elif target is None and parts:
            parts[-1] = parts[-1].rstrip(" ")
        return "".join(parts)

    def _sequence(self, style: int) -> str:
        if self._theme is None:
            return ""
        sequence = self._known.get(style)
        if sequence is None:
            codes = sgr(style, self._theme)
            sequence = self._known[style] = f"\x1b[{codes}m" if codes else ""
        return sequence


def _id(url: str) -> str:
    from zlib import crc32

    return f"{crc32(url.encode()):x}"


def row_cells(row: Row) -> int:
    """The cells that a row takes."""
    return sum(cells(text) for text, _, _ in row)
