"""Command lines that mean something else than a prompt: a command that was mistyped, and calls for help."""

from __future__ import annotations

from unspool.cli.commands import NAMES


def near(word: str) -> str | None:
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
