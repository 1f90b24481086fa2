"""The rate limits of an account, as at OpenAI: requests and tokens a minute, reported in headers and, when used up, with 429.

"Rate limits", OpenAI's guide: a limit is refilled all the time and not once a minute; a request costs the larger of its max_tokens and an
estimate made from its characters; ``x-ratelimit-reset-*`` is the time until the limit is full again.
"""

from __future__ import annotations

import json
import math

from unspool.sim.clock import Clock

_MINUTE = 60.0
# OpenAI's rule of thumb for English text.
_CHARACTERS_PER_TOKEN = 4
# What an account on a low paid tier is granted, where no limit is set; nothing is ever taken off it.
_GRANTED = {"requests": 10_000, "tokens": 2_000_000}


class Exceeded(Exception):
    """A request is over a limit. ``kind`` is "requests" or "tokens", ``wait`` the seconds until it would not be; inf for never."""

    def __init__(self, kind: str, limit: int, used: int, asked: int, wait: float) -> None:
        unit = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}[kind]
        when = "It is more than the limit of a minute." if math.isinf(wait) else f"Please try again in {written(wait)}."
        super().__init__(f"Rate limit reached on {unit}: Limit {limit}, Used {used}, Requested {asked}. {when}")
        self.kind = kind
        self.wait = wait

    def headers(self) -> dict[str, str]:
        """When to come again, rounded up, so that who obeys is not refused once more."""
        if math.isinf(self.wait):
            return {}
        return {"retry-after": str(math.ceil(self.wait)), "retry-after-ms": str(math.ceil(self.wait * 1000))}


class Limits:
    """The remainder of each limit; None is no limit. Raises ValueError for a limit below 1."""

    def __init__(self, clock: Clock, *, rpm: int | None = None, tpm: int | None = None) -> None:
        for name, limit in (("rpm", rpm), ("tpm", tpm)):
            if limit is not None and limit < 1:
                raise ValueError(f"{name} is at least 1, but it is {limit}")
        self._clock = clock
        given = {"requests": rpm, "tokens": tpm}
        self._buckets = {kind: _Bucket(limit, clock.now()) for kind, limit in given.items() if limit is not None}

    def take(self, body: bytes) -> None:
        """Count a request. One over a limit costs nothing. Raises Exceeded."""
        if not self._buckets:
            return
        costs = {"requests": 1, "tokens": tokens_of(body)}
        now = self._clock.now()
        for kind, bucket in self._buckets.items():
            wait = bucket.wait(costs[kind], now)
            if wait > 0:
                raise Exceeded(kind, bucket.limit, bucket.limit - math.floor(bucket.left), costs[kind], wait)
        for kind, bucket in self._buckets.items():
            bucket.left -= costs[kind]

    def headers(self) -> dict[str, str]:
        """The x-ratelimit headers as they are now."""
        now = self._clock.now()
        headers = {}
        for kind, granted in _GRANTED.items():
            bucket = self._buckets.get(kind)
            if bucket is None:
                limit, left, reset = granted, granted, 0.0
            else:
                bucket.refill(now)
                limit, left, reset = bucket.limit, math.floor(bucket.left), bucket.reset
            headers[f"x-ratelimit-limit-{kind}"] = str(limit)
            headers[f"x-ratelimit-remaining-{kind}"] = str(left)
            headers[f"x-ratelimit-reset-{kind}"] = written(reset)
        return headers


class _Bucket:
    """``left`` of ``limit``, refilled at an even rate, full again after a minute."""

    def __init__(self, limit: int, now: float) -> None:
        self.limit = limit
        self.left = float(limit)
        self._at = now

    @property
    def reset(self) -> float:
        """Seconds until it is full."""
        return (self.limit - self.left) * _MINUTE / self.limit

    def refill(self, now: float) -> None:
        """Add what has come in since the last time."""
        self.left = min(self.limit, self.left + (now - self._at) * self.limit / _MINUTE)
        self._at = now

    def wait(self, cost: int, now: float) -> float:
        """Seconds until so much can be taken: 0 for now, inf for never."""
        self.refill(now)
        if cost > self.limit:
            return math.inf
        # A client that waited as long as it was asked to must not be refused for the last bit of a float.
        missing = cost - self.left
        return 0.0 if missing <= 1e-9 * self.limit else missing * _MINUTE / self.limit


def tokens_of(body: bytes) -> int:
    """The tokens that a request counts as before it is answered."""
    try:
        asked = json.loads(body)
    except ValueError:
        return 1
    if not isinstance(asked, dict):
        return 1
    most = [asked.get(name) for name in ("max_output_tokens", "max_completion_tokens", "max_tokens")]
    prompt = asked.get("input", asked.get("messages", asked.get("prompt", "")))
    return max(1, _characters(prompt) // _CHARACTERS_PER_TOKEN, *(one for one in most if type(one) is int))


def _characters(prompt: object) -> int:
    if isinstance(prompt, str):
        return len(prompt)
    if isinstance(prompt, list):
        return sum(map(_characters, prompt))
    if isinstance(prompt, dict):
        return _characters(prompt.get("content", prompt.get("text", "")))
    return _CHARACTERS_PER_TOKEN  # a token given by its number


def written(seconds: float) -> str:
    """A time as OpenAI writes it: 0s, 12ms, 1.5s, 6m0s. Rounded up to the millisecond."""
    milliseconds = math.ceil(round(seconds * 1000, 3))
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    return (f"{minutes}m" if minutes else "") + f"{rest / 1000:g}s"
