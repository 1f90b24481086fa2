"""Durations as people and servers write them: ``30``, ``1.5s``, ``300ms``, ``6m0s``, ``2d``."""

from __future__ import annotations

#: Seconds in each unit. A year is 365 days.
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}

# 31 years: more than anybody waits, and small enough for every clock and timer that is given it.
_LONGEST = 1e9
_DIGITS = "0123456789."


def parse(text: str) -> float:
    """Return a duration in seconds, 0 included. A bare number is seconds; units may follow each other, as in ``1h30m``.

    Raises ValueError for anything else.
    """
    rest = text.strip()
    is_bare = not rest.strip(_DIGITS)
    total = 0.0
    try:
        while rest:
            after_number = rest.lstrip(_DIGITS)
            number = float(rest[: len(rest) - len(after_number)])
            rest = after_number.lstrip("abcdefghijklmnopqrstuvwxyz")
            total += number * (1.0 if is_bare else UNITS[after_number[: len(after_number) - len(rest)]])
    except (ValueError, KeyError):
        total = -1.0
    if not text.strip() or not 0 <= total < _LONGEST:
        raise ValueError(f"{text!r} is not a time such as 30, 1.5s, 300ms or 2m")
    return total
