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

    from unspool.config.file import ToolSettings
    from unspool.config.profiles import Profile

#: When a journal is forced to the disk; the second is the default.
SYNC = ("always", "interval", "never")
#: What is done with a model's reasoning: shown where a person reads, or everywhere, or hidden. The first is the default.
REASONING = ("auto", "show", "hide")


class ConfigError(Error):
    """The configuration cannot be used; the message is one line for a person and never holds a secret."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ": did you mean 'x'?" for the choice spelt most like a word, or what there is to choose from."""
    import difflib

    choices = list(dict.fromkeys(choices))
    matches = difflib.get_close_matches(word, choices, 1)
    return f": did you mean {matches[0]!r}?" if matches else f": use one of {', '.join(choices)}"


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
