"""Moments and ages on the command line: ``2h``, ``3d``, ``today``, ``2026-11-01``."""

from __future__ import annotations

import time


def moment(text: str) -> int:
    """A moment, in milliseconds since the epoch: an age (90m, 2h, 3d, 2w, 1y), today, yesterday, or a date or time in ISO 8601.

    Where no time zone is said it is the local one. Raises ValueError.
    """
    word = text.strip().lower()
    if word in ("today", "yesterday"):
        now = time.localtime()
        midnight = (now.tm_year, now.tm_mon, now.tm_mday - (word == "yesterday"), 0, 0, 0, 0, 0, -1)
        return int(time.mktime(midnight)) * 1000
    try:
        if word[-1:].isalpha() and word[:1] in "0123456789." and "t" not in word:
            from unspool import durations

            return int((time.time() - durations.parse(word)) * 1000)
        import datetime

        return int(datetime.datetime.fromisoformat(text.strip()).timestamp() * 1000)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{text} is too far away") from error


def shown(milliseconds: int) -> str:
    """A moment for a person: the local date and time, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(milliseconds / 1000))


def exact(milliseconds: int) -> str:
    """A moment for a program: local time in ISO 8601, with its offset."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(milliseconds / 1000))
    return f"{text[:-2]}:{text[-2:]}"
