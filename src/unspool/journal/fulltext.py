"""Words as the full-text index sees them: text prepared for it, what people type made into its queries, hits found again.

The index is SQLite's FTS5 with its ``unicode61`` tokenizer, which folds case and diacritics. It takes a run of letters for a word, so
in scripts written without blanks a sentence would be one. Their characters are therefore kept apart by a separator, and
a word of several is looked for as a phrase: any piece of a Chinese text is found, also one of a single character.

FTS5's ``trigram`` tokenizer was the other way. It finds nothing shorter than three characters, and most Chinese words have two; it
folds diacritics only from SQLite 3.45 on; its index is several times as large. What it would have given, any piece of a
Latin word, prefixes (``stream*``) give for the most part.
"""

from __future__ import annotations

import re

from unspool.jsontext import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: How the index cuts text into words.
TOKENIZER = "unicode61 remove_diacritics 2"

#: What FTS5's ``snippet`` is to put around a hit.
BEGIN, END = "\x02", "\x03"
_SEPARATOR = "\x1f"

# Thai and Lao; Myanmar; Khmer; kana, bopomofo and the Han characters with their extensions; Hangul, whose words carry their
# particles with them; the compatibility and half-width forms.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]+"
)
_MARKS = str.maketrans(dict.fromkeys((BEGIN, END, _SEPARATOR, "\0"), " "))


class NoWords(ValueError):
    """A search has no letter and no digit in it, so there is nothing to look for."""


def spaced(text: str) -> str:
    """Return a text as the index is to be given it."""
    text = text.translate(_MARKS)
    if text.isascii():
        return text
    from unicodedata import normalize

    return _UNSPACED.sub(_apart, normalize("NFC", whole(text)))


def query(words: Iterable[str]) -> str:
    """Return the FTS5 query for the user's words. Any syntax is valid; raises NoWords.

    All must be found, in any order. ``"in quotes"``, and a word given with blanks in it, is a phrase; ``begin*`` finds what begins so.
    Everything else, ``AND`` and ``-x`` and brackets too, is text.
    """
    pieces = [piece for word in words for piece in _pieces(word)]
    if not pieces:
        raise NoWords("the search words have no letter or digit")
    return " AND ".join(pieces)


def hit(snippet: str) -> tuple[str, list[tuple[int, int]]]:
    """Return a snippet's text and where in it the hits are, as (first, end) in characters."""
    text = ""
    hits = []
    head, *rest = snippet.replace(_SEPARATOR, "").split(BEGIN)
    text = head
    for part in rest:
        inside, _, after = part.partition(END)
        hits.append((len(text), len(text) + len(inside)))
        text += inside + after
    return text, hits


def _pieces(word: str) -> list[str]:
    if '"' not in word:
        return _quoted(word)
    pieces = []
    for number, part in enumerate(word.split('"')):
        if number % 2:
            pieces += _quoted(part)
        else:
            for one in part.split():
                # The star that follows a closing quote belongs to the phrase.
                if one == "*" and pieces:
                    pieces[-1] = pieces[-1].removesuffix(" *") + " *"
                else:
                    pieces += _quoted(one)
    return pieces


def _quoted(text: str) -> list[str]:
    """Return the text as one phrase of the query language, nothing if no word is in it."""
    # Without a word a phrase matches nothing, and then the query does not either.
    if not any(character.isalnum() for character in text):
        return []
    star = " *" if text.endswith("*") else ""
    return [f'"{spaced(text).replace(chr(34), " ")}"{star}']


def _apart(match: re.Match[str]) -> str:
    return _SEPARATOR + _SEPARATOR.join(match[0]) + _SEPARATOR
