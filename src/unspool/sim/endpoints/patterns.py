"""A text that a regular expression matches, for the ``pattern`` of a schema and the grammar of a tool.

This reads the subset that JSON Schema recommends (Core, 6.4 "Regular expressions"): characters and their escapes, ``\\d \\w \\s`` and their
opposites, ``.``, classes with ranges, groups, alternatives, the quantifiers ``* + ? {n} {n,} {n,m}``, lazy ones too, and anchors. References
to groups and look-around are not followed: the caller matches the text with the expression.
"""

from __future__ import annotations

import random
import re
import string

# Repetitions beyond the least that there may be.
_MORE = 3
# Characters, classes and groups in all, each time that one is repeated.
_LONGEST = 20_000
_PRINTABLE = string.ascii_letters + string.digits + " -_.,:;!?/@#"
_CLASSES = {
    "d": string.digits,
    "w": string.ascii_lowercase,
    "s": " ",
    "D": string.ascii_lowercase,
    "W": " -.,:;!?/@#",
    "S": string.ascii_lowercase,
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"(?:([*+?])|\{(\d+)(,?)(\d*)\})[?+]?")
_GROUP = re.compile(r"\((?:\?(?:P?<\w+>|:|>|(<?[=!])))?")
_CODE = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]+)\}")


def example(pattern: str, random: random.Random) -> str | None:
    """A text for a pattern, drawn with ``random``; None for a pattern that is not understood, or asks for too much."""
    reader = _Reader(pattern, random)
    try:
        text = reader.alternatives()
    except (IndexError, ValueError, OverflowError, RecursionError):
        return None
    return text if reader.at == len(pattern) else None


class _Reader:
    """Reads a pattern from left to right, and makes the text of each part as it goes."""

    def __init__(self, pattern: str, random: random.Random) -> None:
        self._pattern = pattern
        self._random = random
        self.at = 0
        self._atoms = 0

    def alternatives(self) -> str:
        """The text of one of the alternatives up to the end of the group."""
        made = [self._sequence()]
        while self._take("|"):
            made.append(self._sequence())
        return self._random.choice(made)

    def _sequence(self) -> str:
        out: list[str] = []
        while self.at < len(self._pattern) and self._pattern[self.at] not in "|)":
            begin = self.at
            text = self._atom()
            end = self.at
            if quantifier := _QUANTIFIER.match(self._pattern, end):
                times = self._times(quantifier)
                # Each repetition is made for itself: [a-z]{3} is no letter three times.
                text = ""
                for _ in range(times):
                    self.at = begin
                    text += self._atom()
                self.at = quantifier.end()
            out.append(text)
        return "".join(out)

    def _times(self, quantifier: re.Match[str]) -> int:
        sign, least, comma, most = quantifier.groups()
        low = int(least or sign == "+")
        high = {"?": 1}.get(sign) or (int(most) if most else low if least and not comma else low + _MORE)
        return self._random.randint(low, min(high, low + _MORE))

    def _atom(self) -> str:
        """The text of one character, class or group."""
        self._atoms += 1
        if self._atoms > _LONGEST:
            raise ValueError("too long")
        if (group := _GROUP.match(self._pattern, self.at)) is not None:
            self.at = group.end()
            text = self.alternatives()
            self._expect(")")
            return "" if group[1] else text
        character = self._next()
        if character == "[":
            return self._random.choice(self._class())
        if character == ".":
            return self._random.choice(string.ascii_lowercase)
        if character == "\\":
            if self._pattern[self.at] in "bBAZ":
                self.at += 1
                return ""
            return self._random.choice(self._escaped())
        return "" if character in "^$" else character

    def _class(self) -> str:
        """The characters of a class whose bracket has been read."""
        negated = self._take("^")
        allowed = ""
        first = True
        while first or self._pattern[self.at] != "]":
            first = False
            character = self._next()
            members = self._escaped() if character == "\\" else character
            ends_range = self._pattern[self.at] == "-" and self._pattern[self.at + 1] != "]"
            if len(members) == 1 and ends_range:
                self.at += 1
                last = self._next()
                last = self._escaped() if last == "\\" else last
                # Of a long range, such as all of Unicode, the beginning does.
                members = "".join(map(chr, range(ord(members), min(ord(last), ord(members) + 200) + 1)))
            allowed += members
        self._expect("]")
        return "".join(each for each in _PRINTABLE if each not in allowed) if negated else allowed

    def _escaped(self) -> str:
        """The characters that an escape stands for, whose backslash has been read."""
        if code := _CODE.match(self._pattern, self.at):
            self.at = code.end()
            return chr(int(code[code.lastindex or 0], 16))
        character = self._next()
        if character.isalnum() and character not in _CLASSES and character not in _CONTROLS:
            raise ValueError("an escape of another kind")
        return _CLASSES.get(character) or _CONTROLS.get(character) or character

    def _next(self) -> str:
        self.at += 1
        return self._pattern[self.at - 1]

    def _take(self, character: str) -> bool:
        if self._pattern[self.at : self.at + 1] != character:
            return False
        self.at += 1
        return True

    def _expect(self, character: str) -> None:
        if not self._take(character):
            raise ValueError(f"no {character}")
