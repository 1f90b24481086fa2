"""JSON in an answer's text: all of it, or what is in its one fenced code block.

Where a server does not hold a model to a schema, models put JSON into a fence, with or without a sentence before it.
"""

from __future__ import annotations

# What JSON begins with, the words apart: those could begin a sentence too.
_BEGINNINGS = '{["-0123456789'


class JsonText:
    """Takes a text in pieces, and returns the JSON in it: what is in its fenced block, or everything where it has none.

    A text that begins as JSON is returned as it comes, and so is a block. Of any other text nothing is until it ends without a block.
    """

    def __init__(self) -> None:
        #: Number of blocks: with more than one it is unclear which is meant.
        self.blocks = 0
        self._is_plain = False
        # The mark of the open block ("```", or longer), "" outside of one.
        self._mark = ""
        # The line that has not ended, outside of a block; in one, what may be its closing mark.
        self._line = ""
        # The beginning of the line in a block is returned already, so that it closes nothing.
        self._is_begun = False
        self._skipped: list[str] = []
        # Whether a line has ended that is not blank.
        self._has_words = False

    def feed(self, text: str) -> str:
        """Return what a piece adds to the JSON."""
        if self._is_plain:
            return text
        if not self._has_words:
            bare = (self._line + text).lstrip()
            if bare and bare[0] in _BEGINNINGS:
                self._is_plain = True
                text = "".join([*self._skipped, self._line, text])
                self._skipped, self._line = [], ""
                return text
        *lines, rest = (self._line + text).split("\n")
        out = [self._take(line) for line in lines]
        self._line = rest
        if self._mark and rest and (self._is_begun or not _may_close(rest)):
            out.append(self._inside(rest))
            self._line, self._is_begun = "", True
        return "".join(out)

    def finish(self) -> str:
        """Return what was held back, at the end of the text."""
        line, self._line = self._line, ""
        if self.blocks:
            return "" if not self._mark or self._closes(line) else self._inside(line)
        self._skipped.append(line)
        return "".join(self._skipped)

    def _take(self, line: str) -> str:
        """Take a line that has ended, or the rest of one in a block."""
        self._has_words = self._has_words or line.strip() != ""
        if not self._mark:
            if mark := _fence(line):
                self._mark = mark
                self.blocks += 1
            if not self.blocks:
                self._skipped.append(line + "\n")
            return ""
        closes, self._is_begun = self._closes(line), False
        if closes:
            self._mark = ""
            return ""
        return self._inside(line + "\n")

    def _closes(self, line: str) -> bool:
        return not self._is_begun and line.strip().startswith(self._mark) and _may_close(line)

    def _inside(self, text: str) -> str:
        return text if self.blocks == 1 else ""


def json_in(text: str, *, is_complete: bool = True) -> str:
    """Return the JSON in a text, which may be one that has not ended. A text with several blocks is returned as it is."""
    reader = JsonText()
    found = reader.feed(text)
    if is_complete:
        found += reader.finish()
    return found if reader.blocks <= 1 else text


def _fence(line: str) -> str:
    """The mark of a line that opens or closes a block, "" where it does neither."""
    bare = line.strip()
    size = len(bare) - len(bare.lstrip("`"))
    return bare[:size] if size >= 3 and "`" not in bare[size:] else ""


def _may_close(line: str) -> bool:
    return not line.strip(" `\t\r")
