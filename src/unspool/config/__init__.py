"""Which server to ask, as whom, and where files go.

`settings.resolve` is the way in: it takes what the command line said, the environment and the configuration file, and returns
an `target.Target`.
"""

from __future__ import annotations

from unspool import Error
from unspool.value import EMPTY, Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.config.file import Price, ToolSettings
    from unspool.config.profiles import Profile

#: When a journal is forced to the disk; the second is the default.
SYNC = ("always", "interval", "never")
#: What is done with a model's reasoning: shown where a person reads, or everywhere, or hidden. The first is the default.
REASONING = ("auto", "show", "hide")


class ConfigError(Error):
    """The configuration cannot be used; the message is one line for a person and never holds a secret."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ": did you mean 'x'?" for the choice spelt most like a word, or what there is to choose from."""
    choices = list(dict.fromkeys(choices))
    match = close(word, choices)
    return f": did you mean {match!r}?" if match else f": use one of {', '.join(choices)}"


def close(word: str, choices: Iterable[str]) -> str:
    """Return the choice that is spelt so much like a word that it may be meant, "" where there is none."""
    import difflib

    # At 0.6, the default, "nope" would stand for "openai".
    return next(iter(difflib.get_close_matches(word, list(choices), 1, 0.7)), "")


class Settings(Fields):
    """What the configuration file says: the default profile's name, the profiles it has or changes, and the other keys at its top."""

    profile: str
    profiles: dict[str, Profile]
    sync: str
    reasoning: str = REASONING[0]
    think_tags: bool = True
    aliases: dict[str, str] = EMPTY
    breaks: bool = False
    tools: dict[str, ToolSettings] = EMPTY
    prices: dict[str, Price] = EMPTY
