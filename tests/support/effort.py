"""How much the tests try: ``make test`` covers each behaviour once, ``make test-all`` also what is exhaustive and long.

Set by ``pytest --exhaustive``, before any test module is imported. ``UNSPOOL_TEST_ROUNDS=10`` tries ten times as much again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

EXHAUSTIVE = "UNSPOOL_TEST_EXHAUSTIVE" in os.environ
#: How many times the usual number the tests try.
ROUNDS = float(os.environ.get("UNSPOOL_TEST_ROUNDS", "1")) * (1.0 if EXHAUSTIVE else 0.2)

exhaustive = pytest.mark.exhaustive


def rounds(usual: int) -> int:
    """The number of rounds, or of examples, to try where ``usual`` is what an exhaustive run tries."""
    return max(1, round(usual * ROUNDS))


def spread(first: Iterable[Any], second: Iterable[Any], offset: int = 0) -> list[Any]:
    """All pairs, for `pytest.mark.parametrize`: each value of ``first`` once in any run, with the values of ``second`` in turn."""
    choices = list(second)
    return [
        pytest.param(one, other, marks=() if place == (number + offset) % len(choices) else exhaustive)
        for number, one in enumerate(first)
        for place, other in enumerate(choices)
    ]
