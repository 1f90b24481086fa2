"""The clocks that end a stream, whatever the server does.

| clock | what ends it | what pushes it out |
|---|---|---|
| ``connect`` | the connection does not stand in time | |
| ``idle`` | nothing arrives at all, not even a comment | any byte |
| heartbeats | only comments and heartbeats arrive, for twelve times ``idle`` | a piece of the answer |
| grace | the answer has ended and the connection stays open, for three seconds | |
| ``total`` | the time for the stream is over: retries, waits and resumes included | |
"""

from __future__ import annotations

import time

from unspool.outcome import CUT, Fault
from unspool.value import Fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.client.exchange import Exchange
    from unspool.client.http.transport import Transfer

# A host that does not answer in this time is down: httpx and requests users write 5 to 10, curl waits 300.
CONNECT_TIMEOUT = 10.0
# Between two bytes, comments included. Reasoning models are silent for minutes where the server sends no keep-alives; the
# openai SDK waits 600 s, proxies on the way often cut at 60.
IDLE_TIMEOUT = 300.0
# A server that sends heartbeats says that it works; after an hour of nothing else (with the default) nobody believes it any more.
_HEARTBEATS = 12
# Some servers keep the connection open after the last finish reason, without an end mark, for as long as it lasts. Usage and [DONE]
# follow a finish reason within a packet or two.
GRACE = 3.0
# Seconds for which a server is waited for that says it is loading its model: tens of gigabytes from a disk take minutes.
LOADING_PATIENCE = 300.0
# As the openai SDK. What is retried, and when: `unspool.client.retry`, which only a failure needs.
DEFAULT_RETRIES = 2


class Limits(Fields):
    """The longest times, in seconds: to connect, between two bytes, and for the stream in all (None for no limit)."""

    connect: float = CONNECT_TIMEOUT
    idle: float = IDLE_TIMEOUT
    total: float | None = None


class Lapse:
    """Watches the limits of a stream: what has been silent too long, or has taken too long in all."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.began_at = time.monotonic()
        self._active_at = self.began_at
        self._content_at = self.began_at
        self._settled_at: float | None = None
        self._taken = 0
        self._status = 0

    def observe(self, transfer: Transfer, exchange: Exchange, has_content: bool) -> None:
        """Note what has arrived since the last call: bytes, of comments too; content; and the end of the answer.

        While bytes wait to be taken it is the reader who is slow, and not the server that is silent.
        """
        # Hot: once for each network read.
        if transfer.taken != self._taken or transfer.held or transfer.status != self._status:
            self._taken, self._status = transfer.taken, transfer.status
            self._active_at = time.monotonic()
            if has_content:
                self._content_at = self._active_at
            if self._settled_at is None and exchange.settled:
                self._settled_at = self._active_at

    def restart(self) -> None:
        """Restart all clocks but the one for the stream in all, for another attempt."""
        self._active_at = self._content_at = time.monotonic()
        self._settled_at = None

    @property
    def is_settled(self) -> bool:
        """Whether the answer has ended and only the connection is waited for."""
        return self._settled_at is not None

    def left(self) -> float:
        """Seconds until a limit is passed, if nothing arrives."""
        limits = self.limits
        until = min(self._active_at + limits.idle, self._content_at + limits.idle * _HEARTBEATS)
        if limits.total is not None:
            until = min(until, self.began_at + limits.total)
        if self._settled_at is not None:
            until = min(until, self._settled_at + GRACE)
        return until - time.monotonic()

    def total_left(self) -> float | None:
        """Seconds that are left for the stream in all; None without a limit."""
        total = self.limits.total
        return None if total is None else self.began_at + total - time.monotonic()

    def is_over(self) -> bool:
        """Whether the time for the stream in all has passed, so that no further attempt makes sense."""
        left = self.total_left()
        return left is not None and left <= 0

    def fault(self) -> Fault | None:
        """What to say when a limit is passed, None when none is."""
        if self.left() > 0:
            return None
        if self.is_over():
            return Fault(CUT, f"the answer was not complete after the {self.limits.total:g} s allowed for it (timeout)")
        now = time.monotonic()
        if self._settled_at is not None and now >= self._settled_at + GRACE:
            return Fault(CUT, "the server kept the connection open after the end of the answer")
        if now < self._active_at + self.limits.idle:
            return Fault(
                CUT, f"nothing but keep-alives arrived for {self.limits.idle * _HEARTBEATS:g} s (idle timeout)"
            )
        return Fault(CUT, f"nothing arrived for {self.limits.idle:g} s (idle timeout)")
