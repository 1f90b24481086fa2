"""What the chunks of one stream have in common: all but the text, which is then all that has to be read of them.

A server repeats in every chunk what it said in the first, the answer's id, its model, the choice's number, and a JSON parser makes
objects of all of it again. An envelope is learned from one chunk: the bytes before its text and those after it. A chunk with
the same bytes there, and the inside of a JSON string between them, says the same as that one but for the text.

That is exact, and not a guess: with one more trial, which puts another text into the place, it is known that the place is where
the decoder finds its text; and nothing that is the inside of a JSON string can change what the rest of a JSON text says (RFC 8259, 7).

OpenAI pads its chunks with random letters (``obfuscation``) so that their sizes do not tell what is in them. The padding may differ.
"""

from __future__ import annotations

from unspool.jsontext import from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from unspool.jsontext import JsonObject

#: Envelopes in a row that fitted nothing, after which the server is taken for one whose chunks have nothing in common.
PATIENCE = 8

_PADDING = "obfuscation"


class Envelope:
    """The bytes around a chunk's text: those ``before`` it and those ``after`` it.

    Where there is padding, ``middle`` is what stands between the text and it, and ``last`` what follows it. ``place`` is where the
    text belongs (its choice, its part).
    """

    __slots__ = ("before", "after", "middle", "last", "place")

    def __init__(self, before: bytes, after: bytes, middle: bytes, last: bytes, place: Any) -> None:
        self.before = before
        self.after = after
        self.middle = middle
        self.last = last
        self.place = place

    def text(self, chunk: bytes) -> bytes | None:
        """Return the text of a chunk, as UTF-8 and maybe empty; None where the chunk does not fit."""
        before, middle = self.before, self.middle
        last = self.last if middle else self.after
        begin, end = len(before), -len(last)
        if chunk[:begin] != before or chunk[end:] != last or len(chunk) < begin - end:
            return None
        text = chunk[begin:end]
        if middle:
            text, found, padding = text.partition(middle)
            if not found or not (padding.isalnum() or not padding):
                return None
        return unescaped(text) if 0x22 in text or 0x5C in text else text

    def texts(self, chunks: list[bytes], together: bytes) -> list[bytes]:
        """Return the texts of the first chunks, as many as fit; ``together`` is all of the chunks joined."""
        # Hot: once for every token. Texts are cut out on trust, and then shown to be what was cut out: with what belongs around
        # them they are the same bytes.
        before, middle = self.before, self.middle
        last = self.last if middle else self.after
        begin, end = len(before), -len(last)
        texts = whole = [chunk[begin:end] for chunk in chunks]
        fits = True
        if middle:
            texts, paddings = cut(whole, middle)
            whole = list(map(middle.join, zip(texts, paddings, strict=True)))
            fits = b"".join(paddings).isalnum()
        if fits and b"%b%b%b" % (before, (last + before).join(whole), last) == together:
            return all_unescaped(texts)
        texts = []
        for chunk in chunks:
            text = self.text(chunk)
            if text is None:
                break
            texts.append(text)
        return texts


def cut(pieces: list[bytes], middle: bytes) -> tuple[list[bytes], list[bytes]]:
    """Return the texts and the paddings that these pieces are made of if ``middle`` stands between them, which is not looked at."""
    # No padding has a quote in it, so the last one is that before it.
    parts = [piece.rpartition(b'"') for piece in pieces]
    width = 1 - len(middle)
    return [part[0][:width] for part in parts], [part[2] for part in parts]


def unescaped(text: bytes) -> bytes | None:
    """Return the text of the inside of a JSON string; None where it is not one, or has half characters."""
    try:
        value: str = from_json(b'"%b"' % text)
    except ValueError:
        return None
    return value.encode()


def all_unescaped(texts: list[bytes]) -> list[bytes]:
    """Return the texts up to the first that is not the inside of a JSON string, or has half characters."""
    together = b"".join(texts)
    if 0x22 not in together and 0x5C not in together:
        return texts
    said: list[bytes] = []
    for text in texts:
        if 0x22 in text or 0x5C in text:
            value = unescaped(text)
            if value is None:
                break
            text = value
        said.append(text)
    return said


def learn(
    data: bytes, chunk: JsonObject, plain: tuple[str, Any], read: Callable[[Any], tuple[str, Any] | None]
) -> Envelope | None:
    """Return the envelope of a chunk, None where its text does not stand in it once and as it is.

    ``read`` returns a chunk's text and where that belongs; ``plain`` is what it returned for this one.
    """
    text, place = plain
    quoted = f'"{text}"'.encode()
    before, _, after = data.partition(quoted)
    if not after or quoted in after:
        return None
    before, after = before + b'"', b'"' + after
    middle, last = _around_padding(after, chunk.get(_PADDING))
    other = f"{text}, "
    tail = b"%bother%b" % (middle, last) if middle else after
    try:
        tried = from_json(before + other.encode() + tail)
    except ValueError:
        return None
    if read(tried) != (other, place):
        return None
    if middle and tried.get(_PADDING) != "other":
        middle = last = b""
    return Envelope(before, after, middle, last, place)


def _around_padding(after: bytes, value: Any) -> tuple[bytes, bytes]:
    """Return the bytes from a chunk's text to its padding and those after that; none where there is no padding."""
    if type(value) is not str or not value.isascii() or not value.isalnum():
        return b"", b""
    quoted = f'"{value}"'.encode()
    middle, _, last = after[1:].partition(quoted)
    if not last or quoted in last:
        return b"", b""
    return b'"' + middle + b'"', b'"' + last
