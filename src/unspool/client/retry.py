"""Whether to send a request again, and after how long. Only ever before the first token: an answer that has begun is never asked for twice."""

from __future__ import annotations

import os

from unspool.api.failure import MALFORMED_EVENT, UNRECOGNISED_BODY
from unspool.outcome import RATE_LIMITED, SERVER_ERROR, is_used_up, of_failure

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
# Request timeout and conflict: refusals of the moment, though their class is that of a bad request.
_STATUSES = frozenset({408, 409})
# Failures that this side has found in what the server sent: asking again would bring the same.
_OURS = frozenset({MALFORMED_EVENT, UNRECOGNISED_BODY})


def wait_before(
    attempt: int, failure: Failure | None, fault: Fault | None, longest: float = LONGEST_WAIT
) -> float | None:
    """Return the seconds to wait before attempt number ``attempt`` (2 for the first retry), None when retrying is no use.

    A failure counts by what it means, whether it came as a status, as the body of a 200 or as the first event of a stream.
    ``x-should-retry`` from the server overrides that; a quota that is used up is never retried, for no wait will help.
    """
    if failure is None:
        if fault is None or not fault.retryable:
            return None
        return backoff(attempt)
    if is_used_up(failure) or failure.type in _OURS:
        return None
    wanted = failure.should_retry
    if wanted is False or (wanted is None and not _is_transient(failure)):
        return None
    if failure.retry_after is not None and failure.retry_after > 0:
        return failure.retry_after if failure.retry_after <= longest else None
    return backoff(attempt)


def is_loading(failure: Failure | None) -> bool:
    """Whether the server says that it is still loading its model, as llama.cpp and Hugging Face's servers do with a 503."""
    if failure is None or failure.status != 503:
        return False
    message = failure.message.lower()
    return "loading" in message and "model" in message


def backoff(attempt: int) -> float:
    """Return the seconds to wait before an attempt where the server asks for no time of its own."""
    # Bounded before it is raised to a power: a server that loads its model is asked many times.
    wait: float = min(_FIRST_WAIT * 2 ** min(attempt - 2, 20), _LONGEST_BACKOFF)
    return wait * (1 - 0.25 * os.urandom(1)[0] / 255)


def _is_transient(failure: Failure) -> bool:
    if failure.status in _STATUSES:
        return True
    # Payment required counts as rate_limited, and no wait helps.
    return failure.status != 402 and of_failure(failure) in (RATE_LIMITED, SERVER_ERROR)
