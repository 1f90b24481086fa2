"""How long a test waits for what it expects."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds after which a test gives up. Not a measure of speed: long enough for a slow machine that others use too.
PATIENCE = 180.0


def until(happened: Callable[[], T], what: str = "it") -> T:
    """Call ``happened`` until it returns something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < deadline, f"{what} never happened"
        time.sleep(0.002)
    return found
