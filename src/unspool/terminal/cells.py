"""How many cells of the screen a text takes, and where it can be cut without splitting a grapheme."""

from __future__ import annotations

from bisect import bisect_right

from unspool.terminal.cell_table import WIDE, ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ZWJ = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_FLAG = range(0x1F1E6, 0x1F200)
_SKIN = range(0x1F3FB, 0x1F400)
_WIDEST = 4

# Texts use few different characters, so each is looked up once.
_known: dict[str, int] = {}


def width_of(mark: str) -> int:
    """The cells of one code point: 0, 1 or 2."""
    width = _known.get(mark)
    if width is None:
        code = ord(mark)
        width = _known[mark] = 0 if bisect_right(ZERO, code) % 2 else 1 + bisect_right(WIDE, code) % 2
    return width


def clusters(text: str) -> Iterator[tuple[str, int]]:
    """Yield each grapheme and its cells.

    A simple form of Unicode's grapheme clusters (UAX #29): marks go with what they stand on, a joiner joins, two regional
    indicators are a flag. Terminals disagree about joined emoji and skin tones: two cells, or the sum of their parts. The larger
    one is taken, of two parts at most, since a row that comes out shorter does no harm and one that overflows does.
    """
    start, width, joined, flag = 0, 0, False, False
    for index, mark in enumerate(text):
        code = ord(mark)
        if index == start:
            width, flag = width_of(mark), code in _FLAG
            continue
        if mark == _EMOJI_STYLE:
            width = 2 if width else 0
        elif mark == _ZWJ:
            joined = True
        elif joined and code >= 0x80:
            joined = False
            width = min(_WIDEST, width + width_of(mark))
        elif flag and code in _FLAG:
            width, flag = 2, False
        elif code in _SKIN and width >= 2:
            width = min(_WIDEST, width + 2)
        elif width_of(mark):
            yield text[start:index], width
            start, width, joined, flag = index, width_of(mark), False, code in _FLAG
    if text:
        yield text[start:], width


def cells(text: str) -> int:
    """The cells that a text of one line takes."""
    if text.isascii():
        return len(text)
    return sum(width for _, width in clusters(text))


def clip(text: str, columns: int, mark: str = "…") -> str:
    """Cut a text of one line to this many cells, with a mark in place of the rest."""
    if cells(text) <= columns:
        return text
    room = columns - cells(mark)
    kept = ""
    for cluster, width in clusters(text):
        room -= width
        if room < 0:
            break
        kept += cluster
    return (kept.rstrip() + mark)[: max(0, columns)]


def fold(text: str, columns: int, indent: str = "  ") -> str:
    """Break a text of one line between words into rows of this many cells. A word that is longer stays in one piece."""
    rows, used = [""], 0
    for word in text.split(" "):
        width = cells(word)
        if used and used + 1 + width > columns:
            rows.append(indent + word)
            used = len(indent) + width
        else:
            rows[-1] += f" {word}" if used else word
            used += width + (1 if used else 0)
    return "\n".join(rows)


def pad(text: str, columns: int) -> str:
    """Fill a text up to this many cells."""
    return text + " " * (columns - cells(text))


def byte_count(count: int) -> str:
    """Return a number of bytes for a person: ``5.7 MB``."""
    if count < 1000:
        return f"{count} bytes"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value < 999.95:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
