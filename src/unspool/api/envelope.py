"""What the chunks of one stream have in common: all but the text, which is then all that has to be read of them.

A server repeats in every chunk what it said in the first, the answer's id, its model, the choice's number, and a JSON parser makes
objects of all of it again. An envelope is learned from one chunk: the bytes before its text and those after it. A chunk with
the same bytes there, and a text without quotes and backslashes between them, says the same as that one but for the text.

That is exact, and not a guess: with one more trial, which puts another text into the place, it is known that the place is where
the decoder finds its text; and no string without quotes and backslashes can change what the rest of a JSON text says (RFC 8259, 7).

OpenAI pads its chunks with random letters (``obfuscation``) so that their sizes do not tell what is in them. The padding may differ.
"""

from __future__ import annotations

from unspool.jsontext import from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Place = TypeVar("Place")
    # The bytes from the text's closing quote, without it, to the padding and how many they are; those after the padding
    # likewise, as the negative number that a slice wants.
    Padding = tuple[bytes, int, bytes, int]
    # The bytes before the text and how many they are; those after it likewise, as a negative number; the padding; where the
    # text belongs.
    Envelope = tuple[bytes, int, bytes, int, Padding | None, Place]

#: Envelopes in a row that fitted nothing, after which the server is taken for one whose chunks have nothing in common.
PATIENCE = 8

_PADDING = "obfuscation"

#: Fits nothing: no JSON text begins with U+0000.
NONE: Envelope[int] = (b"\0", 1, b"\0", -1, None, 0)


def learn(
    data: bytes, chunk: dict[str, Any], plain: tuple[str, Place], read: Callable[[Any], tuple[str, Place] | None]
) -> Envelope[Place] | None:
    """Return the envelope of a chunk, None where its text does not stand in it once and as it is.

    ``read`` returns a chunk's text and where that belongs (its choice, its part); ``plain`` is what it returned for this one.
    """
    text, place = plain
    quoted = f'"{text}"'.encode()
    before, _, after = data.partition(quoted)
    if not after or quoted in after:
        return None
    before, after = before + b'"', b'"' + after
    padding = _padding(after, chunk.get(_PADDING))
    trial, other = after, f"{text}, "
    if padding is not None:
        trial = b'"%bother%b' % (padding[0], padding[2])
    try:
        tried = from_json(before + other.encode() + trial)
    except ValueError:
        return None
    if read(tried) != (other, place):
        return None
    if padding is not None and tried.get(_PADDING) != "other":
        padding = None
    return before, len(before), after, -len(after), padding, place


def _padding(after: bytes, value: Any) -> Padding | None:
    """Return where a chunk's padding stands after its text; None where there is none."""
    if type(value) is not str or not value.isascii() or not value.isalnum():
        return None
    quoted = f'"{value}"'.encode()
    middle, _, last = after[1:].partition(quoted)
    if not last or quoted in last:
        return None
    middle, last = middle + b'"', b'"' + last
    return middle, len(middle), last, -len(last)
