"""The TOML that nearly every configuration file is: comments, tables, strings, booleans and lists of strings, each on a line.

A shortcut for speed: importing ``tomllib`` costs 69 million instructions, this module 2 million, of the 110 million for a short
answer. It reads a subset of TOML 1.0, with the same result, which tests compare; everything else, and every error, is left to
``tomllib``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.jsontext import JsonObject

_BARE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def read(content: bytes) -> JsonObject | None:
    """Return what a file says, None where that takes more of TOML than is known here."""
    if not content.isascii():
        return None
    top: JsonObject = {}
    table: JsonObject | None = top
    for line in content.decode("ascii").split("\n"):
        if not line.isprintable():
            return None
        line = line.strip(" ")
        if not line or line[0] == "#":
            continue
        if line[0] == "[":
            path, bracket, rest = line[1:].partition("]")
            table = _begin(top, path) if bracket and _is_end(rest) else None
        elif table is not None:
            key, equals, text = line.partition("=")
            key = key.rstrip(" ")
            value, rest = _value(text.lstrip(" "))
            if not equals or not _is_bare(key) or key in table or value is None or not _is_end(rest):
                return None
            table[key] = value
        if table is None:
            return None
    return top


def _begin(top: JsonObject, path: str) -> JsonObject | None:
    """Begin the table of a header. None for one that was begun before, also by a longer header, or is no table."""
    *parents, name = [part.strip(" ") for part in path.split(".")]
    table = top
    for parent in parents:
        table = table.setdefault(parent, {})
        if not _is_bare(parent) or type(table) is not dict:
            return None
    if not _is_bare(name) or name in table:
        return None
    table[name] = {}
    return table[name]  # type: ignore[no-any-return]


def _value(text: str) -> tuple[object, str]:
    """Read the value that a text begins with; return it, None for any other kind, and what follows it."""
    for word, value in (("true", True), ("false", False)):
        if text.startswith(word):
            return value, text[len(word) :]
    if text[:1] != "[":
        return _string(text)
    words = []
    rest = text[1:].lstrip(" ")
    while rest[:1] != "]":
        item, rest = _string(rest)
        rest = rest.lstrip(" ")
        if item is None or rest[:1] not in (",", "]"):
            return None, ""
        words.append(item)
        if rest[0] == ",":
            rest = rest[1:].lstrip(" ")
    return words, rest[1:]


def _string(text: str) -> tuple[str | None, str]:
    body, quote, rest = text[1:].partition('"')
    # A quote that follows at once makes it the beginning of a string over many lines.
    if text[:1] != '"' or not quote or "\\" in body or rest[:1] == '"':
        return None, ""
    return body, rest


def _is_bare(key: str) -> bool:
    return bool(key) and _BARE.issuperset(key)


def _is_end(rest: str) -> bool:
    """Whether nothing but a comment follows on the line."""
    return rest.lstrip(" ")[:1] in ("", "#")
