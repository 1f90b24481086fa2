"""Many measured times in little memory: counted in buckets that are 1 % wide, so that a percentile is right to half a percent."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from unspool.jsontext import JsonObject

# Each bucket ends 1 % above where it begins, from a nanosecond on: a thousand of them reach from 0.1 ms to two seconds. HdrHistogram
# keeps as much by default (two significant digits); whoever compares servers wants no more.
_WIDTH = math.log(1.01)
_SMALLEST = 1e-9

#: The percentiles that are told.
TOLD = (50, 90, 95, 99)


class Distribution:
    """Times in seconds, or other numbers from zero on. ``count``, ``total``, ``least`` and ``most`` are exact."""

    def __init__(self, values: Iterable[float] = ()) -> None:
        self.count = 0
        self.total = 0.0
        self.least = math.inf
        self.most = 0.0
        self._buckets: dict[int, int] = {}
        for value in values:
            self.add(value)

    def add(self, value: float) -> None:
        """Count a value; one below zero, which no clock should give, counts as zero."""
        # Hot: once for each token.
        value = max(value, 0.0)
        self.count += 1
        self.total += value
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        bucket = int(math.log(value / _SMALLEST) / _WIDTH) if value > _SMALLEST else -1
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    @property
    def mean(self) -> float:
        """The average; 0 where nothing was counted."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """The least value that so many percent are not above, by nearest rank; 0 where nothing was counted."""
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(self.count * percent / 100))
        if rank == self.count:
            return self.most
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(max(_middle(bucket), self.least), self.most)
        return self.most

    def above(self, edge: float) -> int:
        """How many are above, to the width of a bucket."""
        return sum(count for bucket, count in self._buckets.items() if _middle(bucket) > edge)

    def as_json(self) -> JsonObject:
        """The distribution as JSON: percentiles, and for each bucket its end and its count."""
        told = {f"p{percent}": round(self.percentile(percent), 6) for percent in TOLD}
        edge = {"min": round(self.least, 6) if self.count else 0.0, "mean": round(self.mean, 6)}
        buckets = [[round(_end(bucket), 9), self._buckets[bucket]] for bucket in sorted(self._buckets)]
        return {"count": self.count, **edge, **told, "max": round(self.most, 6), "buckets": buckets}


def _middle(bucket: int) -> float:
    return 0.0 if bucket < 0 else _SMALLEST * math.exp((bucket + 0.5) * _WIDTH)


def _end(bucket: int) -> float:
    return _SMALLEST * math.exp((bucket + 1) * _WIDTH)
