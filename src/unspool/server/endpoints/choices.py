"""The choices of an answer: what each one says, where it ends, and why there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unspool.server.endpoints import tokens
from unspool.value import Value


class Choice(Value):
    """One answer, ended for ``finish_reason``: ``"stop"``, or ``"length"`` when the limit cut it."""

    __slots__ = ("tokens", "finish_reason")

    def __init__(self, tokens: Sequence[str], finish_reason: str) -> None:
        self.tokens = tokens
        self.finish_reason = finish_reason

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def end(text: str, *, limit: int | None = None, stop: Sequence[str] = ()) -> Choice:
    """End a text before the first of the ``stop`` sequences, or after ``limit`` tokens if that comes sooner."""
    found = [position for position in map(text.find, stop) if position >= 0]
    pieces = tokens.split(text[: min(found)] if found else text)
    if limit is not None and len(pieces) > limit:
        return Choice(pieces[:limit], "length")
    return Choice(pieces, "stop")


def rounds(choices: Sequence[Choice]) -> Iterator[list[tuple[int, str | None]]]:
    """Take the choices' tokens side by side, as a model computes them: one token of each choice in a round.

    Each entry is a choice's index and its next token, or None in the round after its last.
    """
    longest = max((len(choice.tokens) for choice in choices), default=-1)
    for step in range(longest + 1):
        yield [
            (index, choice.tokens[step] if step < len(choice.tokens) else None)
            for index, choice in enumerate(choices)
            if step <= len(choice.tokens)
        ]
