"""Making foreign text safe for a terminal: nothing a model or a server sends may be an instruction to it.

Every control character is replaced by a visible mark, so that text is shown and never obeyed: replacing the introducing byte
of an escape sequence needs no parser, and cannot swallow text when a sequence is unfinished (CWE-150).
"""

from __future__ import annotations

_VISIBLE: dict[int, str | int | None] = {code: 0x2400 + code for code in range(0x20)}  # ESC becomes ␛, BEL ␇, …
_VISIBLE[0x09] = 0x09
_VISIBLE[0x0A] = 0x0A
_VISIBLE[0x0D] = 0x0A  # a carriage return would let a line overwrite itself
_VISIBLE[0x7F] = 0x2421
_VISIBLE.update(dict.fromkeys(range(0x80, 0xA0), 0xFFFD))  # C1: 0x9B alone begins a sequence
# Marks that reorder or hide text (bidirectional controls, "tag" characters, zero-width space, line and paragraph separators, the
# byte order mark). The joiners U+200C and U+200D stay: scripts and emoji need them.
for _code in (0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF):
    _VISIBLE[_code] = f"<U+{_code:04X}>"
_VISIBLE.update({code: f"<U+{code:X}>" for code in range(0xE0000, 0xE0080)})


class Sanitizer:
    """Makes a text safe that arrives in pieces. Line ends of two characters stay one line end, wherever they are cut."""

    def __init__(self) -> None:
        self._after_cr = False

    def feed(self, text: str) -> str:
        """Return a piece of the text as it may be shown."""
        if text.isprintable():
            # Most pieces are. No control, format or separator character but the blank is printable to Python.
            self._after_cr = False if text else self._after_cr
            return text
        if self._after_cr:
            self._after_cr = False
            if text.startswith("\n"):
                text = text[1:]
        if "\r" in text:
            self._after_cr = text.endswith("\r")
            text = text.replace("\r\n", "\n")
        return text.translate(_VISIBLE)


def one_line(text: str) -> str:
    """Return a foreign text as one safe line, for a message: line ends and runs of blanks become a blank."""
    return " ".join(Sanitizer().feed(text).split())
