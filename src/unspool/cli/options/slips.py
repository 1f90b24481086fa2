"""Command lines that mean something else than a prompt: other names of commands, and commands that were mistyped."""

from __future__ import annotations

from unspool.cli.commands import NAMES, find
from unspool.cli.options import UsageError

# Names that people type by habit, from other tools or for the plural.
_SYNONYMS = {
    "logs": "log",
    "history": "log",
    "prompt": "ask",
    "key": "keys",
    "template": "templates",
    "model": "models",
    "version": "--version",
    "delete": "rm",
    "remove": "rm",
}


def meant(argv: list[str]) -> list[str] | None:
    """Return the command line that is meant by one that begins with no command; None for a prompt.

    Raises UsageError for what may be a mistyped command: taken for a prompt it would be asked, and be paid for.
    """
    first, rest = argv[0], argv[1:]
    synonym = _SYNONYMS.get(first)
    if synonym is not None and (_looks_like_a_command(synonym, rest) or (synonym == "ask" and len(rest) == 1)):
        return [synonym, *rest]
    name = _near(first) or (
        synonym if synonym in NAMES and len(rest) == 1 and first not in ("history", "model") else None
    )
    if name is not None and (len(rest) <= 1 or _looks_like_a_command(name, rest)):
        import shlex

        typed = shlex.join(argv)
        raise UsageError(f"did you mean unspool {name}? To ask it as a prompt: unspool ask {typed}")
    return None


def _looks_like_a_command(name: str, rest: list[str]) -> bool:
    """Whether what follows is what follows that command: nothing, an option or one of its actions."""
    if not rest or rest[0][:1] == "-":
        return True
    return name in NAMES and any(one.name == f"{name} {rest[0]}" for one in find(name).actions)


def _near(word: str) -> str | None:
    """The command that a word is one slip away from: a letter too many, too few, another, or two that changed places."""
    for name in NAMES:
        if abs(len(word) - len(name)) > 1 or len(name) < 3:
            continue
        longer, shorter = (word, name) if len(word) > len(name) else (name, word)
        places = range(len(longer))
        if len(longer) > len(shorter):
            if any(longer[:at] + longer[at + 1 :] == shorter for at in places):
                return name
            continue
        differing = [at for at in places if word[at] != name[at]]
        if len(differing) == 1 or (len(differing) == 2 and sorted(word) == sorted(name)):
            return name
    return None
