"""Watching streams from outside: for tracing, metrics and logs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.outcome import Ending


class Observer:
    """Base of what watches streams: ``unspool.Client(observer=…)``. Override what you need; the methods are called in the thread that reads.

    ``id`` is the stream's, None without a journal. No key, header or text is given. What a method raises reaches the reader of the stream.
    """

    def on_request(self, id: str | None, method: str, url: str, model: str) -> None:
        """Called for a request that is about to be sent. ``url`` has no query."""

    def on_attempt(self, id: str | None, attempt: int, wait: float, reason: str) -> None:
        """Called when another attempt will be made after ``wait`` seconds; ``reason`` says why, in one line."""

    def on_end(self, id: str | None, ending: Ending, seconds: float) -> None:
        """Called when a stream has ended, ``seconds`` after its last request was sent."""


class Logging(Observer):
    """Writes what happens to the logger ``unspool``: requests and ends at INFO, further attempts at WARNING."""

    def __init__(self) -> None:
        import logging

        self._log = logging.getLogger("unspool")

    def on_request(self, id: str | None, method: str, url: str, model: str) -> None:
        """Log a request."""
        self._log.info("%s: %s %s, model %s", id, method, url, model)

    def on_attempt(self, id: str | None, attempt: int, wait: float, reason: str) -> None:
        """Log a wait."""
        self._log.warning("%s: attempt %d in %.1f s: %s", id, attempt, wait, reason)

    def on_end(self, id: str | None, ending: Ending, seconds: float) -> None:
        """Log an end."""
        self._log.info("%s: %s after %.2f s", id, ending.outcome, seconds)
