"""Decodes text that a user supplied. Rejects other bytes, so that U+FFFD is never sent unnoticed."""

from __future__ import annotations

# Byte order marks (Unicode 17.0, 23.8). That of UTF-32 little-endian begins with that of UTF-16, so it comes first.
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


class NotText(ValueError):
    """Bytes are neither UTF-8 nor begin with a byte order mark; the message says where, and what to do."""


def decode(data: bytes, name: str) -> str:
    """Decode UTF-8, or UTF-16 and UTF-32 that begin with a byte order mark; the mark is removed. Raises NotText."""
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise NotText(f"{name} begins as {encoding.upper()} and is damaged at byte {error.start}") from error
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise NotText(
            f"{name} is not UTF-8 text (line {line}, byte {column}); convert it first, such as with iconv -f LATIN1 -t UTF-8"
        ) from error
    if "\0" in text:
        raise NotText(f"{name} has NUL bytes: it is binary, or UTF-16 without a byte order mark")
    return text
