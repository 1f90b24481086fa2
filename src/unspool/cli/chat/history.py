"""The prompts that were typed, kept for the arrow keys and for Ctrl-R: one JSON text a line, in a file of their owner's alone."""

from __future__ import annotations

import os
from contextlib import suppress

from unspool.config.replacing import replace
from unspool.jsontext import dumps, parse

#: As many prompts as are kept; bash keeps 500, zsh and fish thousands.
MOST = 2000


class PromptHistory:
    """The prompts in a file, oldest first, none twice. With ``path=None`` nothing is read or kept.

    A file that cannot be read or written is no reason not to chat: it is then as if there were none.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path

    def load(self) -> list[str]:
        """Return the prompts, each at the place where it was last used."""
        if self._path is None:
            return []
        try:
            with open(self._path, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return []
        texts = [text for text in map(parse, lines) if isinstance(text, str)]
        kept = list(dict.fromkeys(reversed(texts)))[:MOST]
        kept.reverse()
        if len(texts) > 2 * MOST:
            with suppress(OSError):
                replace(self._path, _lines(kept))
        return kept

    def add(self, text: str) -> None:
        """Keep a prompt."""
        if self._path is None:
            return
        with suppress(OSError):
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # In one piece, so that two chats cannot write into each other's lines.
                os.write(fd, _lines([text]))
            finally:
                os.close(fd)


def _lines(texts: list[str]) -> bytes:
    return "".join(dumps(text) + "\n" for text in texts).encode("utf-8", "replace")
