"""Keeping the memory of a burst of events.

What is made of a burst is some hundred kilobytes, which glibc would give back to the system after each burst and ask for again, page by page.
That is a fifth of the cost of an event. Once malloc has seen a larger block come and go, it keeps as much (mallopt(3), M_MMAP_THRESHOLD).
"""

from __future__ import annotations

_LARGEST_BURST = 1 << 20


def keep_bursts() -> None:
    """Call this when the first stream starts. The pages are never touched, so it costs two system calls."""
    bytes(_LARGEST_BURST)
