"""Finding secrets in a text, in all forms in which it may have them. Imported for a text that may have one, which few streams have."""

from __future__ import annotations

from unspool.masking import CUT_BEGINNING, MASK, SHORTEST, forms

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator

# Characters of a key's beginning that give it away wherever they are; at a place where a text was cut fewer do.
_BEGINNING = 16
# How often a text is unescaped: JSON in JSON, or in a web page.
_LAYERS = 2
# What a shortened text ends with.
_CUTS = ("…", "...")


class Search:
    """Finds ``secrets``, and of those that are ``keys`` their beginnings too."""

    def __init__(self, keys: Iterable[str], secrets: Iterable[str]) -> None:
        self._keys = keys
        self._secrets = _longest_first(one for secret in secrets for one in (*forms(secret), _base64(secret)))

    def replaced(self, text: str) -> str:
        """Return the text with each secret in it replaced."""
        found = list(self._found(text))
        layer = [_Unescaped(text)] if any(mark in text for mark in "\\%&") else []
        for _ in range(_LAYERS):
            layer = [inner for outer in layer for inner in outer.inner()]
            for inner in layer:
                found += [(inner.position(first), inner.position(end)) for first, end in self._found(inner.text)]
        return _replaced(text, found) if found else text

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where a secret is."""
        for secret in self._secrets:
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + len(secret))
        for key in self._keys:
            yield from _beginnings(text, key)


def _beginnings(text: str, key: str) -> Iterator[tuple[int, int]]:
    """Yield where the beginning of a key is: a long one anywhere, a shorter one where the text was cut."""
    if len(key) > _BEGINNING:
        at = text.find(key[:_BEGINNING])
        while at >= 0:
            length = _BEGINNING
            while text[at + length : at + length + 1] == key[length : length + 1] != "":
                length += 1
            yield at, at + length
            at = text.find(key[:_BEGINNING], at + length)
    ends = [len(text)]
    for cut in _CUTS:
        at = text.find(cut)
        while at >= 0:
            ends.append(at)
            at = text.find(cut, at + 1)
    for end in ends:
        for length in range(min(len(key) - 1, end), CUT_BEGINNING - 1, -1):
            if text.endswith(key[:length], 0, end):
                # Not the end of an ordinary word, such as a key's "test-" in "latest-".
                if end == length or not text[end - length - 1].isalnum():
                    yield end - length, end
                break


def _replaced(text: str, found: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for first, end in sorted(found):
        if first >= done:
            pieces += text[done:first], MASK
        done = max(done, end)
    return "".join([*pieces, text[done:]])


class _Unescaped:
    """A text without its escapes of some kinds, which knows where in the original each character was."""

    def __init__(self, text: str, steps: tuple[tuple[list[int], list[int]], ...] = ()) -> None:
        self.text = text
        # Of each kind: where in the text something was replaced, and where in the text before it the same place is.
        self._steps = steps

    def inner(self) -> Iterator[_Unescaped]:
        """Yield this text with one more layer of escapes undone, of each kind that it has: what is an escape in one is none in another."""
        for mark, pattern in _patterns().items():
            if mark not in self.text:
                continue
            pieces: list[str] = []
            here, there = [0], [0]
            done = length = 0
            for found in pattern.finditer(self.text):
                plain = _plain(found[0])
                pieces += self.text[done : found.start()], plain
                length += found.start() - done
                # The escape is one piece: what begins or ends in it takes all of it.
                here += [length, length + len(plain)]
                there += [found.start(), found.end()]
                length += len(plain)
                done = found.end()
            if done:
                yield _Unescaped("".join([*pieces, self.text[done:]]), (*self._steps, (here, there)))

    def position(self, at: int) -> int:
        """Where in the original a place in the text is."""
        from bisect import bisect_right

        for here, there in reversed(self._steps):
            step = bisect_right(here, at) - 1
            at = there[step] + at - here[step]
        return at


_compiled: dict[str, re.Pattern[str]] = {}


def _patterns() -> dict[str, re.Pattern[str]]:
    """By what begins them, the escapes of JSON, of URLs and of HTML."""
    # Compiled for a text that has escapes: few streams have one, and ``re`` costs a third of a short answer.
    if not _compiled:
        import re

        _compiled["\\"] = re.compile(r'\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]')
        _compiled["%"] = re.compile(r"%[0-9a-fA-F]{2}")
        _compiled["&"] = re.compile(r"&#\d{1,6};|&#[xX][0-9a-fA-F]{1,6};|&(?:amp|lt|gt|quot|apos);")
    return _compiled


_NAMED = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def _plain(escape: str) -> str:
    if escape[0] == "\\":
        return chr(int(escape[2:], 16)) if escape[1] == "u" else _LETTERS.get(escape[1], escape[1])
    if escape[0] == "%":
        return chr(int(escape[1:], 16))
    if escape[1] != "#":
        return _NAMED[escape]
    number = int(escape[3:-1], 16) if escape[2] in "xX" else int(escape[2:-1])
    return chr(number) if number < 0x110000 else "\ufffd"


def _base64(secret: str) -> str:
    from binascii import b2a_base64

    return b2a_base64(secret.encode("utf-8", "replace"), newline=False).decode().rstrip("=")


def _longest_first(forms: Iterable[str]) -> list[str]:
    # One secret may be the beginning of another.
    return sorted({form for form in forms if len(form) >= SHORTEST}, key=len, reverse=True)
