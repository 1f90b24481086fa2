"""How many streams may be under way at once, and when the next may begin: one throttle for all that ask the same server.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): a refusal for too many requests halves what is allowed, each answer that
begins raises it a little. The headers of OpenAI's rate limits say beforehand when nothing is left ("Rate limits", *headers*).
"""

from __future__ import annotations

import time

from unspool import durations
from unspool.client import retry
from unspool.outcome import RATE_LIMITED, of_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from unspool.api.deltas import Failure
    from unspool.outcome import Fault

# A run has time where a person has not: limits are reset each minute mostly, and some only after several.
_LONGEST_WAIT = 900.0
# Between two streams that come back after the same pause: they would only be refused together again.
_GAP = 0.1


class Throttle:
    """One for each run. ``most`` is the number of streams wanted at once, ``allowed`` what the server lets us have by now."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = most
        self.allowed = float(most)
        self._clock = clock
        self._paused_until = 0.0
        self._returning_at = 0.0

    def wait(self, under_way: int) -> float | None:
        """Seconds until another stream may begin, 0 for at once, None for not before one of those under way ends."""
        if under_way >= int(self.allowed):
            return None
        return max(0.0, self._paused_until - self._clock())

    def heard(self, status: int, headers: Mapping[str, str]) -> None:
        """Take what the head of an answer says, whatever its status."""
        if status == 200:
            self.allowed = min(self.most, self.allowed + 1.0 / self.allowed)
        elif "retry-after" in headers or "retry-after-ms" in headers:
            # What the server asks for this refusal rules over what its limits say in general: `wait_before` takes it.
            return
        for kind in ("requests", "tokens"):
            if headers.get(f"x-ratelimit-remaining-{kind}") == "0":
                reset = _reset(headers.get(f"x-ratelimit-reset-{kind}", ""))
                self._pause(min(reset, _LONGEST_WAIT))

    def wait_before(self, attempt: int, failure: Failure | None, fault: Fault | None) -> float | None:
        """As `unspool.client.retry.wait_before`, except that what one stream is told holds for all of them."""
        wait = retry.wait_before(attempt, failure, fault, longest=_LONGEST_WAIT)
        if wait is None or failure is None or of_failure(failure) != RATE_LIMITED:
            return wait
        now = self._clock()
        if now >= self._paused_until:
            # The streams that were sent together are refused together: that is one refusal and not many.
            self.allowed = max(1.0, self.allowed / 2)
        self._pause(wait)
        self._returning_at = max(self._returning_at + _GAP, self._paused_until)
        return self._returning_at - now

    @property
    def paused_for(self) -> float:
        """Seconds for which nothing new begins because the server said so, 0 when it did not."""
        return max(0.0, self._paused_until - self._clock())

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, self._clock() + seconds)


def _reset(text: str) -> float:
    """Seconds until a limit is reset, 0 where the header does not say."""
    try:
        return durations.parse(text)
    except ValueError:
        return 0.0
