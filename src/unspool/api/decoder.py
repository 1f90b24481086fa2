"""What the three endpoints' decoders share: the facts of a stream, halves of characters, tool calls in pieces.

A decoder is fed events and yields deltas. It does no I/O, never raises on what a server sends, and remembers what is needed to
say how the stream ended; `unspool.outcome` turns those facts into words.
"""

from __future__ import annotations

from unspool.api.deltas import Delta, Failure, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from unspool.sse import Event


class Decoder:
    """Base of ``responses.Decoder``, ``chat.Decoder`` and ``completions.Decoder``.

    ``choices`` is the number of answers asked for (``n``).

    The facts, valid at any time:

    - ``response_id``, ``model``: the server's own, None until it says.
    - ``usage``: the last one it sent.
    - ``finish_reasons``: the reason of each choice that has ended, in the server's word.
    - ``failure``: the error it reported inside the stream, or what in the stream could not be understood.
    - ``done``: the protocol's end mark was seen, nothing can follow: the connection may be closed.
    - ``ended``: what the protocol calls the end was seen: an end mark, or a finish reason for each choice. A stream that
      stops before that was cut.
    """

    def __init__(self, choices: int = 1) -> None:
        self.choices = choices
        self.response_id: str | None = None
        self.model: str | None = None
        self.usage: Usage | None = None
        self.finish_reasons: dict[int, str] = {}
        self.failure: Failure | None = None
        self.done = False

    @property
    def ended(self) -> bool:
        """Whether the stream reached the end its protocol defines."""
        return self.done or len(self.finish_reasons) >= self.choices

    def decode(self, events: Iterable[Event]) -> list[Delta]:
        """Return the deltas that these events carry, in order. Events after the end mark are ignored."""
        raise NotImplementedError

    def decode_body(self, body: Any) -> list[Delta]:
        """Return the deltas of a whole answer that came as one JSON object, unstreamed."""
        raise NotImplementedError

    def close(self) -> list[Delta]:
        """Say that nothing more comes; return what was held back: half characters, whole tool calls, the usage."""
        raise NotImplementedError
