"""Whether to send a request again, and after how long. Only ever before the first event: a started stream is never re-sent."""

from __future__ import annotations

import os

from unspool.outcome import is_used_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from unspool.api.deltas import Failure
    from unspool.outcome import Fault

# As the openai SDK: 0.5 s doubling to 8 s, less up to a quarter of chance so that many clients do not come back together.
_FIRST_WAIT = 0.5
_LONGEST_BACKOFF = 8.0
# A server that asks for a longer wait than this is better told to the person, who may have other plans. The SDK draws the line
# at the same place.
LONGEST_WAIT = 120.0
_STATUSES = frozenset({408, 409, 429})

DEFAULT_RETRIES = 2


def wait_before(
    attempt: int, failure: Failure | None, fault: Fault | None, longest: float = LONGEST_WAIT
) -> float | None:
    """Return the seconds to wait before attempt number ``attempt`` (2 for the first retry), None when retrying is no use.

    ``x-should-retry`` from the server overrides its status; a quota that is used up is never retried, for no wait will help.
    """
    if failure is None:
        if fault is None or not fault.retryable:
            return None
        return backoff(attempt)
    if is_used_up(failure):
        return None
    status = failure.status or 0
    wanted = failure.should_retry
    if wanted is False or (wanted is None and status not in _STATUSES and status < 500):
        return None
    if failure.retry_after is not None and failure.retry_after > 0:
        return failure.retry_after if failure.retry_after <= longest else None
    return backoff(attempt)


def backoff(attempt: int) -> float:
    wait: float = min(_FIRST_WAIT * 2 ** (attempt - 2), _LONGEST_BACKOFF)
    return wait * (1 - 0.25 * os.urandom(1)[0] / 255)
