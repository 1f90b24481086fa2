"""What a person types: where it ends, and whether it is a prompt or a command."""

from __future__ import annotations

_QUOTES = '"""'
#: Words that leave without a slash, as in other chats and in every REPL.
LEAVING = ("exit", "quit")


def continued(text: str) -> str | None:
    """Return a text that continues after Enter, with its line end, or None for a complete one.

    It continues inside triple quotes that it begins with, and after a backslash at its end.
    """
    bare = text.strip()
    if bare.startswith(_QUOTES):
        return None if len(bare) >= 2 * len(_QUOTES) and bare.endswith(_QUOTES) else text + "\n"
    backslashes = len(text) - len(text.rstrip("\\"))
    return text[:-1] + "\n" if backslashes % 2 else None


def unquoted(text: str) -> str:
    """Return a prompt as it is meant: without the triple quotes around it, and without the slash that keeps it from being a command."""
    bare = text.strip()
    if bare.startswith(_QUOTES) and bare.endswith(_QUOTES) and len(bare) >= 2 * len(_QUOTES):
        return bare[len(_QUOTES) : -len(_QUOTES)].strip("\n")
    return text[1:] if text[:1] == "/" and _is_called(text[1:]) else text


def command(text: str) -> tuple[str, str] | None:
    """Return the name of a command and what follows it, None for a prompt.

    Only a letter after the slash makes one: code that begins with a comment is none.
    """
    bare = text.strip()
    if bare == "?":
        return "help", ""
    if bare in LEAVING:
        return "quit", ""
    if not _is_called(bare):
        return None
    words = bare.split(None, 1)
    return words[0][1:], words[1] if len(words) > 1 else ""


def _is_called(text: str) -> bool:
    return text[:1] == "/" and (text[1:2].isalpha() or text[1:2] == "?")
