"""Answers that are JSON: the object so far while the text grows, and the whole one, validated."""

from __future__ import annotations

import time

from unspool.api.jsonblock import json_in
from unspool.client.errors import InvalidOutput
from unspool.jsontext import clean, from_json, loads
from unspool.outcome import COMPLETE, LENGTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# An object is parsed again from its beginning, because no Python parser can continue where it stopped. So that a long one does not cost the
# square of its length, that is done when the text has grown by this part of itself, which reads each byte some 32 times in all,
_GROWTH = 1 / 32
# and when it is cheap: when this many times the last reading's own time has passed since, which takes at most a twentieth of the time.
_LEISURE = 20
# The longest text that is parsed again for each delta, which costs little.
_SHORT = 1024
#: What `Growing.look` returns where there is nothing new.
NOTHING: Any = object()


class Growing:
    """A JSON text that arrives in pieces, which are appended to ``pieces``, and the object that it holds so far."""

    def __init__(self, pieces: list[str]) -> None:
        self._pieces = pieces
        self._counted = 0
        self._size = 0
        self._text = ""
        self._joined = 0
        self._next_at = 0.0
        self._last: Any = NOTHING

    def due(self) -> float | None:
        """Seconds until `look` will read what has not been read yet; None when all has been."""
        pieces = self._pieces
        while self._counted < len(pieces):
            self._size += len(pieces[self._counted])
            self._counted += 1
        read = len(self._text)
        if self._size == read:
            return None
        if self._size <= _SHORT or self._size - read > read * _GROWTH:
            return 0.0
        return max(0.0, self._next_at - time.monotonic())

    def look(self, *, last: bool = False) -> Any:
        """Return the object so far, a new one each time; NOTHING when it is not due, or is what it was.

        ``last`` reads the text even where that is not due.
        """
        due = self.due()
        if due is None or (due > 0 and not last):
            return NOTHING
        began_at = time.monotonic()
        self._text += "".join(self._pieces[self._joined : self._counted])
        self._joined = self._counted
        try:
            value = from_json(json_in(self._text, is_complete=last).encode(), partial_mode="trailing-strings")
        except ValueError:
            value = NOTHING
        else:
            if value == self._last or not isinstance(value, dict | list):
                value = NOTHING
            else:
                self._last = value
        now = time.monotonic()
        self._next_at = now + _LEISURE * (now - began_at)
        return value


def validated(schema: Any, text: str, refusal: str | None, outcome: str | None, id: str | None) -> Any:
    """Return the object that an answer's text is, as the schema describes it. Raises InvalidOutput."""
    if refusal is not None:
        raise InvalidOutput("the model refused", text, id)
    try:
        value = clean(loads(json_in(text)))
    except ValueError as error:
        why = ""
        if outcome == LENGTH:
            why = ", because it stops at the token limit"
        elif outcome != COMPLETE:
            why = f", because it is incomplete ({outcome})"
        raise InvalidOutput(f"the answer is not JSON{why or f': {error}'}", text, id) from error
    if schema is None:
        return value
    from unspool.client.schema import Mismatch, built

    try:
        return built(schema, value)
    except Mismatch as error:
        raise InvalidOutput(f"the answer does not fit its schema: {error}", text, id) from error.__cause__
