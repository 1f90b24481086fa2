"""The text of the status line."""

from __future__ import annotations

import os

from unspool.terminal import abilities
from unspool.terminal.cells import clip
from unspool.terminal.safety import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds between two drawings: slow enough to be quiet, and eight small writes a second.
FRAME = 0.125

_WHEELS = {True: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", False: "|/-\\"}


def line(words: str, seconds: float, columns: int, environment: Mapping[str, str] = os.environ) -> str:
    """The line for words, which may quote a server, ``seconds`` after the waiting began: it fits into ``columns``.

    It begins with a blank, for the cursor rests there.
    """
    is_utf8 = abilities.shows_utf8(environment)
    wheel = _WHEELS[is_utf8]
    words = one_line(words)
    if not is_utf8:
        words = words.encode("ascii", "replace").decode()
    text = clip(
        f" {wheel[int(seconds / FRAME) % len(wheel)]} {seconds:.0f} s  {words}", columns, "…" if is_utf8 else "..."
    )
    return f"\x1b[2m{text}\x1b[0m" if abilities.wants_colour("auto", environment, is_tty=True) else text
