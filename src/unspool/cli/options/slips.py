"""Command lines that mean something else than a prompt: other names of commands, and commands that were mistyped."""

from __future__ import annotations

from unspool.cli.commands import NAMES, find
from unspool.cli.options import UsageError, scan

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
# Commands of llm in several words, with what follows them: {} are words that are typed.
_PHRASES = {
    "logs list": "log",
    "logs path": "log --path",
    "aliases": "config",
    "aliases list": "config",
    "aliases path": "config path",
    "aliases set {} {}": "config set aliases.{} {}",
    "aliases remove {}": "config unset aliases.{}",
}


def meant(argv: list[str]) -> list[str] | None:
    """Return the command line that is meant by one that begins with no command; None for a prompt.

    Raises UsageError for what may be a mistyped command: taken for a prompt it would be asked, and be paid for.
    """
    first, rest = argv[0], argv[1:]
    if (phrase := _phrase(argv)) is not None:
        return phrase
    synonym = _SYNONYMS.get(first)
    if synonym is not None and (_looks_like_a_command(synonym, rest) or (synonym == "ask" and len(rest) == 1)):
        return [synonym, *rest]
    name, certain = _near(first)
    if not name and synonym in NAMES and len(rest) == 1 and first not in ("history", "model"):
        name = synonym
    if not name and synonym == "rm" and all(map(_may_be_an_id, rest)):
        name = synonym
    if name and (
        len(rest) <= 1 or synonym == "rm" or _looks_like_a_command(name, rest) or _fits(name, rest, certain=certain)
    ):
        import shlex

        meant = shlex.join([name, *rest])
        raise UsageError(f"did you mean unspool {meant}? To ask it as a prompt: unspool ask {shlex.join(argv)}")
    return None


def _phrase(argv: list[str]) -> list[str] | None:
    """The command line that a command of llm stands for, with its options; None where it is none."""
    words = next((at for at, word in enumerate(argv) if word[:1] == "-"), len(argv))
    for typed, same in _PHRASES.items():
        names = typed.split(" ")
        if len(names) == words and all(name in ("{}", word) for name, word in zip(names, argv, strict=False)):
            values = iter([word for name, word in zip(names, argv, strict=False) if name == "{}"])
            return [
                *(one.replace("{}", next(values)) if "{}" in one else one for one in same.split(" ")),
                *argv[words:],
            ]
    return None


def _looks_like_a_command(name: str, rest: list[str]) -> bool:
    """Whether what follows is what follows that command: nothing, an option or one of its actions."""
    if not rest or rest[0][:1] == "-":
        return True
    return name in NAMES and any(one.name == f"{name} {rest[0]}" for one in find(name).actions)


def _may_be_an_id(word: str) -> bool:
    """Whether a word looks like a piece of an id: capitals and digits, such as 7F3K9Q."""
    return word.isalnum() and word == word.upper() and any(map(str.isdigit, word))


def _fits(name: str, rest: list[str], *, certain: bool) -> bool:
    """Whether the command takes these options and words. One that takes any words fits every prompt: the slip has to be ``certain``."""
    command = find(name)
    takes_any = any(one.most is None for one in command.words)
    return (certain or not takes_any) and scan(command, rest) is not None


def _near(word: str) -> tuple[str, bool]:
    """The command that a word is one slip away from: a letter too many, too few, another, or two that changed places.

    "" where there is none. The slip is certain where it makes no other word: two letters that changed places, or one too many or too few
    in a long name. Another letter may make one ("what" of chat, "starch" of search).
    """
    for name in NAMES:
        if abs(len(word) - len(name)) > 1 or len(name) < 3:
            continue
        longer, shorter = (word, name) if len(word) > len(name) else (name, word)
        places = range(len(longer))
        if len(longer) > len(shorter):
            if any(longer[:at] + longer[at + 1 :] == shorter for at in places):
                return name, len(name) > 5
            continue
        differing = [at for at in places if word[at] != name[at]]
        swapped = len(differing) == 2 and sorted(word) == sorted(name)
        if swapped or len(differing) == 1:
            return name, swapped
    return "", False
