"""Breaks spans of text into rows, greedily: a full row never changes, whatever follows."""

from __future__ import annotations

import re

from unspool.terminal.cells import clusters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.terminal.style import Row, Span

# Blanks that a row may be broken at; a no-break space is none.
_PIECES = re.compile(r" +|[^ ]+")
# Characters that may not begin a row, and those that may not end one (JIS X 4051, the common part).
_CLOSING = set("、。，．：；？！」』）］｝〉》】〕〗〙〛ー…‥々ぁぃぅぇぉっゃゅょァィゥェォッャュョ・,.;:?!)]}»”’%")
_OPENING = set("「『（［｛〈《【〔〖〘〚([{«“‘")
# After these a word that is longer than a row is broken first: URLs, paths.
_SOFT = set("/-?&=_.")
# So many characters for each cell fill a row, whatever their widths.
_FULL = 16
# A URL that is broken by line ends can be neither clicked nor copied, one that the terminal wraps can. A row with one may be so many
# times as wide.
_URL = re.compile("[a-z]{3,}://")
_LONGEST_URL = 8


class Wrapper:
    """Takes spans and returns rows of at most ``width`` cells. Blanks at the ends of rows are dropped.

    With ``keeps_urls`` a URL that is longer stands unbroken in a row of its own, which is then wider.
    """

    def __init__(self, width: int, *, keeps_urls: bool = False) -> None:
        self.width = width
        self._keeps_urls = keeps_urls
        self.rows: list[Row] = []
        self._row: Row = []
        self._used = 0
        # Blanks, and then a word which what follows may be glued to.
        self._blanks: Row = []
        self._blank_width = 0
        self._word: list[tuple[Span, int]] = []
        self._word_width = 0
        # Characters, of which those without a width could be any number.
        self._word_size = self._size = 0

    def copy(self) -> Wrapper:
        """A wrapper in the same state, without the rows that are finished."""
        other = Wrapper(self.width, keeps_urls=self._keeps_urls)
        other._row, other._used = self._row.copy(), self._used
        other._blanks, other._blank_width = self._blanks.copy(), self._blank_width
        other._word, other._word_width = self._word.copy(), self._word_width
        other._word_size, other._size = self._word_size, self._size
        return other

    def at(self, width: int) -> Wrapper:
        """A wrapper of another width, with the text that is not in a finished row."""
        other = Wrapper(width, keeps_urls=self._keeps_urls)
        other.add([*self._row, *self._blanks, *[run for run, _ in self._word]])
        return other

    def take(self) -> list[Row]:
        """Return the rows that are finished since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def add(self, runs: Row) -> None:
        """Add runs; a line end in their text is kept."""
        for text, style, url in runs:
            if text == "\n":
                self.end_row()
                continue
            for piece in _PIECES.findall(text):
                if piece[0] == " ":
                    self._end_word()
                    if self._row:
                        self._blanks.append((piece, style, url))
                        self._blank_width += len(piece)
                elif piece.isascii():
                    self._word.append(((piece, style, url), len(piece)))
                    self._word_width += len(piece)
                else:
                    self._add_wide(piece, style, url)
                self._word_size += len(piece)
                if self._word_width > (_LONGEST_URL if self._is_url() else 4) * self.width or (
                    self._word_size > _FULL * self.width
                ):
                    # It is not a word, and unplaced text is examined with every token.
                    self._end_word()

    def end_row(self) -> None:
        """End the row here."""
        self._end_word()
        self.rows.append(self._row)
        self._start_row()

    def finish(self) -> list[Row]:
        """Return the rest of the rows."""
        self._end_word()
        if self._row:
            self.rows.append(self._row)
            self._start_row()
        return self.take()

    def _start_row(self) -> None:
        self._row, self._used, self._size = [], 0, 0
        self._blanks, self._blank_width = [], 0

    def _add_wide(self, text: str, style: int, url: str | None) -> None:
        """Add a word that may be broken between two wide characters."""
        part, part_width = "", 0
        for cluster, width in clusters(text):
            if width == 2 and cluster[0] not in _CLOSING and (part or self._word):
                last = part[-1] if part else self._word[-1][0][0][-1]
                if last not in _OPENING:
                    if part:
                        self._word.append(((part, style, url), part_width))
                        self._word_width += part_width
                        part, part_width = "", 0
                    self._end_word()
            elif (
                width == 1 and part and part[-1] > "\u2e7f" and cluster[0] not in _CLOSING and part[-1] not in _OPENING
            ):
                # After a wide character too.
                self._word.append(((part, style, url), part_width))
                self._word_width += part_width
                part, part_width = "", 0
                self._end_word()
            part += cluster
            part_width += width
        if part:
            self._word.append(((part, style, url), part_width))
            self._word_width += part_width

    def _end_word(self) -> None:
        if not self._word:
            return
        if self._used + self._blank_width + self._word_width <= self.width:
            self._place()
            return
        if self._row:
            self.rows.append(self._row)
            self._start_row()
        if self._word_width <= self.width:
            self._place()
            return
        if self._word_width <= _LONGEST_URL * self.width and self._is_url():
            self._place()
            self.rows.append(self._row)
            self._start_row()
            return
        word, self._word, self._word_width, self._word_size = self._word, [], 0, 0
        for (text, style, url), _ in word:
            self._break(text, style, url)

    def _place(self) -> None:
        self._row += self._blanks
        self._row += [run for run, _ in self._word]
        self._used += self._blank_width + self._word_width
        self._size += self._word_size
        self._blanks, self._blank_width = [], 0
        self._word, self._word_width, self._word_size = [], 0, 0
        if self._size > _FULL * self.width:
            self.rows.append(self._row)
            self._start_row()

    def _is_url(self) -> bool:
        """Whether the word is to be kept in one piece."""
        return self._keeps_urls and _URL.search("".join(run[0] for run, _ in self._word)) is not None

    def _break(self, text: str, style: int, url: str | None) -> None:
        """Place a piece of a word that is longer than a row."""
        part, width, soft, soft_width = "", 0, 0, 0
        for cluster, size in clusters(text):
            if self._used + width + size > self.width and (part or self._row):
                at, at_width = (soft, soft_width) if soft and soft_width > self.width // 2 else (len(part), width)
                if at:
                    self._row.append((part[:at], style, url))
                self.rows.append(self._row)
                self._start_row()
                part, width, soft, soft_width = part[at:], width - at_width, 0, 0
            part += cluster
            width += size
            if cluster in _SOFT:
                soft, soft_width = len(part), width
        if part:
            self._row.append((part, style, url))
            self._used += width


def wrap(runs: Row, width: int, *, keeps_urls: bool = False) -> list[Row]:
    """Return runs as rows of at most ``width`` cells, see `Wrapper`."""
    wrapper = Wrapper(width, keeps_urls=keeps_urls)
    wrapper.add(runs)
    return wrapper.finish()
