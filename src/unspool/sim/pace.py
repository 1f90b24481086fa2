"""How fast the simulated model computes: times as distributions, drawn for each request from a seed, so that the same request gets the same times."""

from __future__ import annotations

import math
import random
import re
from copy import copy
from dataclasses import dataclass
from statistics import NormalDist

from unspool.durations import UNITS
from unspool.sim.clock import Clock

_STANDARD = NormalDist()
_TIME = r"(\d+\.?\d*|\.\d+)(ms|s|m|h)?"
_FORMS = {
    "spread": re.compile(rf"{_TIME}(?:±|\+-|~){_TIME}"),
    "range": re.compile(rf"{_TIME}\.\.{_TIME}"),
    "normal": re.compile(rf"normal\({_TIME},{_TIME}\)"),
    "lognormal": re.compile(rf"lognormal\({_TIME},(\d+\.?\d*|\.\d+)()\)"),
    "exponential": re.compile(rf"exponential\({_TIME}()()\)"),
    "fixed": re.compile(rf"{_TIME}()()"),
}


@dataclass(slots=True)
class Delay:
    """A time in seconds that may vary. ``shape`` says how; ``a`` and ``b`` are what the shape takes.

    - ``fixed``: always ``a``
    - ``uniform``: anything from ``a`` to ``b``, each as likely
    - ``normal``: the mean ``a``, the standard deviation ``b``; cut off at 0 and 2a, so that the mean stays
    - ``lognormal``: the median ``a``, and ``b`` the standard deviation of its logarithm: mostly shorter, at times much longer
    - ``exponential``: the mean ``a``, with nothing remembered: the tail of a queue
    """

    shape: str
    a: float
    b: float = 0.0

    @classmethod
    def read(cls, text: str) -> Delay:
        """Read ``20ms``, ``20ms±5`` (or ``+-``, ``~``), ``15..40ms``, ``normal(20ms, 5)``, ``lognormal(20ms, 0.5)``, ``exponential(20ms)``.

        A number without a unit takes that of the other one, or is in seconds. Raises ValueError for anything else.
        """
        compact = text.replace(" ", "")
        for form, pattern in _FORMS.items():
            found = pattern.fullmatch(compact)
            if found is None:
                continue
            first, first_unit, second, second_unit = found.groups()
            a = float(first) * UNITS[first_unit or second_unit or "s"]
            if form == "lognormal":
                return cls(form, a, float(second))
            b = float(second or 0) * UNITS[second_unit or first_unit or "s"]
            if form == "spread":
                return cls("uniform", max(a - b, 0.0), a + b)
            if form == "range":
                if b < a:
                    raise ValueError(f"{text!r} must start with the shorter time")
                return cls("uniform", a, b)
            return cls(form, a, b)
        raise ValueError(
            f"{text!r} is not a time such as 20ms, 20ms±5, 15..40ms, normal(20ms, 5ms), lognormal(20ms, 0.5) or exponential(20ms)"
        )

    @property
    def mean(self) -> float:
        """The mean of the distribution."""
        if self.shape == "uniform":
            return (self.a + self.b) / 2
        if self.shape == "lognormal":
            return self.a * math.exp(self.b**2 / 2)
        return self.a

    def at(self, share: float) -> float:
        """The time that this share of them is shorter than: the quantile function. ``share`` is between 0 and 1, and neither."""
        if self.shape == "fixed" or not self.a + self.b:
            return self.a
        if self.shape == "uniform":
            return self.a + (self.b - self.a) * share
        if self.shape == "exponential":
            return -self.a * math.log1p(-share)
        if self.shape == "lognormal":
            return self.a * math.exp(self.b * _STANDARD.inv_cdf(share))
        if not self.b:
            return self.a
        outside = _STANDARD.cdf(-self.a / self.b)
        inside = min(max(outside + share * (1 - 2 * outside), 1e-300), 1 - 1e-16)
        return min(max(self.a + self.b * _STANDARD.inv_cdf(inside), 0.0), 2 * self.a)


class Throughput:
    """The tokens in a second that all streams share: who comes first is served first."""

    def __init__(self, tokens_per_second: float) -> None:
        self._each = 1 / tokens_per_second
        self._free_at = -math.inf

    def finished_at(self, now: float, tokens: int) -> float:
        """When so many more tokens, asked for now, will have been computed."""
        self._free_at = max(self._free_at, now) + tokens * self._each
        return self._free_at


class Pace:
    """How fast the model computes: ``ttft`` until the first token, ``itl`` between two; each a `Delay`, its text, or seconds.

    ``burst`` tokens come out at a time, as often as the pace allows. ``total_tps`` is how many tokens in a second all streams
    get together, None for no limit. ``seed`` seeds the random timing.
    """

    def __init__(
        self,
        ttft: Delay | str | float = 0.0,
        itl: Delay | str | float = 0.0,
        *,
        burst: int = 1,
        total_tps: float | None = None,
        seed: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.ttft = delay(ttft)
        self.itl = delay(itl)
        self.burst = burst
        self.seed = seed
        self.clock = clock or Clock()
        self.shared = None if total_tps is None else Throughput(total_tps)

    def varied(self, ttft: Delay | str | float | None, itl: Delay | str | float | None) -> Pace:
        """The same pace with other times, where they are given."""
        if ttft is None and itl is None:
            return self
        other = copy(self)
        other.ttft = self.ttft if ttft is None else delay(ttft)
        other.itl = self.itl if itl is None else delay(itl)
        return other

    def of(self, request: str) -> Timing:
        """The times of one answer: the same for the same request and seed, and others for another."""
        return Timing(self, request)


class Timing:
    """When each token of one answer has been computed."""

    def __init__(self, pace: Pace, request: str) -> None:
        self._pace = pace
        self.clock = pace.clock
        self._is_fixed = pace.ttft.shape == pace.itl.shape == "fixed"
        self._random = None if self._is_fixed else random.Random(f"{pace.seed} {request}")
        self._tokens = 0
        self._due = 0.0

    def due(self, tokens: int) -> float:
        """Seconds after the request at which this many tokens have been computed. It is to be asked for more, never for less."""
        if tokens <= 0:
            return 0.0
        pace = self._pace
        # The first of a burst brings the others along.
        tokens -= (tokens - 1) % pace.burst
        if self._random is None:
            return pace.ttft.a + pace.itl.a * (tokens - 1)
        while self._tokens < tokens:
            delay = pace.itl if self._tokens else pace.ttft
            self._due += delay.at(self._random.random() or 0.5)
            self._tokens += 1
        return self._due

    @property
    def is_shared(self) -> bool:
        """Whether all streams share a token budget."""
        return self._pace.shared is not None

    async def wait(self, seconds: float, tokens: int) -> None:
        """Return in so many seconds, which may be none, and when all streams together may have so many more tokens."""
        await self.clock.sleep(max(seconds, 0.0))
        shared = self._pace.shared
        if shared is not None and tokens:
            now = self.clock.now()
            await self.clock.sleep(shared.finished_at(now, tokens) - now)


def delay(value: Delay | str | float) -> Delay:
    """Return a `Delay`, given one, its text, or seconds. Raises ValueError."""
    if isinstance(value, Delay):
        return value
    return Delay.read(value) if isinstance(value, str) else Delay("fixed", float(value))
