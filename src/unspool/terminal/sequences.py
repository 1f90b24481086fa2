"""All escape sequences that this program writes, as one expression."""

from __future__ import annotations

import re

#: Style; link; cursor up, down, back, to a column; erase below, and the rest of the line; save and restore the cursor; synchronized
#: output; progress; the clipboard.
OURS = re.compile(
    r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b\x07]*\x1b\\|\x1b\[\d+[ABDG]|\x1b\[[JK]|\x1b[78]|\x1b\[\?2026[hl]"
    r"|\x1b\]9;4;(?:3;0|2;100|0;0)\x1b\\|\x1b\]52;c;[A-Za-z0-9+/]*={0,2}\x1b\\"
)


def without(text: str) -> str:
    """Return a painted text without its sequences."""
    return OURS.sub("", text) if "\x1b" in text else text
