"""When an answer came: to its first token, from piece to piece, in all. Told the times, it never asks a clock."""

from __future__ import annotations

from unspool.api.deltas import Reasoning, Refusal, Text, ToolCallDelta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from unspool.api.deltas import Delta, Usage


class Pace:
    """The times of one answer, in seconds since its request was sent: live, or from the ``at`` of a journal.

    ``first_event`` is the first word from the server, ``first_reasoning`` and ``first_text`` the first pieces of either (the
    latter is the TTFT of the literature); each is None until it has come. A refusal is text. ``pieces`` counts what the answer
    came in, reasoning and tool calls included, and ``longest_stall`` is the longest time between two of them.
    """

    def __init__(self) -> None:
        self.first_event: float | None = None
        self.first_reasoning: float | None = None
        self.first_text: float | None = None
        self.first_piece: float | None = None
        self.last_piece: float | None = None
        self.longest_stall: float | None = None
        self.pieces = 0

    def feed(self, at: float, deltas: Sequence[Delta]) -> None:
        """Take what arrived together. Times must not decrease."""
        if self.first_event is None:
            self.first_event = at
        pieces = 0
        for delta in deltas:
            kind = type(delta)
            if kind is Text or kind is Refusal:
                pieces += len(delta.pieces) if type(delta) is Text else 1
                if self.first_text is None:
                    self.first_text = at
            elif kind is Reasoning:
                pieces += 1
                if self.first_reasoning is None:
                    self.first_reasoning = at
            elif kind is ToolCallDelta:
                pieces += 1
        if not pieces:
            return
        if self.last_piece is None:
            self.first_piece = at
            # What comes in the same turn came without a stall, which is not the same as having no second piece.
            self.longest_stall = 0.0 if pieces > 1 else None
        else:
            self.longest_stall = max(self.longest_stall or 0.0, at - self.last_piece)
        self.last_piece = at
        self.pieces += pieces

    def rate(self, usage: Usage | None) -> tuple[float, str] | None:
        """How fast the answer came after its first piece, and of what that is the number: ``"tokens"`` or ``"pieces"`` a second.

        Tokens as the server counts them, without those of reasoning that it did not send; pieces where it does not count, which
        are often tokens. None where all came at once.
        """
        if self.first_piece is None or self.last_piece is None or self.last_piece <= self.first_piece:
            return None
        span = self.last_piece - self.first_piece
        tokens = usage.output_tokens if usage is not None else None
        if tokens and self.first_reasoning is None and usage is not None:
            tokens -= usage.reasoning_tokens or 0
        if tokens is None or tokens <= 0:
            return (self.pieces - 1) / span, "pieces"
        # What the first piece brought took the time before it.
        return tokens * (self.pieces - 1) / self.pieces / span, "tokens"
