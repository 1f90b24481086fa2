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

    def texts(self, chunks: list[bytes], together: bytes) -> list[bytes]:
        """Return the texts of the first chunks, as many as fit, each as UTF-8 and maybe empty; ``together`` is all chunks joined."""
        # Hot: once for every token. The texts are cut out on trust, and then shown to be what was cut out: with what belongs
        # around them they are the same bytes.
        begin = len(self.before)
        if not self.middle:
            end = -len(self.after)
            texts = [chunk[begin:end] for chunk in chunks]
            if b"%b%b%b" % (self.before, (self.after + self.before).join(texts), self.after) == together:
                return unescaped(texts)
        else:
            end = -len(self.last)
            # No padding has a quote in it, so the last one is that before it.
            cut = [chunk[begin:end].rpartition(b'"') for chunk in chunks]
            width = 1 - len(self.middle)
            texts = [one[0][:width] for one in cut]
            paddings = [one[2] for one in cut]
            whole = (self.last + self.before).join(map(self.middle.join, zip(texts, paddings, strict=True)))
            if b"".join(paddings).isalnum() and b"%b%b%b" % (self.before, whole, self.last) == together:
                return unescaped(texts)
        return self._first_texts(chunks)

    def _first_texts(self, chunks: list[bytes]) -> list[bytes]:
        """Return the texts of the chunks before the first that does not fit."""
        begin, last = len(self.before), self.last if self.middle else self.after
        texts: list[bytes] = []
        for chunk in chunks:
            if not chunk.startswith(self.before) or not chunk.endswith(last) or len(chunk) < begin + len(last):
                break
            text = chunk[begin : -len(last)]
            if self.middle:
                text, found, padding = text.partition(self.middle)
                if not found or (padding and not padding.isalnum()):
                    break
            texts.append(text)
        return unescaped(texts)


def unescaped(texts: list[bytes]) -> list[bytes]:
    """Return what the first of these say, as many as are the inside of a JSON string in whole characters."""
    together = b"".join(texts)
    if 0x22 not in together and 0x5C not in together:
        return texts
    said: list[bytes] = []
    for text in texts:
        if 0x22 in text or 0x5C in text:
            try:
                value = from_json(b'"%b"' % text)
            except ValueError:
                break
            text = value.encode()
        said.append(text)
    return said


def learn(
    data: bytes, chunk: dict[str, Any], plain: tuple[str, Any], read: Callable[[Any], tuple[str, Any] | None]
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
